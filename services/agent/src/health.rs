//! Proof of life of a process that listens nowhere: a file written at each acknowledged push.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use crate::settings;

/// A short interval does not make a container unhealthy at every hiccup.
const FRESH_FOR_MIN: Duration = Duration::from_secs(15);

/// Writes the heartbeat. It belongs on a tmpfs: this is done between two reads of the connection.
pub(crate) fn beat(path: &Path, told: &mut HashSet<String>) {
    let text = format!("{}\n", lifecycle::clock::unix_ms());
    if let Err(error) = std::fs::write(path, text)
        && told.insert(format!("heartbeat {}", error.kind()))
    {
        tracing::warn!(path = %path.display(), %error, "cannot write the heartbeat");
    }
}

/// Is the agent with these settings alive? An error says in a sentence why not.
///
/// # Errors
/// When the file is not configured, not there, or too old.
pub fn check(settings: &lifecycle::Settings) -> Result<(), String> {
    let interval = settings::interval(settings).map_err(|error| error.to_string())?;
    let path = settings.text("FLEETGAUGE_HEARTBEAT_FILE").map_err(|error| error.to_string())?;
    if path.is_empty() {
        return Err("FLEETGAUGE_HEARTBEAT_FILE is not set, so there is nothing to tell the agent's health by".into());
    }
    let written = std::fs::metadata(&path).and_then(|found| found.modified());
    let written = written.map_err(|error| format!("no push was acknowledged yet: {path}: {error}"))?;
    let written_ms = written.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let now_ms = u128::try_from(lifecycle::clock::unix_ms()).unwrap_or(0);
    is_fresh(Duration::from_millis(u64::try_from(now_ms.saturating_sub(written_ms)).unwrap_or(u64::MAX)), interval)
}

fn is_fresh(age: Duration, interval: Duration) -> Result<(), String> {
    let fresh_for = (interval * 3).max(FRESH_FOR_MIN);
    if age <= fresh_for {
        return Ok(());
    }
    Err(format!("the last push was acknowledged {} s ago, more than {} s", age.as_secs(), fresh_for.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_intervals_and_at_least_15_seconds() {
        let seconds = Duration::from_secs;
        assert!(is_fresh(seconds(15), seconds(1)).is_ok());
        assert!(is_fresh(seconds(16), seconds(1)).is_err());
        assert!(is_fresh(seconds(30), seconds(10)).is_ok());
        let error = is_fresh(seconds(31), seconds(10)).unwrap_err();
        assert_eq!(error, "the last push was acknowledged 31 s ago, more than 30 s");
    }
}
