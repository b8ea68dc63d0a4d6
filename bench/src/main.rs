//! The `bench` binary: reads the command line, runs, prints.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use bench::args::{Cli, Command};
use bench::progress::Progress;
use bench::report::Report;
use bench::{Error, Result, process, run};
use clap::Parser;
use lifecycle::exit;

/// Scrapes that are still being read when a run is stopped are not waited for longer.
const REST_WITHIN: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let command = Cli::parse().command;
    lifecycle::limits::raise_open_files();
    match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => {
            let done = runtime.block_on(measure(&command));
            runtime.shutdown_timeout(REST_WITHIN);
            done.map_or_else(|error| exit::because(exit::FAILED, error), |()| ExitCode::SUCCESS)
        }
        Err(error) => exit::because(exit::FAILED, error),
    }
}

async fn measure(command: &Command) -> Result<()> {
    let progress = Progress::on_stderr();
    let (keep, json) = match command {
        Command::Fleet(args) => (&args.keep, args.json),
        Command::Agent(args) => (&args.keep, args.json),
        Command::Lines(args) => (&args.keep, args.common.json),
        Command::History(args) => (&args.keep, args.common.json),
    };
    let running = async {
        match command {
            Command::Fleet(args) => run::fleet(args, &progress).await,
            Command::Agent(args) => run::agent(args, &progress).await,
            Command::Lines(args) => run::lines(args, &progress).await,
            Command::History(args) => run::history(args, &progress).await,
        }
    };
    // Whichever comes first; what is dropped with the run ends the programs that it started.
    let report = tokio::select! {
        report = running => report,
        () = lifecycle::stop::signal() => Err(Error::Stopped),
    };
    progress.done();
    let report = report?;
    if let Some(name) = keep {
        report.keep(&process::workspace().join("bench/runs"), name)?;
    }
    print(&report, json)
}

fn print(report: &Report, json: bool) -> Result<()> {
    let text = if json { report.json() + "\n" } else { report.table() };
    std::io::stdout().write_all(text.as_bytes()).map_err(Error::io("printing the figures"))
}
