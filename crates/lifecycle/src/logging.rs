//! The log: one line an event on standard error, as text or as JSON.
//!
//! Standard output stays free for what a command prints.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::settings::{Settings, SettingsError};

const ACCEPTED: &str = "accepted: error, warn, info, debug, trace or off, or several with commas between, such as info,aggregator::link=debug";
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
/// What may have a level of its own: this project's crates, and those whose inside may matter.
const CRATES: [&str; 9] =
    ["agent", "aggregator", "fleetgauge", "lifecycle", "protocol", "tokio", "hyper", "hyper_util", "warp"];

/// Reads a filter. A misspelled word would be a filter that lets nothing through, so only known
/// words are taken; what has no level of its own gets `info`.
fn filter(text: &str) -> Option<EnvFilter> {
    let is_level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
    let is_known = |part: &str| match part.split_once('=') {
        None => is_level(part),
        Some((target, level)) => CRATES.contains(&target.split("::").next().unwrap_or_default()) && is_level(level),
    };
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    if !parts.iter().all(|part| is_known(part)) {
        return None;
    }
    let has_level = parts.iter().any(|part| is_level(part));
    EnvFilter::try_new(if has_level { parts.join(",") } else { format!("info,{}", parts.join(",")) }).ok()
}

/// Starts the log as `FLEETGAUGE_LOG` and `FLEETGAUGE_LOG_FORMAT` say. Once per process; a second
/// call changes nothing.
///
/// # Errors
/// When either setting has a value that is not accepted.
pub fn start(settings: &Settings) -> Result<(), SettingsError> {
    let text = settings.text("FLEETGAUGE_LOG")?;
    let filter = filter(&text).ok_or_else(|| settings.bad("FLEETGAUGE_LOG", ACCEPTED))?;
    let json = settings.one_of("FLEETGAUGE_LOG_FORMAT", &["text", "json"])? == "json";
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    // A log that nobody reads any more (a closed pipe) must not end the process.
    let log = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).with_target(false);
    let log = log.log_internal_errors(false);
    // A log that was started before (a test, an embedding program) stays as it is.
    let _already = if json { log.json().flatten_event(true).try_init() } else { log.try_init() };
    for warning in settings.warnings() {
        tracing::warn!("{warning}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_level_is_not_silence() {
        for good in ["info", "DEBUG", "off", "warn,aggregator::link=trace", "agent=debug", " info , hyper=warn"] {
            assert!(filter(good).is_some(), "{good}");
        }
        for bad in ["", "inof", "loud", "link=debug", "aggregator=lots", "info,", "=x="] {
            assert!(filter(bad).is_none(), "{bad}");
        }
        assert!(filter("agent=debug").unwrap().to_string().contains("info"));
    }
}
