//! The aggregator as a process of its own, on free ports, with a data directory that goes with it or
//! one that is kept.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::measure::{Target, blocking};
use crate::process::Service;
use crate::{Error, Result};

/// A running aggregator; it ends with this.
#[derive(Debug)]
pub struct Aggregator {
    service: Service,
    target: Target,
    line: SocketAddr,
    // Dropped after the process that writes there.
    data: Option<TempDir>,
}

impl Aggregator {
    /// Starts the binary and waits until it listens.
    ///
    /// # Errors
    /// When it does not start, or does not say where it listens.
    pub async fn start(binary: &Path) -> Result<Self> {
        let data = tempfile::tempdir().map_err(Error::io("making a directory for the aggregator's data"))?;
        let started = Self::start_in(binary, data.path(), "sync").await?;
        Ok(Self { data: Some(data), ..started })
    }

    /// The same with a data directory that stays, and this durability of what is put.
    ///
    /// # Errors
    /// As [`Aggregator::start`].
    pub async fn start_in(binary: &Path, data: &Path, durability: &str) -> Result<Self> {
        let (binary, data, durability) = (binary.to_owned(), data.display().to_string(), durability.to_owned());
        blocking(move || {
            let variables = [
                ("FLEETGAUGE_HTTP_LISTEN", "127.0.0.1:0".to_owned()),
                ("FLEETGAUGE_LINK_LISTEN", "127.0.0.1:0".to_owned()),
                ("FLEETGAUGE_LINE_LISTEN", "127.0.0.1:0".to_owned()),
                ("FLEETGAUGE_NAME", "bench".to_owned()),
                ("FLEETGAUGE_DATA_DIR", data),
                ("FLEETGAUGE_DURABILITY", durability),
                ("FLEETGAUGE_LOG_FORMAT", "json".to_owned()),
                // Its agents push as fast as it goes, which nobody else may.
                ("FLEETGAUGE_LIMITS", "count".to_owned()),
                ("FLEETGAUGE_MAX_WELCOMES", "1000000".to_owned()),
            ];
            let (service, [http, link, line]) = Service::start(&binary, &[], &variables, listening)?;
            let target = Target { link, http, pid: Some(service.pid()) };
            Ok(Self { service, target, line, data: None })
        })
        .await
    }

    /// Where it is.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target
    }

    /// Where it takes put and get.
    #[must_use]
    pub fn line(&self) -> SocketAddr {
        self.line
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.service.pid()
    }

    /// What is found in one of the last lines of its log.
    #[must_use]
    pub fn logged<T>(&self, find: fn(&str) -> Option<T>) -> Option<T> {
        self.service.logged(find)
    }

    /// Ends it and says how long that took.
    ///
    /// # Errors
    /// When it does not end cleanly.
    pub async fn stop(self) -> Result<Duration> {
        let Self { service, data, .. } = self;
        let took = blocking(move || service.stop()).await;
        drop(data);
        took
    }
}

/// The addresses in the log line that says where the aggregator listens.
fn listening(line: &str) -> Option<[SocketAddr; 3]> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let address = |name| line.get(name)?.as_str()?.parse().ok();
    (line.get("message")? == "listening").then_some(())?;
    Some([address("http")?, address("link")?, address("line")?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_says_where_it_listens() {
        let line = r#"{"timestamp":"x","level":"INFO","message":"listening","http":"127.0.0.1:1","link":"127.0.0.1:2","line":"127.0.0.1:3"}"#;
        let address = |text: &str| text.parse().unwrap();
        assert_eq!(listening(line), Some(["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"].map(address)));
        assert_eq!(listening(&line.replace("listening", "stopping")), None);
        assert_eq!(listening("not JSON"), None);
    }
}
