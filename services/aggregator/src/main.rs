//! The `aggregator` binary: settings, log, bind, serve until a stop signal.

use std::pin::pin;
use std::process::ExitCode;

use aggregator::{App, BindError, Settings, health};
use lifecycle::exit;

/// The history allocates each point of its last minutes by itself and another thread frees them: in the
/// system's allocator memory grows for hours by what lies between.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HELP: &str = "\
Receives the metrics of a fleet of agents and shows them as one Prometheus page.

Usage: aggregator            serve until SIGTERM or SIGINT
       aggregator health     is the aggregator on this host alive? exit code 0 or 1
       aggregator --help | --version

Settings come from environment variables; docs/settings.md lists them all. The first to know:
  FLEETGAUGE_HTTP_LISTEN     /metrics and the API          (default 0.0.0.0:9400)
  FLEETGAUGE_LINK_LISTEN     where agents push             (default 0.0.0.0:9401)
  FLEETGAUGE_LINE_LISTEN     put and get                   (default 0.0.0.0:8888)
  FLEETGAUGE_NAME            the `aggregator` label        (default: host name)
  FLEETGAUGE_DATA_DIR        what must survive a restart   (default: nothing is kept)

Examples:
  FLEETGAUGE_DATA_DIR=/var/lib/fleetgauge aggregator
  FLEETGAUGE_HTTP_LISTEN=127.0.0.1:9400 FLEETGAUGE_LOG=debug aggregator
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => run(),
        ["health"] => check_health(),
        ["--help" | "-h" | "help"] => say(HELP),
        ["--version" | "-V"] => say(concat!("aggregator ", env!("CARGO_PKG_VERSION"), "\n")),
        other => exit::because(
            exit::USAGE,
            format!("unknown argument {:?}; aggregator --help says what there is", other.join(" ")),
        ),
    }
}

#[expect(clippy::print_stdout, reason = "what a command was asked for goes to standard output")]
fn say(text: &str) -> ExitCode {
    print!("{text}");
    ExitCode::SUCCESS
}

fn check_health() -> ExitCode {
    let settings = lifecycle::Settings::from_environment().and_then(|settings| Settings::resolve(&settings));
    match settings {
        Err(error) => exit::because(exit::SETTINGS, error),
        Ok(settings) => match health::check(settings.http_listen, settings.access.tls.is_some()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(sentence) => exit::because(exit::FAILED, sentence),
        },
    }
}

fn run() -> ExitCode {
    let environment = match lifecycle::Settings::from_environment() {
        Ok(environment) => environment,
        Err(error) => return exit::because(exit::SETTINGS, error),
    };
    let settings = lifecycle::logging::start(&environment).and_then(|()| Settings::resolve(&environment));
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => return exit::because(exit::SETTINGS, error),
    };
    let settings = fit_open_files(settings);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::because(exit::FAILED, format!("cannot start: {error}")),
    };
    let code = match runtime.block_on(serve(settings)) {
        Ok(()) => 0,
        Err((code, error)) => {
            let _same_code = exit::because(code, error);
            code
        }
    };
    // What must survive is on the disk, and the log is not buffered. To free a million keys, or to
    // wait for a history that is still being opened, would only hold up the end.
    std::process::exit(code.into())
}

/// Asks the system for open files, and makes do with what it allows.
fn fit_open_files(mut settings: Settings) -> Settings {
    if let Some(files) = lifecycle::limits::raise_open_files()
        && !settings.fit_open_files(files)
    {
        tracing::warn!(
            open_files = files,
            connections = settings.files_max,
            "fewer connections than FLEETGAUGE_MAX_CONNECTIONS and FLEETGAUGE_MAX_LINE_CONNECTIONS together: the system allows no more open files"
        );
    }
    settings
}

/// Serves until a stop signal; else the exit code, and why.
async fn serve(settings: Settings) -> Result<(), (u8, String)> {
    let mut stop = pin!(lifecycle::stop::signal());
    let bound = tokio::select! {
        bound = App::bind(settings) => bound,
        () = stop.as_mut() => {
            tracing::info!("stopped before it served");
            return Ok(());
        }
    };
    match bound {
        Ok(app) => app.run(stop).await.map_err(|error| (exit::FAILED, error.to_string())),
        Err(error @ (BindError::Listen { .. } | BindError::Data { .. } | BindError::Access(_))) => {
            Err((exit::SETTINGS, error.to_string()))
        }
        Err(error) => Err((exit::FAILED, error.to_string())),
    }
}
