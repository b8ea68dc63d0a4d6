//! The aggregator goes away under its agents, or the network between them stands still.

use std::time::Duration;

use super::judge::Found;
use super::world::{Plan, World};
use super::{Verdict, oracle};
use crate::fault::{Direction, Fault, Schedule};

/// How long parts of [`outage`] and [`stall`] take.
#[derive(Debug, Clone, Copy)]
pub struct Outage {
    /// Simulated agents. The clock of one is 10 s ahead, another one is restarted meanwhile.
    pub sims: usize,
    /// Real agents with spools on the disk. One is killed and restarted meanwhile.
    pub agents: usize,
    /// Before, and again after it.
    pub around: Duration,
    /// The aggregator is down, or the network stands still.
    pub down: Duration,
}

const AHEAD_MS: i64 = 10_000;

/// The aggregator is down, killed or stopped as the seed decides.
///
/// # Errors
/// When anything of the outage is missing, or wrong.
pub async fn outage(plan: Plan, params: Outage) -> Verdict {
    let mut world = peopled(plan, params).await?;
    world.all_up().await;
    tokio::time::sleep(params.around).await;
    let is_killed = world.random.bool();
    world.end_aggregator(is_killed).await;
    tokio::time::sleep(params.down / 2).await;
    if let Some(sim) = world.sims.last_mut() {
        sim.kill().await;
        sim.start_again();
    }
    if let Some(agent) = world.agents.last_mut() {
        agent.restart().await?;
    }
    tokio::time::sleep(params.down / 2).await;
    world.start_aggregator().await?;
    world.all_up().await;
    tokio::time::sleep(params.around).await;
    owed(&world.judge().await?)
}

/// Nothing was tried where nothing came late that nobody could have seen.
fn owed(found: &Found) -> Verdict {
    match found.owed > 0 {
        true => Ok(found.to_string()),
        false => Err(format!("nothing came late that had to be written: {found}")),
    }
}

/// Nothing passes for a while, in both directions or in one, and nobody is told; then all that was
/// said comes at once. Then the aggregator itself stands still.
///
/// # Errors
/// When anything is missing, or was shown although it was old.
pub async fn stall(plan: Plan, params: Outage) -> Verdict {
    let mut world = peopled(plan, params).await?;
    world.all_up().await;
    for way in [None, Some(Direction::There), Some(Direction::Back)] {
        tokio::time::sleep(params.around).await;
        match way {
            None => world.link.silence(),
            Some(way) => world.link.silence_one(way),
        }
        tokio::time::sleep(params.down).await;
        world.link.mend();
        world.all_up().await;
    }
    world.aggregator().freeze();
    tokio::time::sleep(params.down).await;
    world.aggregator().thaw();
    world.all_up().await;
    tokio::time::sleep(params.around).await;
    owed(&world.judge().await?)
}

async fn peopled(plan: Plan, params: Outage) -> Result<World, String> {
    let mut world = World::start(plan).await?;
    for number in 0..params.sims {
        world.add_sim(|settings| settings.ahead_ms = if number == 0 { AHEAD_MS } else { 0 });
    }
    for _ in 0..params.agents {
        world.add_agent().await?;
    }
    Ok(world)
}

/// Connections of the link are hurt in every way, those of put and get in every way that TCP has.
///
/// # Errors
/// When anything that was acknowledged is missing or wrong.
pub async fn storm(mut plan: Plan, sims: usize, time: Duration) -> Verdict {
    plan.link = Schedule::new(plan.seed, &Fault::ALL, 4000);
    plan.line = Schedule::new(plan.seed + 1, &Fault::OF_TCP, 4000);
    let mut world = World::start(plan).await?;
    for _ in 0..sims {
        world.add_sim(|_| {});
    }
    world.add_putter();
    world.add_putter();
    tokio::time::sleep(time).await;
    Ok(world.judge().await?.to_string())
}

/// The aggregator is killed again and again, after times that the seed decides; after the last time it is
/// down for a while, so that something is measured that nobody can have seen. With every other seed its
/// network is hurt meanwhile.
///
/// # Errors
/// When a start is refused, or anything that was acknowledged is missing or wrong.
pub async fn kill9(mut plan: Plan, sims: usize, kills: u32, down: Duration) -> Verdict {
    if plan.seed / 2 % 2 == 1 {
        plan.link = Schedule::new(plan.seed, &Fault::ALL, 4000);
    }
    let mut world = World::start(plan).await?;
    for _ in 0..sims {
        world.add_sim(|_| {});
    }
    for _ in 0..4 {
        world.add_putter();
    }
    world.all_up().await;
    for kill in 1..=kills {
        let time = Duration::from_millis(world.random.u64(50..1500));
        tokio::time::sleep(time).await;
        world.end_aggregator(true).await;
        if kill == kills {
            tokio::time::sleep(down).await;
        }
        world.start_aggregator().await?;
    }
    world.all_up().await;
    let found = world.judge().await?;
    let puts: usize = world.putters.iter().map(super::putter::Putter::acknowledged).sum();
    match puts > 0 {
        true => owed(&found),
        false => Err("nothing was put: nothing was tried".to_owned()),
    }
}

/// All agents come back to an aggregator that was restarted.
///
/// # Errors
/// When one is not back within ten seconds, or a live push waits longer than an interval meanwhile.
pub async fn herd(plan: Plan, sims: usize, down: Duration) -> Verdict {
    let interval = plan.interval;
    // An ack may wait for the disk for a second, which is not what is asked here.
    let mut world = World::start(Plan { durability: "os", ..plan }).await?;
    for _ in 0..sims {
        world.add_sim(|settings| {
            settings.backoff_max = Duration::from_secs(5);
            settings.counters = 2;
        });
    }
    world.all_up().await;
    world.end_aggregator(true).await;
    tokio::time::sleep(down).await;
    world.start_aggregator().await?;
    let restarted = std::time::Instant::now();
    world.all_up().await;
    let back = restarted.elapsed();
    while world.sims.iter().any(|sim| sim.look(crate::sim::State::backlog) > 0) {
        if restarted.elapsed() > down + Duration::from_secs(60) {
            return Err("the backlog does not get less".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let drained = restarted.elapsed();
    let waits = world.sims.iter().map(|sim| oracle::longest_wait(sim, restarted)).max().unwrap_or_default();
    let report = world.judge().await?;
    let figures = format!("back after {back:?}, backlog gone after {drained:?}, longest live wait {waits:?}");
    if back > Duration::from_secs(10) || waits > interval {
        return Err(format!("seed {}: {figures}; {report}", world.plan.seed));
    }
    Ok(format!("{figures}; {report}"))
}
