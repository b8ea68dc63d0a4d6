//! An aggregator in this process.

use std::io;
use std::net::SocketAddr;

use aggregator::{App, Settings};
use tokio::sync::oneshot;

use crate::host::HostBuilder;
use crate::http::{self, Reply};
use crate::page::Page;
use crate::process::Process;
use crate::wait;

/// The name that the aggregator of a test goes by, its `aggregator` label.
pub const NAME: &str = "hub";

/// How an aggregator is set up.
#[derive(Debug, Default)]
pub struct HubBuilder {
    settings: Vec<(String, String)>,
}

impl HubBuilder {
    /// One more setting, by the name of its environment variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// Starts it on free ports of the loopback interface.
    pub async fn start(self) -> Hub {
        let mut hub =
            Hub { settings: self.settings, http: loopback(), link: loopback(), line: loopback(), process: None };
        hub.start_again().await;
        hub
    }
}

/// An aggregator, running or stopped. Its ports stay the same over restarts.
#[derive(Debug)]
pub struct Hub {
    settings: Vec<(String, String)>,
    http: SocketAddr,
    link: SocketAddr,
    line: SocketAddr,
    process: Option<Process>,
}

impl Hub {
    /// An aggregator with settings of its own.
    #[must_use]
    pub fn builder() -> HubBuilder {
        HubBuilder::default()
    }

    /// Starts one as it comes.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Where `/metrics` is.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where agents push.
    #[must_use]
    pub fn link(&self) -> SocketAddr {
        self.link
    }

    /// Where put and get are answered.
    #[must_use]
    pub fn line(&self) -> SocketAddr {
        self.line
    }

    /// An agent that pushes here.
    #[must_use]
    pub fn agent(&self, name: &str) -> HostBuilder {
        HostBuilder::new(name, self.link)
    }

    /// Starts it on the ports that it had.
    ///
    /// # Panics
    /// When its settings are wrong or the ports are taken.
    pub async fn start_again(&mut self) {
        let own = [
            ("FLEETGAUGE_NAME".to_owned(), NAME.to_owned()),
            ("FLEETGAUGE_HTTP_LISTEN".to_owned(), self.http.to_string()),
            ("FLEETGAUGE_LINK_LISTEN".to_owned(), self.link.to_string()),
            ("FLEETGAUGE_LINE_LISTEN".to_owned(), self.line.to_string()),
        ];
        let pairs = own.into_iter().chain(self.settings.iter().cloned());
        let settings = lifecycle::Settings::from_pairs(pairs).expect("the test's settings have known names");
        let settings = Settings::resolve(&settings).expect("the test's settings have good values");
        let (bound, ports) = oneshot::channel();
        self.process = Some(Process::start(|stop| async move {
            let app = App::bind(settings).await.expect("the ports are free");
            let _nobody_waits = bound.send((app.http_addr(), app.link_addr(), app.line_addr()));
            app.run(stop.wait()).await.expect("an aggregator that was not told to stop goes on");
        }));
        (self.http, self.link, self.line) = ports.await.expect("the aggregator starts");
    }

    /// Asks it to stop, and waits for its end.
    pub async fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop().await;
        }
    }

    /// Ends it at once.
    pub async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill().await;
        }
    }

    /// Asks for a path.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn get(&self, path: &str) -> io::Result<Reply> {
        http::get(self.http, path, &[]).await
    }

    /// The page as it is now.
    ///
    /// # Errors
    /// When it does not answer, or not with a page.
    pub async fn scrape(&self) -> io::Result<Page> {
        let reply = self.get("/metrics").await?;
        match reply.status {
            200 => Ok(Page::parse(reply.text())),
            status => Err(io::Error::other(format!("{status}: {}", reply.text()))),
        }
    }

    /// Scrapes until the page is as it should be, and gives that page.
    ///
    /// # Panics
    /// When it does not get so.
    #[track_caller]
    pub fn scrape_until(&self, what: &str, good: impl Fn(&Page) -> bool) -> impl Future<Output = Page> {
        wait::until(what, async move || {
            let page = self.scrape().await?;
            if good(&page) { Ok(page) } else { Err(io::Error::other(summary(&page))) }
        })
    }
}

/// What a person wants to know when a page never became what it should.
fn summary(page: &Page) -> String {
    let up = page.of("fleetgauge_agent_up");
    let agents: Vec<String> = up
        .map(|sample| {
            let agent = sample.label("instance");
            format!("{agent}: up {} with {} series", sample.value, page.sent_by(agent))
        })
        .collect();
    format!("a page of {} samples, agents: [{}]", page.samples.len(), agents.join(", "))
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}
