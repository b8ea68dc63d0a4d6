//! The aggregator as a process of its own, on free ports, with a data directory that goes with it.

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
    // Dropped after the process that writes there.
    _data: TempDir,
}

impl Aggregator {
    /// Starts the binary and waits until it listens.
    ///
    /// # Errors
    /// When it does not start, or does not say where it listens.
    pub async fn start(binary: &Path) -> Result<Self> {
        let binary = binary.to_owned();
        blocking(move || {
            let data = tempfile::tempdir().map_err(Error::io("making a directory for the aggregator's data"))?;
            let variables = [
                ("FLEETGAUGE_HTTP_LISTEN", "127.0.0.1:0".to_owned()),
                ("FLEETGAUGE_LINK_LISTEN", "127.0.0.1:0".to_owned()),
                ("FLEETGAUGE_LINE_LISTEN", "127.0.0.1:0".to_owned()),
                ("FLEETGAUGE_NAME", "bench".to_owned()),
                ("FLEETGAUGE_DATA_DIR", data.path().display().to_string()),
                ("FLEETGAUGE_LOG_FORMAT", "json".to_owned()),
            ];
            let (service, (http, link)) = Service::start(&binary, &[], &variables, listening)?;
            let target = Target { link, http, pid: Some(service.pid()) };
            Ok(Self { service, target, _data: data })
        })
        .await
    }

    /// Where it is.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target
    }

    /// Ends it and says how long that took.
    ///
    /// # Errors
    /// When it does not end cleanly.
    pub async fn stop(self) -> Result<Duration> {
        let Self { service, _data, .. } = self;
        blocking(move || service.stop()).await
    }
}

/// The addresses in the log line that says where the aggregator listens.
fn listening(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let address = |name| line.get(name)?.as_str()?.parse().ok();
    (line.get("message")? == "listening").then_some(())?;
    Some((address("http")?, address("link")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_says_where_it_listens() {
        let line =
            r#"{"timestamp":"x","level":"INFO","message":"listening","http":"127.0.0.1:1","link":"127.0.0.1:2"}"#;
        let address = |text: &str| text.parse().unwrap();
        assert_eq!(listening(line), Some((address("127.0.0.1:1"), address("127.0.0.1:2"))));
        assert_eq!(listening(&line.replace("listening", "stopping")), None);
        assert_eq!(listening("not JSON"), None);
    }
}
