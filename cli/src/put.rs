//! `fleetgauge put`: one number.

use std::process::ExitCode;

use clap::Args;
use client::ClientError;
use lifecycle::exit;

use crate::server::Server;
use crate::span::{self, moment};

/// Store a number under a key.
///
/// Exit code 0 means that the server has stored it. A number that was stored under the same
/// key at the same second before is replaced.
#[derive(Args)]
#[command(after_help = "Examples:
  fleetgauge put backup.seconds 42.5
  fleetgauge put backup.seconds 42.5 1642667947
  fleetgauge put backup.seconds 431 2026-01-31T03:00:00Z
  fleetgauge put --server aggregator:8888 balcony.temperature -3.5

The same without this program:
  printf 'put backup.seconds 42.5 1642667947\\n' | nc -w1 aggregator 8888")]
pub(crate) struct Put {
    /// Any text without white space and control characters.
    key: String,
    /// A number; also nan, inf and -inf.
    #[arg(allow_hyphen_values = true, value_parser = number)]
    value: f64,
    /// When: Unix seconds, 2026-01-31T10:00:00Z, or 1h for an hour ago; without it, now.
    #[arg(allow_negative_numbers = true, value_parser = moment)]
    timestamp: Option<i64>,
    /// Store a timestamp that is more than a day ahead too; most of those are milliseconds.
    #[arg(long)]
    allow_future: bool,
    #[command(flatten)]
    server: Server,
}

impl Put {
    pub(crate) fn run(&self) -> Result<(), ExitCode> {
        let target = self.server.resolve()?;
        // Before anybody is bothered.
        client::check_put_key(&self.key).map_err(|error| target.failed(&error.into()))?;
        // Chosen here, so that whoever has to try again can name the same one.
        let timestamp = self.timestamp.unwrap_or_else(span::now);
        if !self.allow_future {
            span::check_not_ahead(timestamp, span::latest()).map_err(|why| exit::because(exit::USAGE, why))?;
        }
        let mut client = target.connect()?;
        client.put(&self.key, self.value, Some(timestamp)).map_err(|error| {
            let (code, mut sentence) = target.explain(&error);
            if matches!(error, ClientError::Lost(_) | ClientError::Timeout(_)) {
                sentence.push_str(&format!(
                    "; it may be stored or not, and to put it again with the timestamp {timestamp} does no harm"
                ));
            }
            exit::because(code, sentence)
        })
    }
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "accepted: a number such as 10.6, -3 or 1e9".to_owned())
}
