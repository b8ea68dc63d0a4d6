//! What a pushed sample costs, and how many of them go in.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Target;
use crate::Result;
use crate::fleet::{Fleet, Watch};
use crate::load::Load;
use crate::proc::Cpu;

/// Part of a window of pushing back to back that is let pass before it counts.
const RAMP: u32 = 6;

/// The aggregator's CPU per sample, in µs, over `rounds` rounds of pushes spread over `interval`;
/// `None` when its process is not ours. One round before them is not counted.
///
/// # Errors
/// When an agent breaks.
pub async fn cpu_per_sample(
    fleet: &mut Fleet,
    load: &Load,
    series: usize,
    (rounds, interval): (usize, Duration),
    target: Target,
) -> Result<Option<f64>> {
    let nobody_stops_it = Arc::new(Watch::default());
    fleet.push_spread(load, interval, 1, Arc::clone(&nobody_stops_it)).await?;
    let before = target.pid.map(Cpu::of).transpose()?;
    fleet.push_spread(load, interval, rounds, nobody_stops_it).await?;
    let after = target.pid.map(Cpu::of).transpose()?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let per_sample = |ns: u64| ns as f64 / 1_000.0 / (fleet.len() * series * rounds) as f64;
    Ok(before.zip(after).map(|(before, after)| per_sample(after.ns_since(&before))))
}

/// Samples acknowledged per second while all agents push back to back.
///
/// # Errors
/// When an agent breaks.
pub async fn samples_per_second(fleet: &mut Fleet, load: &Load, series: usize, window: Duration) -> Result<f64> {
    let watch = Arc::new(Watch::default());
    let observe = async {
        sleep(window / RAMP).await;
        let (rate, ()) = rate_during(&watch, series, sleep(window)).await;
        watch.stop();
        Ok(rate)
    };
    let ((), rate) = tokio::try_join!(fleet.push_flood(load, Arc::clone(&watch)), observe)?;
    Ok(rate)
}

/// Samples per second for as long as `work` takes, and what it gives.
pub(super) async fn rate_during<T>(watch: &Watch, series: usize, work: impl Future<Output = T>) -> (f64, T) {
    let (began, before) = (Instant::now(), watch.acked());
    let done = work.await;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let samples = ((watch.acked() - before) * series as u64) as f64;
    (samples / began.elapsed().as_secs_f64(), done)
}
