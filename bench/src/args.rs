//! The command line, and the plan of a run that is made of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Measures FleetGauge.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
pub struct Cli {
    /// What to measure.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be measured.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// A fleet of simulated agents pushing to the aggregator, and the page being scraped
    Fleet(FleetArgs),
}

/// Settings of `bench fleet`.
#[derive(Debug, Args)]
pub struct FleetArgs {
    /// What is pushed and how it is measured.
    #[command(flatten)]
    pub plan: Plan,
    /// Print one line of JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Keep the result in bench/runs, under the date and this name
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "fleet")]
    pub keep: Option<String>,
    /// This aggregator binary, instead of building the release one
    #[arg(long, value_name = "PATH", conflicts_with_all = ["link", "http"])]
    pub aggregator: Option<PathBuf>,
    /// Drive an aggregator that is already running: its agent link
    #[arg(long, value_name = "ADDR", requires = "http")]
    pub link: Option<SocketAddr>,
    /// Drive an aggregator that is already running: its HTTP address
    #[arg(long, value_name = "ADDR", requires = "link")]
    pub http: Option<SocketAddr>,
    /// Measure this push gateway in the same run [default: prometheus-pushgateway, if it is there]
    #[arg(long, value_name = "PATH", env = "PUSHGATEWAY")]
    pub pushgateway: Option<PathBuf>,
    /// Do not look for a push gateway
    #[arg(long, conflicts_with = "pushgateway")]
    pub no_pushgateway: bool,
}

/// What is pushed and how it is measured.
#[derive(Debug, Clone, Args)]
pub struct Plan {
    /// Agents, one connection each
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub agents: u32,
    /// Series of each agent
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub series: u32,
    /// Rounds of pushes for the figure of CPU per sample
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Time over which the pushes of one round are spread
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
    pub interval: Duration,
    /// Scrapes for each of plain and gzip
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub scrapes: u32,
    /// Pushes that are followed until they are seen
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub probes: u32,
    /// Length of one window of pushing back to back
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    pub window: Duration,
    /// Pairs of such windows, one of them scraped, one not
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub pairs: u32,
    /// Same seed, same series and values
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl Plan {
    /// How many agents.
    #[must_use]
    pub fn agents(&self) -> usize {
        self.agents as usize
    }

    /// How many series each has.
    #[must_use]
    pub fn series(&self) -> usize {
        self.series as usize
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    fn parse(line: &str) -> Result<FleetArgs, clap::Error> {
        let Command::Fleet(args) = Cli::try_parse_from(line.split(' '))?.command;
        Ok(args)
    }

    #[test]
    fn defaults_and_choices() {
        let args = parse("bench fleet").unwrap();
        assert_eq!((args.plan.agents, args.plan.series, args.plan.rounds), (1000, 1000, 5));
        assert_eq!((args.plan.interval, args.keep), (Duration::from_secs(1), None));
        assert_eq!(parse("bench fleet --keep --json").unwrap().keep.as_deref(), Some("fleet"));
        assert_eq!(parse("bench fleet --keep wide").unwrap().keep.as_deref(), Some("wide"));
        assert!(parse("bench fleet --link 127.0.0.1:1").is_err(), "both addresses or none");
        assert!(parse("bench fleet --agents 0").is_err());
        assert!(parse("bench fleet --interval soon").is_err());
    }
}
