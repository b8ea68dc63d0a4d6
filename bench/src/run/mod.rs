//! The order of a run, one file for each subcommand.

mod agent;
mod fleet;
mod history;
mod lines;

use std::path::PathBuf;
use std::time::Duration;

pub use agent::agent;
pub use fleet::fleet;
pub use history::history;
pub use lines::lines;

use crate::machine::Machine;
use crate::measure::blocking;
use crate::report::Report;
use crate::{Result, process};

/// What was run, where and when.
fn about(report: &mut Report) {
    let now = Duration::from_millis(u64::try_from(lifecycle::clock::unix_ms()).unwrap_or(0));
    report.set("date", humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + now).to_string());
    let given: Vec<String> = std::env::args().skip(1).collect();
    report.set("command", format!("cargo run --release -p bench -- {}", given.join(" ")));
    report.set("commit", process::commit());
    report.set("version", env!("CARGO_PKG_VERSION"));
    report.set("machine", serde_json::to_value(Machine::this()).unwrap_or_default());
}

/// The binary of a package: the one that was given, or a fresh release build.
async fn binary(package: &'static str, given: Option<PathBuf>) -> Result<PathBuf> {
    match given {
        Some(binary) => Ok(binary),
        None => blocking(move || process::build(package, true)).await,
    }
}
