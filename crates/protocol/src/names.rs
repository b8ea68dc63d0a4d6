//! What may be called what. One place, used by both ends: an agent that asks these functions
//! before it declares is never refused for a name.

use std::borrow::Borrow;
use std::fmt;

use crate::limits::{AGENT_NAME_BYTES_MAX, LABEL_NAME_BYTES_MAX, NAME_BYTES_MAX, SESSION_BYTES_MAX};

/// The name of an agent: 1 to 253 characters of `A-Z a-z 0-9 . _ : -`. It becomes `instance`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentName(String);

/// Why a text is no agent name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an agent name is 1 to 253 characters of A-Z a-z 0-9 . _ : -, this one is {0:?}")]
pub struct BadAgentName(String);

impl AgentName {
    /// Accepts a valid name.
    ///
    /// # Errors
    /// When the text is empty, too long or has another character.
    pub fn parse(text: &str) -> Result<Self, BadAgentName> {
        let fits = (1..=AGENT_NAME_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b));
        if fits { Ok(Self(text.to_owned())) } else { Err(BadAgentName(text.chars().take(300).collect())) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for AgentName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Is this a session id: 1 to 64 characters of `A-Z a-z 0-9 -`?
#[must_use]
pub fn is_session(text: &str) -> bool {
    (1..=SESSION_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Is this a metric name of the Prometheus data model: `[a-zA-Z_:][a-zA-Z0-9_:]*`?
#[must_use]
pub fn is_metric_name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX && is_word(text, b"_:")
}

/// Is this a label name of the Prometheus data model, `[a-zA-Z_][a-zA-Z0-9_]*`?
#[must_use]
pub fn is_label_name(text: &str) -> bool {
    text.len() <= LABEL_NAME_BYTES_MAX && is_word(text, b"_")
}

fn is_word(text: &str, extra: &[u8]) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || extra.contains(&b))
        && bytes.all(|b| b.is_ascii_alphanumeric() || extra.contains(&b))
}

/// Labels that only the aggregator sets, and those that Prometheus keeps for itself.
#[must_use]
pub fn is_reserved_label(name: &str) -> bool {
    name == "instance" || name == "job" || name.starts_with("__")
}

/// Families that no agent may send: Prometheus makes the first three itself (a forged `up` would
/// displace its own), the aggregator the others.
#[must_use]
pub fn is_reserved_family(name: &str) -> bool {
    name == "up"
        || name == "fleetgauge_put"
        || ["scrape_", "ALERTS", "fleetgauge_agent_"].iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agent_names() {
        for good in ["a", "huginn", "web-1.example:9", "007", &"x".repeat(253)] {
            assert!(AgentName::parse(good).is_ok(), "{good:?} is a name");
        }
        for bad in ["", " ", "a b", "a\n", "ä", "a\"b", "a{", &"x".repeat(254)] {
            assert!(AgentName::parse(bad).is_err(), "{bad:?} is no name");
        }
    }

    #[test]
    fn metric_and_label_names() {
        for good in ["up", "_x", ":rule:x", "node_memory_Active_anon_bytes"] {
            assert!(is_metric_name(good), "{good:?} names a metric");
        }
        for bad in ["", "9x", "a-b", "a b", "ü", "a\n"] {
            assert!(!is_metric_name(bad) && !is_label_name(bad), "{bad:?} names nothing");
        }
        assert!(!is_label_name("a:b"), "no colon in a label name");
    }

    #[test]
    fn reserved_names() {
        for name in
            ["up", "scrape_duration_seconds", "ALERTS", "ALERTS_FOR_STATE", "fleetgauge_agent_up", "fleetgauge_put"]
        {
            assert!(is_reserved_family(name), "{name} is reserved");
        }
        for name in ["uptime", "node_scrape_collector_success", "fleetgauge_push_frames_total"] {
            assert!(!is_reserved_family(name), "{name} is free");
        }
        for name in ["instance", "job", "__name__", "__x"] {
            assert!(is_reserved_label(name), "{name} is reserved");
        }
    }
}
