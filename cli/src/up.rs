//! `fleetgauge up`: an aggregator and some agents in one process. Nothing to configure, nothing
//! but loopback, nothing left running.

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use aggregator::{App, BindError};
use clap::Args;
use lifecycle::{Settings, SettingsError, exit};
use protocol::AgentName;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Run an aggregator and some agents in this process, for a first look.
///
/// The aggregator listens on loopback only, and every agent measures this host.
#[derive(Args)]
#[command(after_help = "Examples:
  fleetgauge up
  fleetgauge up --agents 5
  FLEETGAUGE_HTTP_LISTEN=127.0.0.1:9500 FLEETGAUGE_LINK_LISTEN=127.0.0.1:9501 FLEETGAUGE_LINE_LISTEN=127.0.0.1:8889 fleetgauge up
  FLEETGAUGE_INTERVAL=1s fleetgauge up")]
pub(crate) struct Up {
    /// How many agents to run; with more than one they are called HOST-1, HOST-2, …
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    agents: u16,
}

/// How long agents may take to say `bye`.
const FAREWELL: Duration = Duration::from_millis(100);

impl Up {
    pub(crate) fn run(&self) -> ExitCode {
        let settings = match settings() {
            Ok(settings) => settings,
            Err(error) => return exit::because(exit::SETTINGS, error),
        };
        lifecycle::limits::raise_open_files();
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return exit::because(exit::FAILED, format!("cannot start: {error}")),
        };
        let code = runtime.block_on(self.serve(&settings));
        // What is still being freed, or opened, must not hold up the end.
        runtime.shutdown_timeout(Duration::from_millis(50));
        code
    }

    async fn serve(&self, settings: &Settings) -> ExitCode {
        let resolved = aggregator::Settings::resolve(settings)
            .and_then(|aggregator| Ok((aggregator, agent::Settings::resolve(settings)?)));
        let (aggregator, agent) = match resolved {
            Ok(resolved) => resolved,
            Err(error) => return exit::because(exit::SETTINGS, error),
        };
        let scheme = if aggregator.access.tls.is_some() { "https" } else { "http" };
        // What is printed about put and get shows no token and speaks no TLS.
        let is_open = scheme == "http" && matches!(aggregator.access.tokens, security::Source::None);
        let data_dir = aggregator.data_dir.clone().filter(|_| is_open);
        let mut signal = pin!(lifecycle::stop::signal());
        let bound = tokio::select! {
            bound = App::bind(aggregator) => bound,
            () = signal.as_mut() => return ExitCode::SUCCESS,
        };
        let app = match bound {
            Ok(app) => app,
            Err(error @ (BindError::Listen { .. } | BindError::Data { .. } | BindError::Access(_))) => {
                return exit::because(exit::SETTINGS, error);
            }
            Err(error) => return exit::because(exit::FAILED, error),
        };
        let (stop, stopping) = watch::channel(false);
        let mut agents = match self.agents(&agent, &app, &stopping) {
            Ok(agents) => agents,
            Err(error) => return exit::because(exit::FAILED, error),
        };
        self.greet(&app, scheme, &self.name(&agent, 1), data_dir.as_deref());
        let ended = app.run(async {
            signal.await;
            // Agents first: a page without them is what a clean stop looks like.
            stop.send_replace(true);
            let farewell = async { while agents.join_next().await.is_some() {} };
            if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
                tracing::warn!("some agents did not stop in time");
            }
        });
        match ended.await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => exit::because(exit::FAILED, error),
        }
    }

    /// Starts the agents, all of which push to this process's aggregator.
    fn agents(
        &self,
        template: &agent::Settings,
        app: &App,
        stopping: &watch::Receiver<bool>,
    ) -> Result<JoinSet<()>, String> {
        let link = app.link_addr();
        let target = agent::Target { host: link.ip().to_string(), port: link.port() };
        let mut agents = JoinSet::new();
        for number in 1..=self.agents {
            let name = self.name(template, number);
            // A spool is one agent's alone.
            let dir = template.spool.dir.as_ref().map(|dir| dir.join(&name));
            let settings = agent::Settings {
                agent: AgentName::parse(&name).map_err(|error| error.to_string())?,
                spool: agent::spool::SpoolSettings { dir, ..template.spool.clone() },
                aggregators: vec![target.clone()],
                ..template.clone()
            };
            let agent = agent::Agent::new(settings).map_err(|error| error.to_string())?;
            let mut stopping = stopping.clone();
            agents.spawn(agent.run(async move {
                // An error means that nobody is left to say it.
                let _said = stopping.wait_for(|stop| *stop).await.is_ok();
            }));
        }
        Ok(agents)
    }

    /// What an agent is called; they are counted from 1.
    fn name(&self, template: &agent::Settings, number: u16) -> String {
        if self.agents == 1 { template.agent.to_string() } else { format!("{}-{number}", template.agent) }
    }

    /// Where to look.
    #[expect(clippy::print_stdout, reason = "this is what the command was run for")]
    fn greet(&self, app: &App, scheme: &str, first_agent: &str, data_dir: Option<&std::path::Path>) {
        let (http, link, line) = (app.http_addr(), app.link_addr(), app.line_addr());
        let agents = if self.agents == 1 { "1 agent".to_owned() } else { format!("{} agents", self.agents) };
        println!("FleetGauge is up, with {agents} on this host.\n");
        println!("  the page       {scheme}://{http}/metrics");
        println!("  who is there   {scheme}://{http}/api/v1/agents");
        println!("  another agent  FLEETGAUGE_AGGREGATOR={link} FLEETGAUGE_AGENT=second cargo run --release -p agent");
        // Without a directory there is no history.
        if let Some(dir) = data_dir {
            let nc = format!("nc -w1 {} {}", line.ip(), line.port());
            println!("  put a number   printf 'put backup.seconds 42.5 %s\\n' $(date +%s) | {nc}");
            println!("  get numbers    printf 'get {first_agent}.cpu\\n' | {nc}");
            println!("  data           {}", dir.display());
        }
        println!("\nCtrl-C stops it.");
    }
}

/// The environment's settings, with defaults for a first look.
fn settings() -> Result<Settings, SettingsError> {
    let mut settings = Settings::from_environment()?
        .with_default("FLEETGAUGE_HTTP_LISTEN", "127.0.0.1:9400")
        .with_default("FLEETGAUGE_LINK_LISTEN", "127.0.0.1:9401")
        .with_default("FLEETGAUGE_LINE_LISTEN", "127.0.0.1:8888")
        // The next first look should not begin with the dead agents of this one.
        .with_default("FLEETGAUGE_EPHEMERAL", "true")
        .with_default("FLEETGAUGE_LOG", "warn");
    // Where the aggregator speaks TLS, agents that do not would only be sent away.
    if settings.is_given("FLEETGAUGE_TLS_CERT_FILE") {
        settings = settings.with_default("FLEETGAUGE_TLS", "on");
    }
    if let Some(dir) = dirs::state_dir().or_else(dirs::data_local_dir) {
        settings = settings.with_default("FLEETGAUGE_DATA_DIR", &dir.join("fleetgauge").to_string_lossy());
    }
    lifecycle::logging::start(&settings)?;
    Ok(settings)
}
