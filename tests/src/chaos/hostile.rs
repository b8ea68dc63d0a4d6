//! Senders that mean harm, beside others that must not feel it.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use protocol::frame::Ping;
use protocol::{ToAggregator, encode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Verdict;
use super::world::{Plan, World};
use crate::http;
use crate::sim::frames::{self, Clocks};
use crate::sim::state::{Fate, Outgoing, Tick};
use crate::sim::{Settings, Sim};

/// Counters of whoever floods, so that a push is worth something.
const FLOOD_COUNTERS: usize = 1000;
/// Between two attempts of an attacker that was thrown out.
const AGAIN: Duration = Duration::from_millis(10);
/// An agent gives up a connection on which an ack takes longer.
const ACK_WITHIN: Duration = Duration::from_secs(3);
/// Between two scrapes that are measured.
const SCRAPE_PAUSE: Duration = Duration::from_millis(50);

/// How many do what, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Hostile {
    /// Those who must not feel it.
    pub sims: usize,
    /// Connections that say nothing.
    pub silent: usize,
    /// How long it is quiet, then how long it is not.
    pub time: Duration,
    /// How many times as long as in quiet times anything may take; `None`: that is only told.
    pub ratio_max: Option<f64>,
    /// Most memory of the aggregator.
    pub resident_kib_max: u64,
}

/// What others feel.
#[derive(Debug, Clone, Copy)]
struct Figures {
    /// From a measurement to the acknowledgement that it is on the page.
    push_p99: Duration,
    scrape_p50: Duration,
    scrape_p99: Duration,
    pushes: usize,
}

/// One agent floods, one sends garbage, one never reads, and many say nothing.
///
/// # Errors
/// When others lose their place or anything that was acknowledged, wait too long, or it takes too
/// much memory.
pub async fn hostile(plan: Plan, params: Hostile) -> Verdict {
    let _room_for_many_connections = lifecycle::limits::raise_open_files();
    let mut world = World::start(plan).await?;
    for _ in 0..params.sims {
        world.add_sim(|_| {});
    }
    world.all_up().await;
    let quiet = measure(&world, params.time).await?;
    let mut attackers = JoinSet::new();
    let link = world.ports().link;
    attackers.spawn(again_and_again(link, flood));
    attackers.spawn(again_and_again(link, garbage));
    attackers.spawn(again_and_again(link, never_read));
    for _ in 0..params.silent {
        attackers.spawn(again_and_again(link, say_nothing));
    }
    let hostile = measure(&world, params.time).await?;
    let resident = world.aggregator().resident_kib().unwrap_or(u64::MAX);
    let welcomes = world.sims.iter().map(|sim| sim.seen().welcomes).max().unwrap_or(0);
    attackers.shutdown().await;
    let report = world.judge().await?;
    let ratio = |of: fn(&Figures) -> Duration| of(&hostile).as_secs_f64() / of(&quiet).as_secs_f64().max(1e-6);
    let (push, scrape) = (ratio(|figures| figures.push_p99), ratio(|figures| figures.scrape_p50));
    let figures = format!(
        "quiet: {quiet}; hostile: {hostile}; push p99 {push:.2} times, scrape p50 {scrape:.2} times; {resident} KiB"
    );
    let too_slow = params.ratio_max.is_some_and(|most| push > most || scrape > most);
    // Nobody else lost its connection, whatever it took.
    if welcomes > 1 || too_slow || resident > params.resident_kib_max || hostile.push_p99 > ACK_WITHIN {
        return Err(format!("seed {}: {welcomes} welcomes; {figures}; {report}", world.plan.seed));
    }
    Ok(format!("{figures}; {report}"))
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { push_p99, scrape_p50, scrape_p99, pushes } = self;
        write!(f, "push p99 {push_p99:.1?} of {pushes}, scrape p50 {scrape_p50:.1?}, p99 {scrape_p99:.1?}")
    }
}

