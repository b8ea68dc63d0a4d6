//! The log: one line an event on standard error, as text or as JSON.
//!
//! Standard output stays free for what a command prints.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::settings::{Settings, SettingsError};

/// Starts the log as `FLEETGAUGE_LOG` and `FLEETGAUGE_LOG_FORMAT` say. Once per process; a second
/// call changes nothing.
///
/// # Errors
/// When either setting has a value that is not accepted.
pub fn start(settings: &Settings) -> Result<(), SettingsError> {
    let text = settings.text("FLEETGAUGE_LOG")?;
    let filter = EnvFilter::try_new(&text).map_err(|error| settings.bad("FLEETGAUGE_LOG", &error.to_string()))?;
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
