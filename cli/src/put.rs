//! `fleetgauge put`: one number.

use std::process::ExitCode;

use clap::Args;

use crate::server::Server;
use crate::span::moment;

/// Store a number under a key.
///
/// Exit code 0 means that the server has stored it. A number that was stored under the same
/// key at the same second before is replaced.
#[derive(Args)]
#[command(after_help = "Examples:
  fleetgauge put huginn.cpu 10.6
  fleetgauge put huginn.cpu 10.6 1642667947
  fleetgauge put backup.seconds 431 2026-01-31T03:00:00Z
  fleetgauge put --server aggregator:8888 balcony.temperature -3.5
  fleetgauge put odd -- -inf

The same without this program: printf 'put huginn.cpu 10.6 1642667947\\n' | nc aggregator 8888")]
pub(crate) struct Put {
    /// Any text without white space and control characters.
    key: String,
    /// A number; also nan, inf and -inf.
    #[arg(allow_negative_numbers = true, value_parser = number)]
    value: f64,
    /// When: Unix seconds, 2026-01-31T10:00:00Z, or 1h for an hour ago; without it, now.
    #[arg(allow_negative_numbers = true, value_parser = moment)]
    timestamp: Option<i64>,
    #[command(flatten)]
    server: Server,
}

impl Put {
    pub(crate) fn run(&self) -> Result<(), ExitCode> {
        let target = self.server.resolve()?;
        // Before anybody is bothered.
        client::check_put_key(&self.key).map_err(|error| target.failed(&error.into()))?;
        let mut client = target.connect()?;
        client.put(&self.key, self.value, self.timestamp).map_err(|error| target.failed(&error))
    }
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "accepted: a number such as 10.6, -3 or 1e9".to_owned())
}
