//! `fleetgauge agents`: who is there, and who was.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use crate::explain::ago;
use crate::http::Http;
use crate::output::{self, Output};

/// List the agents that an aggregator knows.
///
/// Prints one line for each: its name, whether it is up, its series on the page, when it was seen
/// last, how old the oldest push is that waits in it, and how many samples it lost or had dropped.
#[derive(Args)]
#[command(after_help = "Examples:
  fleetgauge agents
  fleetgauge agents --http http://aggregator:9400
  fleetgauge agents --json | jq -r '.agents[] | select(.up | not) | .name'")]
pub(crate) struct Agents {
    /// Print the aggregator's answer, /api/v1/agents.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    http: Http,
}

#[derive(Debug, Deserialize)]
struct Agent {
    name: String,
    up: bool,
    series: u64,
    last_seen: f64,
    #[serde(default)]
    backlog_seconds: f64,
    #[serde(default)]
    samples_missing: BTreeMap<String, u64>,
    #[serde(default)]
    samples_dropped: BTreeMap<String, u64>,
}

impl Agents {
    pub(crate) fn run(&self) -> Result<(), ExitCode> {
        let target = self.http.resolve()?;
        let reply = target.get("/api/v1/agents")?;
        let answer: Value = target.read(&reply)?;
        let mut out = Output::stdout();
        let written = if self.json {
            writeln!(out, "{answer}")
        } else {
            #[derive(Deserialize)]
            struct All {
                agents: Vec<Agent>,
            }
            let all: All = target.read(&reply)?;
            table(&all.agents, now_seconds()).into_iter().try_for_each(|line| writeln!(out, "{line}"))
        };
        output::ended(written.and_then(|()| out.finish()), "standard output")
    }
}

/// Now, Unix seconds.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of this age are far below 2^53")]
pub(crate) fn now_seconds() -> f64 {
    lifecycle::clock::unix_ms() as f64 / 1000.0
}

fn table(agents: &[Agent], now: f64) -> Vec<String> {
    let mut rows = vec![["NAME", "UP", "SERIES", "LAST SEEN", "BACKLOG", "MISSING", "DROPPED"].map(str::to_owned)];
    rows.extend(agents.iter().map(|agent| {
        let up = if agent.up { "yes" } else { "no" };
        let backlog = if agent.backlog_seconds > 0.0 { ago(agent.backlog_seconds) } else { "-".to_owned() };
        let sum = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>().to_string();
        let seen = format!("{} ago", ago(now - agent.last_seen));
        let (missing, dropped) = (sum(&agent.samples_missing), sum(&agent.samples_dropped));
        [agent.name.clone(), up.to_owned(), agent.series.to_string(), seen, backlog, missing, dropped]
    }));
    let mut widths = [0; 7];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let line = |row: &[String; 7]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let agents: Vec<Agent> = serde_json::from_value(serde_json::json!([
            {"name": "huginn", "up": true, "series": 376, "last_seen": 100.0, "samples_missing": {"spool_full": 3}},
            {"name": "m", "up": false, "series": 0, "last_seen": 39.0, "backlog_seconds": 61.0, "samples_dropped": {"late": 2, "conflict": 1}},
        ])).unwrap();
        let expected = [
            "NAME    UP   SERIES  LAST SEEN  BACKLOG  MISSING  DROPPED",
            "huginn  yes  376     1s ago     -        3        0",
            "m       no   0       1m 2s ago  1m 1s    0        3",
        ];
        assert_eq!(table(&agents, 101.0), expected);
    }
}
