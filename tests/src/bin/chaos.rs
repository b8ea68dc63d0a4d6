//! Hurts FleetGauge for as long as one likes: `cargo run -p tests --bin chaos -- --help`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use tests::chaos::Verdict;
use tests::chaos::attack::attack;
use tests::chaos::hostile::{Hostile, hostile};
use tests::chaos::outage::{Outage, herd, kill9, outage, stall, storm};
use tests::chaos::soak::soak;
use tests::chaos::world::Plan;

/// Drives real aggregators and agents through outages, kills, stalls and hostile senders, and holds
/// everything that was acknowledged against the history, the page and remote write. Each round has
/// a seed of its own, which a failure names: the same seed again hurts the same way.
#[derive(Debug, Parser)]
struct Arguments {
    /// What is done; by default all of it, one after the other.
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// Seed of the first round; by default another one each time.
    #[arg(long)]
    seed: Option<u64>,
    /// How long to go on, in minutes. The round that is under way then is finished.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Agents of a world; of herd: twenty times as many, of outage and stall a tenth of them real.
    #[arg(long, default_value_t = 50)]
    agents: usize,
    /// Times of one round, in tenths of the ones that the product is held to: 10 minutes of outage, 60 s
    /// of stall, 50 kills, an hour of soak.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10))]
    tenths: u32,
    /// A real Prometheus, this program, scrapes and takes remote write: what it has is judged.
    #[arg(long, value_name = "PROGRAM")]
    prometheus: Option<PathBuf>,
    /// Attacks this link until it is killed, as the attackers of hostile do.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "scenarios")]
    attack: Option<SocketAddr>,
    /// Connections of the attack, and of hostile, that say nothing.
    #[arg(long, default_value_t = 2000)]
    silent: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    Outage,
    Kill9,
    Stall,
    Storm,
    Hostile,
    Herd,
    Soak,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(link) = arguments.attack {
        attack(link, arguments.silent).await;
    }
    let _many_agents = lifecycle::limits::raise_open_files();
    let scenarios =
        if arguments.scenarios.is_empty() { Scenario::value_variants().to_vec() } else { arguments.scenarios.clone() };
    let first = arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let began = Instant::now();
    let time = Duration::from_secs(arguments.minutes * 60);
    let mut failed = 0;
    for (round, scenario) in scenarios.iter().cycle().enumerate() {
        if round >= scenarios.len() && began.elapsed() >= time {
            break;
        }
        let seed = first + (round / scenarios.len()) as u64;
        eprintln!("{scenario:?} with seed {seed}, after {:.0?}", began.elapsed());
        match run(*scenario, seed, &arguments).await {
            Ok(report) => println!("{scenario:?} with seed {seed}: {report}"),
            Err(error) => {
                failed += 1;
                println!("{scenario:?} with seed {seed} FAILED: {error}");
            }
        }
    }
    println!("{failed} rounds failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(scenario: Scenario, seed: u64, arguments: &Arguments) -> Verdict {
    let (agents, tenths) = (arguments.agents, arguments.tenths);
    let second = Duration::from_secs(1);
    let mut plan = Plan::quick(seed);
    plan.prometheus.clone_from(&arguments.prometheus);
    (plan.interval, plan.scrape_every) = (second, second);
    let real = (agents / 10).max(1);
    let parts = |down| Outage { sims: agents - real.min(agents), agents: real, around: 10 * second, down };
    match scenario {
        Scenario::Outage => {
            // As compose.yaml has it.
            (plan.interval, plan.scrape_every) = (5 * second, 5 * second);
            outage(plan, Outage { around: 30 * second, ..parts(60 * second * tenths) }).await
        }
        Scenario::Kill9 => kill9(plan, agents, 5 * tenths, 30 * second).await,
        Scenario::Stall => stall(plan, parts(6 * second * tenths)).await,
        Scenario::Storm => storm(plan, agents, 60 * second * tenths).await,
        Scenario::Herd => herd(plan, agents * 20, 10 * second).await,
        Scenario::Soak => soak(plan, agents, 360 * second * tenths, Some(0.05)).await,
        Scenario::Hostile => {
            let params = Hostile {
                program: std::env::current_exe().map_err(|error| error.to_string())?,
                sims: agents,
                silent: arguments.silent,
                time: 10 * second * tenths,
                ratio_max: Some(2.0),
                resident_kib_max: 512 << 10,
            };
            hostile(plan, params).await
        }
    }
}
