//! The soak: agents come and go for as long as one likes, and the aggregator grows no further.

use std::time::{Duration, Instant};

use super::Verdict;
use super::world::{Plan, World};

/// Part of the time after which memory is what it will be.
const WARM: u32 = 6;
/// The memory then and at the end: the least of so many looks, so that no page in the making counts.
const LOOKS: usize = 20;

/// Agents come and go. `growth_max`: how much more memory there may be at the end than after a sixth
/// of the time; `None`: that is not asked.
///
/// # Errors
/// When there is more, or anything that was acknowledged is missing.
pub async fn soak(plan: Plan, sims: usize, time: Duration, growth_max: Option<f64>) -> Verdict {
    let mut world = World::start(plan).await?;
    for _ in 0..sims {
        world.add_sim(|_| {});
    }
    world.add_putter();
    world.all_up().await;
    let began = Instant::now();
    let mut away: Vec<usize> = Vec::new();
    let mut warm = None;
    while began.elapsed() < time {
        come_and_go(&mut world, &mut away).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
        if warm.is_none() && began.elapsed() > time / WARM {
            warm = Some(resident(&world).await);
        }
    }
    let (warm, end) = (warm.unwrap_or_default(), resident(&world).await);
    for number in away {
        if let Some(sim) = world.sims.get_mut(number) {
            sim.start_again();
        }
    }
    let report = world.judge().await?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let growth = end as f64 / warm.max(1) as f64 - 1.0;
    let figures = format!("{warm} KiB after a sixth of {time:?}, {end} KiB at the end, {:+.1} %", growth * 100.0);
    match growth_max.is_some_and(|most| growth > most) {
        true => Err(format!("seed {}: {figures}; {report}", world.plan.seed)),
        false => Ok(format!("{figures}; {report}")),
    }
}

/// One agent goes, or one comes back.
async fn come_and_go(world: &mut World, away: &mut Vec<usize>) {
    let comes = !away.is_empty() && (away.len() * 2 > world.sims.len() || world.random.bool());
    if comes {
        let number = away.swap_remove(world.random.usize(..away.len()));
        if let Some(sim) = world.sims.get_mut(number) {
            sim.start_again();
        }
        return;
    }
    let number = world.random.usize(..world.sims.len());
    if away.contains(&number) {
        return;
    }
    if let Some(sim) = world.sims.get_mut(number) {
        sim.kill().await;
        away.push(number);
    }
}

async fn resident(world: &World) -> u64 {
    let mut least = u64::MAX;
    for _ in 0..LOOKS {
        least = least.min(world.aggregator().resident_kib().unwrap_or(u64::MAX));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    least
}