async fn measure(world: &World, time: Duration) -> Result<Figures, String> {
    let began = Instant::now();
    let mut scrapes = Vec::new();
    while began.elapsed() < time {
        let asked = Instant::now();
        let reply =
            http::get(world.ports().http, "/metrics", &[]).await.map_err(|error| format!("a scrape: {error}"))?;
        if reply.status != 200 {
            return Err(format!("a scrape was answered {}: {}", reply.status, reply.text()));
        }
        scrapes.push(asked.elapsed());
        tokio::time::sleep(SCRAPE_PAUSE).await;
    }
    let mut pushes: Vec<Duration> = world.sims.iter().flat_map(|sim| acks_since(sim, began)).collect();
    let [push_p99, scrape_p50, scrape_p99] =
        [quantile(&mut pushes, 99), quantile(&mut scrapes, 50), quantile(&mut scrapes, 99)];
    Ok(Figures { push_p99, scrape_p50, scrape_p99, pushes: pushes.len() })
}

fn acks_since(sim: &Sim, since: Instant) -> Vec<Duration> {
    let before = sim.mono_at(since);
    let live = |tick: &&Tick| tick.fate == Fate::Live && tick.mono > before;
    sim.look(|state| state.ticks().iter().filter(live).map(|tick| tick.acked_after).collect())
}

fn quantile(all: &mut [Duration], percent: usize) -> Duration {
    all.sort_unstable();
    all.get(all.len() * percent / 100).or(all.last()).copied().unwrap_or_default()
}

async fn again_and_again<F: Future<Output = std::io::Result<()>>>(link: SocketAddr, attack: fn(TcpStream) -> F) {
    loop {
        if let Ok(stream) = TcpStream::connect(link).await {
            // It ends when the aggregator has had enough.
            let _thrown_out = attack(stream).await;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Pushes as fast as the line takes it, and cares for no ack.
async fn flood(stream: TcpStream) -> std::io::Result<()> {
    let began = Instant::now();
    let mut settings = Settings::new("flood", stream.peer_addr()?);
    settings.counters = FLOOD_COUNTERS;
    let (mut read, mut write) = stream.into_split();
    let reader = async move {
        let mut buffer = [0; 4096];
        while read.read(&mut buffer).await? > 0 {}
        std::io::Result::Ok(())
    };
    let writer = async move {
        let clocks = || Clocks { wall_ms: lifecycle::clock::unix_ms(), mono: began.elapsed() };
        write.write_all(&frames::hello(&settings, 1, clocks())).await?;
        write.write_all(&frames::declare(&settings)).await?;
        for number in 1.. {
            let now = clocks();
            let tick = Tick { at_ms: now.wall_ms, mono: now.mono, fate: Fate::Open, acked_after: Duration::ZERO };
            let outgoing = Outgoing { stream: protocol::frame::Stream::Live, seq: number, tick: number };
            write.write_all(&frames::push(&settings, outgoing, &tick, None, now)).await?;
        }
        Ok(())
    };
    tokio::try_join!(reader, writer).map(|_| ())
}

/// Bytes that mean nothing, lines of them and no lines.
async fn garbage(mut stream: TcpStream) -> std::io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        bytes.fill_with(|| fastrand::u8(..));
        stream.write_all(&bytes).await?;
    }
}

/// Asks and asks, and reads no answer.
async fn never_read(mut stream: TcpStream) -> std::io::Result<()> {
    let settings = Settings::new("deaf", stream.peer_addr()?);
    let now = Clocks { wall_ms: lifecycle::clock::unix_ms(), mono: Duration::ZERO };
    stream.write_all(&frames::hello(&settings, 1, now)).await?;
    let mut ping = Vec::new();
    encode(&ToAggregator::Ping(Ping { id: 1 }), &mut ping);
    let many = ping.repeat(1000);
    loop {
        stream.write_all(&many).await?;
    }
}

/// Is there, until it is closed.
async fn say_nothing(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = [0; 64];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
