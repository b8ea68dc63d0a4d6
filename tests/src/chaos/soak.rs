//! The soak: agents come and go for as long as one likes, and the aggregator grows no further.

use std::time::{Duration, Instant};

use super::Verdict;
use super::world::{Plan, World};

/// Part of the time after which memory is what it will be.
const WARM: f64 = 1.0 / 6.0;
/// Part of the time over which memory is averaged, then and at the end: it rises and falls with what is
/// written to the disk from time to time.
const WINDOW: f64 = 1.0 / 20.0;

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
    // How much of the time is over, and the memory then.
    let mut resident: Vec<(f64, u64)> = Vec::new();
    while began.elapsed() < time {
        come_and_go(&mut world, &mut away).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
        let kib = world.aggregator().resident_kib().ok_or("how much memory it has is not known")?;
        resident.push((began.elapsed().div_duration_f64(time), kib));
    }
    let (warm, end) = (mean(&resident, WARM), mean(&resident, 1.0 - WINDOW));
    let most = resident.iter().map(|(_, kib)| *kib).max().unwrap_or_default();
    for number in away {
        if let Some(sim) = world.sims.get_mut(number) {
            sim.start_again();
        }
    }
    let report = world.judge().await?;
    let growth = end / warm - 1.0;
    let figures = format!(
        "{warm:.0} KiB after a sixth of {time:?}, {end:.0} KiB at the end, {:+.1} %, {most} KiB at most",
        growth * 100.0
    );
    // Not a number, where nothing was seen, is no answer either.
    match growth_max.is_some_and(|most| growth.is_nan() || growth > most) {
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

/// The average of what was seen from this part of the time on, for [`WINDOW`].
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn mean(resident: &[(f64, u64)], from: f64) -> f64 {
    let seen = resident.iter().filter(|(at, _)| (from..from + WINDOW).contains(at));
    let (sum, count) = seen.fold((0.0, 0.0), |(sum, count), (_, kib)| (sum + *kib as f64, count + 1.0));
    sum / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_rises_and_falls_is_averaged_over_a_while() {
        // 100 to 109, again and again, and 10 more in the end.
        let kib = |n: u64| 100 + n % 10 + if n >= 950 { 10 } else { 0 };
        let resident: Vec<(f64, u64)> = (0..1000).map(|n| (n as f64 / 1000.0, kib(n))).collect();
        assert!((mean(&resident, WARM) - 104.5).abs() < 0.2);
        assert!((mean(&resident, 1.0 - WINDOW) - 114.5).abs() < 0.2);
    }
}
