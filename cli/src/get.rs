//! `fleetgauge get`: rows, as they come.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Args;
use client::Row;
use serde::Serialize;

use crate::output::{self, Output};
use crate::server::Server;
use crate::span::Span;

/// Print what is stored under a key, or under all.
///
/// Prints one row for each point, `key value timestamp` with the timestamp in Unix seconds, as the
/// server sends them: each key's rows together, the oldest first. Nothing stored prints nothing.
#[derive(Args)]
#[command(after_help = "Examples:
  fleetgauge get backup.seconds
  fleetgauge get backup.seconds --from 1h
  fleetgauge get '*' --from 2026-01-31T00:00:00Z --to 2026-01-31T23:59:59Z --csv > january-31.csv
  fleetgauge get '*' --json | jq -r .key | uniq

The quotes keep the shell from putting the names of files in place of the star.")]
pub(crate) struct Get {
    /// The key, or '*' for everything that was put.
    key: String,
    /// Print one JSON object on a line for each point: {"key":"backup.seconds","timestamp":1642667947,"value":42.5};
    /// what JSON has no number for is "nan", "inf" or "-inf".
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print comma-separated values, with a head: key,timestamp,value.
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    span: Span,
    #[command(flatten)]
    server: Server,
}

impl Get {
    pub(crate) fn run(&self) -> Result<(), ExitCode> {
        let target = self.server.resolve()?;
        self.span.check()?;
        let mut client = target.connect()?;
        let mut out = Output::stdout();
        let print: fn(&Row<'_>, &mut Output) -> io::Result<()> = match (self.json, self.csv) {
            (true, _) => json,
            (_, true) => csv,
            _ => |row, out| writeln!(out, "{}", row.text),
        };
        let mut written = if self.csv { out.write_all(b"key,timestamp,value\n") } else { Ok(()) };
        let answered = client.get_each(&self.key, |row| {
            if written.is_ok() && self.span.has(row.point.timestamp) {
                written = print(&row, &mut out);
            }
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        // What came before an error was right.
        output::ended(written.and_then(|()| out.finish()), "standard output")?;
        answered.map(drop).map_err(|error| target.failed(&error))
    }
}

#[derive(Serialize)]
struct Line<'a> {
    key: &'a str,
    timestamp: i64,
    value: Number,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Number {
    Finite(f64),
    Other(&'static str),
}

fn json(row: &Row<'_>, out: &mut Output) -> io::Result<()> {
    let value = match row.point.value {
        value if value.is_nan() => Number::Other("nan"),
        f64::INFINITY => Number::Other("inf"),
        f64::NEG_INFINITY => Number::Other("-inf"),
        value => Number::Finite(value),
    };
    serde_json::to_writer(&mut *out, &Line { key: row.key, timestamp: row.point.timestamp, value })?;
    out.write_all(b"\n")
}

fn csv(row: &Row<'_>, out: &mut Output) -> io::Result<()> {
    if row.key.contains([',', '"']) {
        write!(out, "\"{}\"", row.key.replace('"', "\"\""))?;
    } else {
        out.write_all(row.key.as_bytes())?;
    }
    // The value as the server spells it.
    let value = row.text.split_ascii_whitespace().nth(1).unwrap_or_default();
    writeln!(out, ",{},{value}", row.point.timestamp)
}
