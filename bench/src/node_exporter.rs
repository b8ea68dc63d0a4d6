//! Prometheus' node_exporter, the usual way to measure a host, measured beside the agent: with its
//! default collectors, on the same machine, in the same run, scraped at the pace of the pushes.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::http::Client;
use crate::measure::{blocking, timed};
use crate::proc::{Cpu, Threads};
use crate::process::{Service, listening_on, version_of};
use crate::{Error, Result, process};

/// Its names on the path: Debian's, and its own.
const NAMES: [&str; 2] = ["prometheus-node-exporter", "node_exporter"];

/// The one that is on the path, if any.
#[must_use]
pub fn on_path() -> Option<PathBuf> {
    NAMES.iter().find_map(|name| process::on_path(name))
}

/// A running node_exporter; it ends with this.
#[derive(Debug)]
pub struct NodeExporter {
    service: Service,
    http: SocketAddr,
    version: String,
}

/// What scrapes cost, each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScrapeCost {
    /// CPU, in ms.
    pub cpu_ms: f64,
    /// How often one of its threads went to sleep.
    pub sleeps: f64,
    /// Bytes of the last body.
    pub bytes: u64,
}

impl NodeExporter {
    /// Starts the program and waits until it listens.
    ///
    /// # Errors
    /// When it cannot be run, or does not say where it listens.
    pub async fn start(program: &Path) -> Result<Self> {
        let program = program.to_owned();
        blocking(move || {
            let Some(version) = version_of(&program) else {
                return Err(Error::Program { program: program.display().to_string(), what: "cannot be run".into() });
            };
            let arguments = ["--web.listen-address=127.0.0.1:0".to_owned()];
            let (service, http) = Service::start(&program, &arguments, &[], listening_on)?;
            Ok(Self { service, http, version })
        })
        .await
    }

    /// What it says that it is.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.service.pid()
    }

    /// Its page.
    ///
    /// # Errors
    /// When it does not answer with one.
    pub async fn page(&self) -> Result<String> {
        let http = self.http;
        blocking(move || {
            let path = "/metrics";
            let page = Client::connect(http)?.get_page(path, false)?;
            String::from_utf8(page).map_err(|error| Error::Http { path: path.into(), what: error.to_string() })
        })
        .await
    }

    /// What `count` scrapes cost, one at each `pace` on one connection, after `warm_up` more. What
    /// it does between scrapes, such as tidying its memory, is in it.
    ///
    /// # Errors
    /// When the answer is no page in this encoding.
    pub async fn cost(&self, warm_up: u32, count: u32, pace: Duration, gzip: bool) -> Result<ScrapeCost> {
        let http = self.http;
        let client = blocking(move || Client::connect(http)).await?;
        let (client, _) = paced(client, warm_up, pace, gzip).await?;
        let (cpu, threads) = (Cpu::of(self.pid())?, Threads::of(self.pid())?);
        let (_client, bytes) = paced(client, count, pace, gzip).await?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let (ns, sleeps) = (
            Cpu::of(self.pid())?.ns_since(&cpu) as f64,
            Threads::of(self.pid())?.sleeps.saturating_sub(threads.sleeps) as f64,
        );
        let count = f64::from(count.max(1));
        Ok(ScrapeCost { cpu_ms: ns / 1e6 / count, sleeps: sleeps / count, bytes })
    }
}

/// Scrapes at each `pace`, and waits for the next time after the last one. Gives the bytes of the
/// last body.
async fn paced(
    mut client: Client<TcpStream>,
    count: u32,
    pace: Duration,
    gzip: bool,
) -> Result<(Client<TcpStream>, u64)> {
    let (mut at, mut last) = (Instant::now(), 0);
    for _ in 0..count {
        (client, last) = blocking(move || timed(&mut client, gzip).map(|(_, bytes)| (client, bytes))).await?;
        at += pace;
        sleep_until(at).await;
    }
    Ok((client, last))
}
