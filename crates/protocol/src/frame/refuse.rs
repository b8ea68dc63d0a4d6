//! The codes of a refusal.

use serde::{Deserialize, Serialize};

/// Why an agent is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefuseCode {
    /// No version in common.
    Version,
    /// Not a frame: no JSON, an unknown frame, a field of another shape.
    BadFrame,
    /// A line over the limit.
    LineTooLong,
    /// A line or a `hello` that did not become whole in time.
    TooSlow,
    /// A frame that may not come here.
    Unexpected,
    /// An agent name, session, label name, metric name or unit that is none, or text over its limit.
    BadName,
    /// `instance`, `job`, a label called `__…`, or a family that agents may not send.
    Reserved,
    /// A label or a series twice.
    Duplicate,
    /// A suffix or label that a histogram or summary cannot have, or lacks.
    BadSeries,
    /// A set that is not declared, or not wholly.
    UnknownSet,
    /// A set number used again.
    SetReused,
    /// An offset that does not fit, or a vector of another length than its set.
    WrongLength,
    /// A push number that does not grow.
    Sequence,
    /// More sets, series or unacknowledged pushes than granted.
    Limit,
    /// Another agent has this name.
    NameInUse,
    /// A newer process of the same session took over.
    Superseded,
    /// The aggregator has no room now.
    Overloaded,
    /// Not authenticated.
    Auth,
    /// Silent for too long.
    Silent,
    /// A code that this version does not know.
    #[serde(other)]
    Unknown,
}

impl RefuseCode {
    /// Every code that this version sends, for metrics with one series each.
    pub const ALL: [Self; 19] = [
        Self::Version,
        Self::BadFrame,
        Self::LineTooLong,
        Self::TooSlow,
        Self::Unexpected,
        Self::BadName,
        Self::Reserved,
        Self::Duplicate,
        Self::BadSeries,
        Self::UnknownSet,
        Self::SetReused,
        Self::WrongLength,
        Self::Sequence,
        Self::Limit,
        Self::NameInUse,
        Self::Superseded,
        Self::Overloaded,
        Self::Auth,
        Self::Silent,
    ];

    /// The code as it stands on the wire and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::BadFrame => "bad_frame",
            Self::LineTooLong => "line_too_long",
            Self::TooSlow => "too_slow",
            Self::Unexpected => "unexpected",
            Self::BadName => "bad_name",
            Self::Reserved => "reserved",
            Self::Duplicate => "duplicate",
            Self::BadSeries => "bad_series",
            Self::UnknownSet => "unknown_set",
            Self::SetReused => "set_reused",
            Self::WrongLength => "wrong_length",
            Self::Sequence => "sequence",
            Self::Limit => "limit",
            Self::NameInUse => "name_in_use",
            Self::Superseded => "superseded",
            Self::Overloaded => "overloaded",
            Self::Auth => "auth",
            Self::Silent => "silent",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_one_spelling() {
        for code in RefuseCode::ALL {
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{}\"", code.as_str()));
        }
        assert_eq!(serde_json::from_str::<RefuseCode>("\"from_the_future\"").unwrap(), RefuseCode::Unknown);
    }
}
