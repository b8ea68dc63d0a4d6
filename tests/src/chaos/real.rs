//! A real agent, a process with a spool on the disk, that sends a text file whose truth is in its
//! values: the counter is the Unix millisecond at which it was written. So any sample, however it
//! came, tells by itself whether it stands where it belongs.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::service::{self, Service};

/// The counter of the text file.
pub const COUNTER: &str = "chaos_written_milliseconds_total";
/// How often it is written.
const WRITE_EVERY: Duration = Duration::from_millis(50);
const NOTE: &str = "textfile";
/// What an agent may take from its start to its first measurement.
const START_MS: i64 = 2000;
/// Its spool is synced every second.
const UNSYNCED_MS: i64 = 1000;

/// The agent; killed when dropped.
#[derive(Debug)]
pub struct RealAgent {
    name: String,
    settings: Vec<(String, String)>,
    service: Option<Service>,
    writer: JoinHandle<()>,
    away: Vec<(i64, i64)>,
    _folder: TempDir,
}

impl RealAgent {
    /// Starts one.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(name: &str, link: SocketAddr, interval: Duration) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = |part: &str| folder.path().join(part);
        std::fs::create_dir(path("text")).map_err(|error| error.to_string())?;
        let writer = tokio::spawn(write(path("text")));
        let settings = [
            ("FLEETGAUGE_AGENT", name.to_owned()),
            ("FLEETGAUGE_AGGREGATOR", link.to_string()),
            ("FLEETGAUGE_INTERVAL", humantime::format_duration(interval).to_string()),
            ("FLEETGAUGE_COLLECTORS", format!("-all,{NOTE}")),
            ("FLEETGAUGE_TEXTFILE_DIRECTORY", path("text").display().to_string()),
            ("FLEETGAUGE_SPOOL_DIR", path("spool").display().to_string()),
        ];
        let settings: Vec<_> = settings.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let service = service::agent(&settings).await?;
        Ok(Self { name: name.to_owned(), settings, service: Some(service), writer, away: Vec::new(), _folder: folder })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Kills it and starts it with the spool that it left.
    ///
    /// # Errors
    /// When it refuses to start.
    pub async fn restart(&mut self) -> Result<(), String> {
        let killed_ms = lifecycle::clock::unix_ms();
        if let Some(service) = self.service.take() {
            service.kill().await;
        }
        self.service = Some(service::agent(&self.settings).await?);
        self.away.push((killed_ms - UNSYNCED_MS, lifecycle::clock::unix_ms() + START_MS));
        Ok(())
    }

    /// From when to when it measured nothing, Unix milliseconds. What had not been synced when it was
    /// killed counts as that too.
    #[must_use]
    pub fn away(&self) -> &[(i64, i64)] {
        &self.away
    }

    /// Ends it: it says `bye`.
    pub async fn rest(&mut self) {
        self.writer.abort();
        if let Some(service) = self.service.take() {
            service.stop().await;
        }
    }
}

impl Drop for RealAgent {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

async fn write(folder: std::path::PathBuf) {
    let mut interval = tokio::time::interval(WRITE_EVERY);
    loop {
        interval.tick().await;
        if let Err(error) = write_once(&folder) {
            // The folder goes with its agent.
            debug_assert!(!folder.exists(), "{error}");
            return;
        }
    }
}

fn write_once(folder: &Path) -> std::io::Result<()> {
    let text = format!("# TYPE {COUNTER} counter\n{COUNTER} {}\n", lifecycle::clock::unix_ms());
    // Readers see the old file or the new one.
    std::fs::write(folder.join("new"), text)?;
    std::fs::rename(folder.join("new"), folder.join("chaos.prom"))
}
