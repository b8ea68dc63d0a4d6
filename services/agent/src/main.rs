//! The `agent` binary.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use lifecycle::exit;

/// A lookup or a file system may hang; the process does not wait for it.
const SHUTDOWN_WITHIN: Duration = Duration::from_millis(50);

const EXAMPLES: &str = "\
Settings come from environment variables; docs/settings.md lists them all. Most often set:
  FLEETGAUGE_AGGREGATOR   where to push, host:port [default: 127.0.0.1:9401]
  FLEETGAUGE_AGENT        this agent's name [default: the host's]
  FLEETGAUGE_INTERVAL     time between two measurements [default: 5s]
  FLEETGAUGE_LABELS       labels for all series, zone=a,rack=7
  FLEETGAUGE_HOST_ROOT    where the host's / is mounted in a container
  FLEETGAUGE_COLLECTORS   collectors to switch on, or off with - before the name
  FLEETGAUGE_TEXTFILE_DIRECTORY   where *.prom files are read

Examples:
  FLEETGAUGE_AGGREGATOR=metrics.example:9401 agent
  FLEETGAUGE_AGGREGATOR=a:9401,b:9401 FLEETGAUGE_LABELS=zone=a agent
  FLEETGAUGE_HOST_ROOT=/host FLEETGAUGE_AGGREGATOR=a:9401 agent
  FLEETGAUGE_COLLECTORS=interrupts,-hwmon agent collectors
  FLEETGAUGE_HEARTBEAT_FILE=/run/fleetgauge/heartbeat agent health";

/// Measures this host and pushes what it measured to a FleetGauge aggregator.
#[derive(Debug, Parser)]
#[command(name = "agent", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Is the agent alive? Exit code 0 if its last push was acknowledged a short while ago.
    Health,
    /// Lists the collectors: which are on with the present settings, how often each is read, and from where.
    Collectors,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let settings = match lifecycle::Settings::from_environment() {
        Ok(settings) => settings,
        Err(error) => return exit::because(exit::SETTINGS, error),
    };
    match arguments.command {
        Some(Command::Health) => match agent::health::check(&settings) {
            Ok(()) => ExitCode::SUCCESS,
            Err(sentence) => exit::because(exit::FAILED, sentence),
        },
        Some(Command::Collectors) => match agent::Settings::resolve(&settings) {
            Ok(settings) => print(&agent::collect::table(&settings.collect)),
            Err(error) => exit::because(exit::SETTINGS, error),
        },
        None => run(&settings),
    }
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::because(exit::FAILED, error),
    }
}

fn run(settings: &lifecycle::Settings) -> ExitCode {
    let resolved = lifecycle::logging::start(settings).and_then(|()| agent::Settings::resolve(settings));
    let resolved = match resolved {
        Ok(resolved) => resolved,
        Err(error) => return exit::because(exit::SETTINGS, error),
    };
    let agent = match agent::Agent::new(resolved) {
        Ok(agent) => agent,
        Err(error @ agent::AgentError::Spool(_)) => return exit::because(exit::SETTINGS, error),
        Err(error) => return exit::because(exit::FAILED, error),
    };
    // One thread for the connection; collecting has its own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::because(exit::FAILED, error),
    };
    runtime.block_on(async { agent.run(lifecycle::stop::signal()).await });
    runtime.shutdown_timeout(SHUTDOWN_WITHIN);
    ExitCode::SUCCESS
}
