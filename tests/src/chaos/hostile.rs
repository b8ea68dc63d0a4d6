//! Senders that mean harm, beside others that must not feel it.

use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::Verdict;
use super::attack::{FLOOD, FLOOD_COUNTERS, SILENT_HOST};
use super::newcomer::{Arrivals, Newcomer};
use super::world::{Plan, World};
use crate::http;
use crate::sim::state::{Fate, Tick};
use crate::sim::{Settings, Sim};

/// An agent gives up a connection on which an ack takes longer.
const ACK_WITHIN: Duration = Duration::from_secs(3);
/// Between two scrapes that are measured.
const SCRAPE_PAUSE: Duration = Duration::from_millis(50);

/// The last number of an address that no attacker has.
const OWN_HOST: u8 = 6;
/// A newcomer of such an address is welcome by then ...
const OWN_WITHIN: Duration = Duration::from_secs(1);
/// ... and one that shares its address with those who say nothing.
const SHARED_WITHIN: Duration = Duration::from_secs(5);

/// How many do what, and for how long.
#[derive(Debug, Clone)]
pub struct Hostile {
    /// The `chaos` program: it attacks when it is told to.
    pub program: PathBuf,
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
/// When others lose their place or anything that was acknowledged, wait too long, do not get in, or it
/// takes too much memory.
pub async fn hostile(plan: Plan, params: Hostile) -> Verdict {
    // What attackers cost others is asked, and not how fast a disk syncs.
    let mut world = World::start(Plan { durability: "os", ..plan }).await?;
    for _ in 0..params.sims {
        world.add_sim(|_| {});
    }
    // Who will flood behaves at first, so that the page is as long as it will be.
    let link = world.ports().link;
    let mut tame = Settings { counters: FLOOD_COUNTERS, ..Settings::new(FLOOD, link) };
    tame.interval = world.plan.interval;
    let mut tame = Sim::start(tame);
    world.all_up().await;
    let quiet = measure(&world, params.time).await?;
    tame.kill().await;
    let mut attackers = Command::new(&params.program)
        .args(["--attack", &link.to_string(), "--silent", &params.silent.to_string()])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{}: {error}", params.program.display()))?;
    let newcomers = [Newcomer::start(link, OWN_HOST), Newcomer::start(link, SILENT_HOST)];
    let hostile = measure(&world, params.time).await?;
    let [own, shared] = newcomers.map(Newcomer::end);
    let resident = world.aggregator().resident_kib().unwrap_or(u64::MAX);
    let welcomes = world.sims.iter().map(|sim| sim.seen().welcomes).max().unwrap_or(0);
    attackers.kill().await.map_err(|error| format!("the attackers are gone already: {error}"))?;
    let report = world.judge().await?;
    let ratio = |of: fn(&Figures) -> Duration| of(&hostile).as_secs_f64() / of(&quiet).as_secs_f64().max(1e-6);
    let (push, scrape) = (ratio(|figures| figures.push_p99), ratio(|figures| figures.scrape_p50));
    let figures = format!(
        "quiet: {quiet}; hostile: {hostile}; push p99 {push:.2} times, scrape p50 {scrape:.2} times; newcomers of an \
         address of their own: {own}, of the silent ones' address: {shared}; {resident} KiB"
    );
    let is_kept_out = own.longest > OWN_WITHIN || shared.longest > SHARED_WITHIN;
    let too_slow = params.ratio_max.is_some_and(|most| push > most || scrape > most || is_kept_out);
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

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, at_first_try, longest } = self;
        write!(f, "{at_first_try} of {count} welcome at the first try, the last after {longest:.1?}")
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
