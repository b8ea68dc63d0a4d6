//! The `fleetgauge` command line.

mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The metrics of a whole fleet behind one Prometheus scrape.
#[derive(Parser)]
#[command(name = "fleetgauge", version, about, arg_required_else_help = true)]
#[command(after_help = "Settings come from environment variables; docs/settings.md lists them all.\n\
Exit codes: 0 done, 1 failed, 2 wrong usage, 69 not reachable, 78 wrong settings.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run an aggregator and some agents in this process, for a first look.
    Up(up::Up),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Up(up) => up.run(),
    }
}
