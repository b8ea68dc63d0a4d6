//! An agent in this process, measuring the machine that the test runs on.

use std::net::SocketAddr;

use agent::{Agent, Settings};

use crate::process::Process;

/// Short enough for a test to see several pushes, long enough to leave the machine some rest.
pub const INTERVAL: &str = "200ms";

/// How an agent is set up.
#[derive(Debug, Clone)]
pub struct HostBuilder {
    name: String,
    settings: Vec<(String, String)>,
}

impl HostBuilder {
    /// An agent with this name that pushes there.
    #[must_use]
    pub fn new(name: &str, aggregator: SocketAddr) -> Self {
        let builder = Self { name: name.to_owned(), settings: Vec::new() };
        builder
            .with("FLEETGAUGE_AGENT", name)
            .with("FLEETGAUGE_AGGREGATOR", aggregator)
            .with("FLEETGAUGE_INTERVAL", INTERVAL)
    }

    /// One more setting, by the name of its environment variable; the last one wins.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When its settings are wrong.
    #[must_use]
    pub fn start(self) -> Host {
        let settings = lifecycle::Settings::from_pairs(self.settings).expect("the test's settings have known names");
        let settings = Settings::resolve(&settings).expect("the test's settings have good values");
        let process = Process::start(|stop| async move {
            let agent = Agent::new(settings).expect("an agent can be made of good settings");
            agent.run(stop.wait()).await;
        });
        Host { name: self.name, process }
    }
}

/// A running agent.
#[derive(Debug)]
pub struct Host {
    name: String,
    process: Process,
}

impl Host {
    /// Its name, which is `instance` on the page.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks it to stop: it says `bye`.
    pub async fn stop(self) {
        self.process.stop().await;
    }

    /// Ends it at once: it says nothing.
    pub async fn kill(self) {
        self.process.kill().await;
    }
}
