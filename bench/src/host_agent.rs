//! The real agent, measuring this host, as a process of its own. What it has pushed is asked of the
//! aggregator, so that nothing asks the agent itself while it is measured.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::families::value;
use crate::http::Client;
use crate::measure::{Target, blocking};
use crate::proc::{Cpu, Threads};
use crate::process::Service;
use crate::{Error, Result};

/// How it is called.
const NAME: &str = "bench-agent";
/// How often the aggregator is asked what came.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// A push is acknowledged this long after the one before it, at intervals up to 10 s.
const ACKED_WITHIN: Duration = Duration::from_secs(30);

/// A running agent; it ends with this.
#[derive(Debug)]
pub struct HostAgent {
    service: Service,
    http: SocketAddr,
}

/// What pushes cost, each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PushCost {
    /// CPU, in ms.
    pub cpu_ms: f64,
    /// Bytes on the wire.
    pub bytes: f64,
    /// How often one of its threads went to sleep.
    pub sleeps: f64,
    /// How many measurements were dropped in the meantime.
    pub dropped: f64,
}

/// Where an agent stood at one moment.
struct Moment {
    acked: f64,
    dropped: f64,
    bytes: f64,
    cpu: Cpu,
    threads: Threads,
}

impl HostAgent {
    /// Starts the binary with every collector that it has by default, pushing to `target` at this
    /// interval, and waits until it is connected.
    ///
    /// # Errors
    /// When it does not start or is not welcomed.
    pub async fn start(binary: &Path, target: Target, interval: Duration) -> Result<Self> {
        let binary = binary.to_owned();
        blocking(move || {
            let variables = [
                ("FLEETGAUGE_AGENT", NAME.to_owned()),
                ("FLEETGAUGE_AGGREGATOR", target.link.to_string()),
                ("FLEETGAUGE_INTERVAL", humantime::format_duration(interval).to_string()),
                ("FLEETGAUGE_LOG_FORMAT", "json".to_owned()),
            ];
            let (service, ()) = Service::start(&binary, &[], &variables, connected)?;
            Ok(Self { service, http: target.http })
        })
        .await
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.service.pid()
    }

    /// Its page, as the aggregator shows it; empty before the first push.
    ///
    /// # Errors
    /// When the aggregator does not answer.
    pub async fn page(&self) -> Result<String> {
        let http = self.http;
        blocking(move || {
            let path = format!("/metrics?agent={NAME}");
            let mut page = Vec::new();
            let answer = Client::connect(http)?.get(&path, false, &mut |piece| page.extend_from_slice(piece))?;
            match answer.status {
                200 => String::from_utf8(page).map_err(|error| Error::Http { path, what: error.to_string() }),
                // Nobody of this name has pushed yet.
                404 => Ok(String::new()),
                status => Err(Error::Http { path, what: format!("status {status}") }),
            }
        })
        .await
    }

    /// What `pushes` pushes cost after `warm_up` more were acknowledged.
    ///
    /// # Errors
    /// When it ends, or no push of its is acknowledged any more.
    pub async fn cost(&self, warm_up: u32, pushes: u32) -> Result<PushCost> {
        let start = self.until_acked(0.0).await?;
        let before = self.until_acked(start.acked + f64::from(warm_up)).await?;
        let after = self.until_acked(before.acked + f64::from(pushes)).await?;
        let made = after.acked - before.acked;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let (ns, sleeps) =
            (after.cpu.ns_since(&before.cpu) as f64, after.threads.sleeps.saturating_sub(before.threads.sleeps) as f64);
        Ok(PushCost {
            cpu_ms: ns / 1e6 / made,
            bytes: (after.bytes - before.bytes) / made,
            sleeps: sleeps / made,
            dropped: after.dropped - before.dropped,
        })
    }

    /// Waits until the page shows that at least so many pushes were acknowledged. A moment is always
    /// right after a push was shown, so that two of them lie whole intervals apart.
    async fn until_acked(&self, wanted: f64) -> Result<Moment> {
        let (mut shown, mut at) = (None, Instant::now());
        loop {
            let page = self.page().await?;
            let acked = value(&page, "fleetgauge_push_total", "result=\"acked\"");
            if acked > shown {
                // The first number seen may have been shown for any time.
                if shown.is_some() && acked >= Some(wanted) {
                    return self.moment(&page);
                }
                (shown, at) = (acked, Instant::now());
            } else if at.elapsed() > ACKED_WITHIN {
                let what = format!("no push was acknowledged for {} s", ACKED_WITHIN.as_secs());
                return Err(Error::Program { program: NAME.into(), what });
            }
            sleep(ASK_EVERY).await;
        }
    }

    fn moment(&self, page: &str) -> Result<Moment> {
        let (cpu, threads) = (Cpu::of(self.pid())?, Threads::of(self.pid())?);
        let counter = |name: &str, label: &str| {
            value(page, name, label).ok_or_else(|| Error::Page(format!("it shows no {name} of the agent")))
        };
        Ok(Moment {
            acked: counter("fleetgauge_push_total", "result=\"acked\"")?,
            dropped: counter("fleetgauge_push_total", "result=\"spooled\"")?,
            bytes: counter("fleetgauge_push_bytes_total", "")?,
            cpu,
            threads,
        })
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it does not end cleanly.
    pub async fn stop(self) -> Result<Duration> {
        blocking(move || self.service.stop()).await
    }
}

/// The log line that says that an aggregator took it.
fn connected(line: &str) -> Option<()> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    (line.get("message")? == "connected").then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_says_that_it_is_connected() {
        assert_eq!(connected(r#"{"level":"INFO","message":"connected","aggregator":"a"}"#), Some(()));
        assert_eq!(connected(r#"{"level":"WARN","message":"connection lost"}"#), None);
        assert_eq!(connected("not JSON"), None);
    }
}
