//! Many connections that put as fast as they are answered.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::blocking;
use crate::aggregator::Aggregator;
use crate::families::value;
use crate::http::Client as HttpClient;
use crate::lines::Client;
use crate::points::Chunk;
use crate::proc::Cpu;
use crate::{Error, Result};

/// Less CPU than this share of one core is nothing that was asked for.
const QUIET_SHARE: f64 = 0.03;
/// For so long it must be that little.
const QUIET_FOR: Duration = Duration::from_secs(1);
/// Whatever it does then is measured with the rest.
const QUIET_WITHIN: Duration = Duration::from_secs(60);

/// What many puts took.
#[derive(Debug, Clone, Copy)]
pub struct Flood {
    /// Puts acknowledged.
    pub puts: u64,
    /// From the first byte to the last reply.
    pub took: Duration,
    /// The aggregator's CPU, nanoseconds.
    pub cpu_ns: u64,
    /// This process's CPU, nanoseconds.
    pub generator_cpu_ns: u64,
    /// Syncs of the history.
    pub syncs: f64,
}

/// Puts all that the sources give, each over a connection of its own with at most `window` lines
/// unanswered. The sources are given back.
///
/// # Errors
/// When a put is not answered with `ok`, or the aggregator counts fewer points than it acknowledged.
pub async fn flood<S>(aggregator: &Aggregator, window: u64, sources: Vec<S>) -> Result<(Flood, Vec<S>)>
where
    S: Iterator<Item = Chunk> + Send + 'static,
{
    let mut clients = Vec::new();
    for source in sources {
        clients.push((Client::connect(aggregator.line()).await?, source));
    }
    let before = Reading::of(aggregator).await?;
    let began = Instant::now();
    let mut connections = JoinSet::new();
    for (mut client, mut source) in clients {
        connections.spawn(async move { Ok::<_, Error>((client.put_all(window, &mut source).await?, source)) });
    }
    let (mut puts, mut sources) = (0, Vec::new());
    while let Some(done) = connections.join_next().await {
        let (acknowledged, source) = done??;
        puts += acknowledged;
        sources.push(source);
    }
    let took = began.elapsed();
    let after = Reading::of(aggregator).await?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    if after.points - before.points < puts as f64 {
        let stored = after.points - before.points;
        return Err(Error::Lines(format!("{puts} puts were acknowledged, {stored} points stored")));
    }
    let flood = Flood {
        puts,
        took,
        cpu_ns: after.cpu.ns_since(&before.cpu),
        generator_cpu_ns: after.generator.ns_since(&before.generator),
        syncs: after.syncs - before.syncs,
    };
    Ok((flood, sources))
}

impl Flood {
    /// Puts per second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub fn per_second(&self) -> f64 {
        self.puts as f64 / self.took.as_secs_f64()
    }

    /// These nanoseconds as microseconds per put.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub fn us_per_put(&self, ns: u64) -> f64 {
        ns as f64 / 1e3 / self.puts as f64
    }
}

/// What is counted at one moment.
struct Reading {
    points: f64,
    syncs: f64,
    cpu: Cpu,
    generator: Cpu,
}

impl Reading {
    async fn of(aggregator: &Aggregator) -> Result<Self> {
        let http = aggregator.target().http;
        Ok(Self {
            points: own_metric(http, "fleetgauge_history_points_total", "space=\"put\"").await?,
            syncs: own_metric(http, "fleetgauge_history_syncs_total", "").await?,
            cpu: Cpu::of(aggregator.pid())?,
            generator: Cpu::of(std::process::id())?,
        })
    }
}

/// A number on the aggregator's page, of the series whose labels hold `label`.
///
/// # Errors
/// When it is not there.
pub async fn own_metric(http: SocketAddr, name: &'static str, label: &'static str) -> Result<f64> {
    let page = blocking(move || HttpClient::connect(http)?.get_page("/metrics", false)).await?;
    let found = value(&String::from_utf8_lossy(&page), name, label);
    found.ok_or_else(|| Error::Page(format!("it shows no {name}{{{label}}}")))
}

/// Waits until a process does nothing by itself any more, or for a minute.
///
/// # Errors
/// When it is gone.
pub async fn until_quiet(pid: u32) -> Result<()> {
    let until = Instant::now() + QUIET_WITHIN;
    loop {
        let (before, began) = (Cpu::of(pid)?, Instant::now());
        sleep(QUIET_FOR).await;
        let spent = Duration::from_nanos(Cpu::of(pid)?.ns_since(&before));
        if spent < began.elapsed().mul_f64(QUIET_SHARE) || Instant::now() >= until {
            return Ok(());
        }
    }
}
