//! How long a scrape of the whole page takes on a quiet aggregator.

use std::time::Instant;

use super::{Target, blocking};
use crate::fleet::Fleet;
use crate::http::Client;
use crate::load::Load;
use crate::proc::Cpu;
use crate::{Error, Result};

/// Scrapes of one encoding.
#[derive(Debug, Clone, Default)]
pub struct Scrapes {
    /// How long each took, from asking to the last byte.
    pub ms: Vec<f64>,
    /// Bytes of the last body.
    pub bytes: u64,
    /// The aggregator's CPU per scrape, when its process is ours.
    pub cpu_ms: Option<f64>,
}

/// Scrapes `count` times on one connection. Before each scrape everyone pushes new values and is
/// acknowledged, so that no page can be one that was rendered before; then nobody pushes. The
/// first scrape is not counted.
///
/// # Errors
/// When an agent breaks, or the answer is no page in this encoding.
pub async fn scrape(fleet: &mut Fleet, load: &Load, count: u32, gzip: bool, target: Target) -> Result<Scrapes> {
    let mut scrapes = Scrapes::default();
    let mut cpu_ns = 0;
    let mut client = blocking(move || Client::connect(target.http)).await?;
    for number in 0..=count {
        fleet.push_once(load).await?;
        let before = target.pid.map(Cpu::of).transpose()?;
        let one = blocking(move || timed(&mut client, gzip).map(|(ms, bytes)| (client, ms, bytes)));
        let (kept, ms, bytes) = one.await?;
        let after = target.pid.map(Cpu::of).transpose()?;
        client = kept;
        if number > 0 {
            scrapes.ms.push(ms);
            cpu_ns += before.zip(after).map_or(0, |(before, after)| after.ns_since(&before));
        }
        scrapes.bytes = bytes;
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let per_scrape = cpu_ns as f64 / 1e6 / f64::from(count.max(1));
    scrapes.cpu_ms = target.pid.map(|_| per_scrape);
    Ok(scrapes)
}

/// Scrapes `count` times with nobody pushing in between, for a server that keeps no page; gives
/// the milliseconds of each. The first scrape is not counted.
///
/// # Errors
/// When the answer is no page in this encoding.
pub async fn scrape_quiet(target: Target, count: u32, gzip: bool) -> Result<Vec<f64>> {
    blocking(move || {
        let mut client = Client::connect(target.http)?;
        timed(&mut client, gzip)?;
        (0..count).map(|_| timed(&mut client, gzip).map(|(ms, _)| ms)).collect()
    })
    .await
}

/// One scrape whose body is read and thrown away.
pub(crate) fn timed(client: &mut Client<std::net::TcpStream>, gzip: bool) -> Result<(f64, u64)> {
    let asked = Instant::now();
    let answer = client.get("/metrics", gzip, &mut |_| {})?;
    let ms = asked.elapsed().as_secs_f64() * 1e3;
    if answer.status != 200 || answer.gzip != gzip {
        let what = format!("status {}, gzip {}, wanted gzip {gzip}", answer.status, answer.gzip);
        return Err(Error::Http { path: "/metrics".into(), what });
    }
    Ok((ms, answer.bytes))
}
