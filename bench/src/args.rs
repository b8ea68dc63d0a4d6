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
    /// One real agent, which measures this machine, and node_exporter beside it
    Agent(AgentArgs),
    /// Puts: how many a second are acknowledged, and how long one takes
    Lines(LinesArgs),
    /// The history: what a point takes on the disk, and what it takes to read
    History(HistoryArgs),
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

/// Settings of `bench agent`.
#[derive(Debug, Args)]
pub struct AgentArgs {
    /// How much is measured.
    #[command(flatten)]
    pub plan: AgentPlan,
    /// Print one line of JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Keep the result in bench/runs, under the date and this name
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "agent")]
    pub keep: Option<String>,
    /// This agent binary, instead of building the release one
    #[arg(long, value_name = "PATH")]
    pub agent: Option<PathBuf>,
    /// This aggregator binary, instead of building the release one
    #[arg(long, value_name = "PATH")]
    pub aggregator: Option<PathBuf>,
    /// Measure this node_exporter in the same run [default: prometheus-node-exporter or node_exporter, if it is there]
    #[arg(long, value_name = "PATH", env = "PROMETHEUS_NODE_EXPORTER")]
    pub node_exporter: Option<PathBuf>,
    /// Measure no node_exporter
    #[arg(long)]
    pub no_node_exporter: bool,
}

/// How much of an agent is measured.
#[derive(Debug, Clone, Args)]
pub struct AgentPlan {
    /// Pushes at the short interval
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub pushes: u32,
    /// The short interval, 100ms to 10s: time between two pushes, and between two scrapes
    #[arg(long, default_value = "250ms", value_parser = interval)]
    pub interval: Duration,
    /// Scrapes of node_exporter at the short interval, for each of plain and gzip
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub scrapes: u32,
    /// Pushes every 5 s, the agent's default interval, and as many gzip scrapes; 0: leave that out
    #[arg(long, value_name = "PUSHES", default_value_t = 12, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub usual_pushes: u32,
}

/// Settings of `bench lines`.
#[derive(Debug, Args)]
pub struct LinesArgs {
    /// Connections that send lines without waiting for each reply
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub connections: u32,
    /// Lines of a connection that may be unanswered
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub window: u32,
    /// Keys that are put, shared out among the connections
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub keys: u32,
    /// Points put of each key
    #[arg(long, default_value_t = 800, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub points: u32,
    /// Puts of one connection that waits for each reply
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub single_puts: u32,
    /// What `bench history` has too.
    #[command(flatten)]
    pub common: StoreArgs,
    /// Keep the result in bench/runs, under the date and this name
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "lines")]
    pub keep: Option<String>,
}

/// Settings of `bench history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Keys with few points
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub keys: u32,
    /// Points of each of them when raw points are measured
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub points: u32,
    /// Points of one more key
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub long_points: u32,
    /// Put on until there are so many points, of which the aggregator seals a part, and measure
    /// that too; 0: leave that out. It seals when it has 20,000,000
    #[arg(long, value_name = "POINTS", default_value_t = 20_200_000)]
    pub seal_points: u64,
    /// Times that the key with many points is read
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub gets: u32,
    /// What `bench lines` has too.
    #[command(flatten)]
    pub common: StoreArgs,
    /// Keep the result in bench/runs, under the date and this name
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "history")]
    pub keep: Option<String>,
}

/// Settings of what puts points on a disk.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// Print one line of JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// This aggregator binary, instead of building the release one
    #[arg(long, value_name = "PATH")]
    pub aggregator: Option<PathBuf>,
    /// Where fresh data directories are made, on a real disk [default: target/bench of the working tree]
    #[arg(long, value_name = "PATH")]
    pub dir: Option<PathBuf>,
    /// Same seed, same points
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// An interval that an agent takes, and that is no longer than anyone waits for a push here.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let accepted = Duration::from_millis(100)..=Duration::from_secs(10);
    if accepted.contains(&interval) { Ok(interval) } else { Err("accepted: a duration from 100ms to 10s".into()) }
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
        match Cli::try_parse_from(line.split(' '))?.command {
            Command::Fleet(args) => Ok(args),
            other => panic!("{line} gives {other:?}"),
        }
    }

    fn parse_agent(line: &str) -> Result<AgentArgs, clap::Error> {
        match Cli::try_parse_from(line.split(' '))?.command {
            Command::Agent(args) => Ok(args),
            other => panic!("{line} gives {other:?}"),
        }
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

    #[test]
    fn an_agent_is_measured_at_intervals_that_it_takes() {
        let args = parse_agent("bench agent --keep").unwrap();
        assert_eq!((args.plan.pushes, args.plan.scrapes, args.plan.usual_pushes), (1000, 300, 12));
        assert_eq!((args.plan.interval, args.keep.as_deref()), (Duration::from_millis(250), Some("agent")));
        assert_eq!(parse_agent("bench agent --interval 10s").unwrap().plan.interval, Duration::from_secs(10));
        for bad in ["--interval 50ms", "--interval 1m", "--interval soon", "--pushes 0", "--scrapes 0"] {
            assert!(parse_agent(&format!("bench agent {bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_put_has_defaults() {
        let Command::Lines(args) = Cli::try_parse_from(["bench", "lines", "--keep"]).unwrap().command else {
            panic!("lines are lines")
        };
        assert_eq!((args.connections, args.keys, args.keep.as_deref()), (64, 10_000, Some("lines")));
        let Command::History(args) = Cli::try_parse_from(["bench", "history", "--seal-points", "0"]).unwrap().command
        else {
            panic!("history is history")
        };
        assert_eq!((args.points, args.long_points, args.seal_points), (1000, 100_000, 0));
        for bad in ["lines --connections 0", "lines --window 0", "history --keys 0", "history --gets 0"] {
            assert!(Cli::try_parse_from(["bench"].into_iter().chain(bad.split(' '))).is_err(), "{bad}");
        }
    }
}
