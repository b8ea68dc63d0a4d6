//! The `fleetgauge` command line.

mod access;
mod agents;
mod explain;
mod export;
mod forget;
mod get;
mod http;
mod import;
mod output;
mod put;
mod server;
mod span;
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

// What each does is said at its own options: words here would hide the longer ones there.
#[derive(Subcommand)]
enum Command {
    Up(up::Up),
    Agents(agents::Agents),
    Explain(explain::Explain),
    Forget(forget::Forget),
    Put(put::Put),
    Get(get::Get),
    Import(import::Import),
    Export(export::Export),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Up(up) => return up.run(),
        Command::Agents(agents) => agents.run(),
        Command::Explain(explain) => explain.run(),
        Command::Forget(forget) => forget.run(),
        Command::Put(put) => put.run(),
        Command::Get(get) => get.run(),
        Command::Import(import) => import.run(),
        Command::Export(export) => export.run(),
    };
    done.err().unwrap_or(ExitCode::SUCCESS)
}
