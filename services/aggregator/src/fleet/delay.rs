//! How long a push was under way, and how far an agent's wall clock is off, from the two clocks
//! that the agent sends with each frame.
//!
//! Neither is known absolutely. The frame that took the least time is taken to have taken none;
//! what others took longer is their delay. The agent's clock that never steps is used for that,
//! so setting its wall clock makes nothing late. Clocks drift apart by up to about 50 ppm (4 s a
//! day), so only the last five to ten minutes count.

use std::time::{Duration, Instant};

/// The span of one of the two windows over which the fastest frame is looked for.
const WINDOW: Duration = Duration::from_secs(300);

/// What is known of one connection's clocks.
#[derive(Debug)]
pub struct Clocks {
    origin: Instant,
    /// Arrival minus `mono_ms` of the fastest frame, in this window and the one before.
    fastest: [i64; 2],
    window_start: Instant,
}

/// What one frame tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// How much longer than the fastest the frame was under way.
    pub delay: Duration,
    /// The agent's wall clock minus ours, in milliseconds.
    pub offset_ms: i64,
}

impl Clocks {
    /// Starts with the `hello`.
    #[must_use]
    pub fn new(now: Instant, mono_ms: u64) -> Self {
        let first = -clamp(mono_ms);
        Self { origin: now, fastest: [first; 2], window_start: now }
    }

    /// Takes in a frame that arrived at `now` (`wall_ms` by our wall clock) and was sent at
    /// `mono_ms` and `now_ms` by the agent's clocks.
    pub fn read(&mut self, now: Instant, wall_ms: i64, mono_ms: u64, now_ms: i64) -> Reading {
        let arrived = clamp_u128(now.duration_since(self.origin).as_millis());
        let transit = arrived - clamp(mono_ms);
        let [current, before] = &mut self.fastest;
        if now.duration_since(self.window_start) >= WINDOW {
            *before = *current;
            *current = transit;
            self.window_start = now;
        }
        *current = transit.min(*current);
        let delay_ms = transit - (*current).min(*before);
        let delay = Duration::from_millis(u64::try_from(delay_ms).unwrap_or(0));
        Reading { delay, offset_ms: now_ms.saturating_add(delay_ms).saturating_sub(wall_ms) }
    }
}

/// Far more than any uptime, and far from overflow.
const MILLIS_MAX: i64 = i64::MAX / 4;

fn clamp(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(MILLIS_MAX).min(MILLIS_MAX)
}

fn clamp_u128(millis: u128) -> i64 {
    i64::try_from(millis).unwrap_or(MILLIS_MAX).min(MILLIS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_790_000_000_000;

    /// Frames as (arrival, sent, wall step), all in ms; gives the delays and offsets.
    fn run(frames: &[(u64, u64, i64)]) -> Vec<(u64, i64)> {
        let origin = Instant::now();
        let mut clocks = Clocks::new(origin, 0);
        frames
            .iter()
            .map(|(arrived, sent, step)| {
                let sent_wall = START + i64::try_from(*sent).unwrap() + step;
                let arrived_wall = START + i64::try_from(*arrived).unwrap();
                let reading = clocks.read(origin + Duration::from_millis(*arrived), arrived_wall, *sent, sent_wall);
                (u64::try_from(reading.delay.as_millis()).unwrap(), reading.offset_ms)
            })
            .collect()
    }

    #[test]
    fn a_stall_is_delay_and_no_offset() {
        assert_eq!(run(&[(5_000, 5_000, 0), (70_000, 10_000, 0), (70_000, 70_000, 0)]), [(0, 0), (60_000, 0), (0, 0)]);
    }

    #[test]
    fn a_wall_clock_that_is_set_is_offset_and_no_delay() {
        assert_eq!(run(&[(5_000, 5_000, 0), (10_000, 10_000, -3_600_000)]), [(0, 0), (0, -3_600_000)]);
    }

    #[test]
    fn drift_is_forgotten() {
        // The agent's clock runs 0.1 % slow: half an hour makes 1.8 s, of which two windows remain.
        let frames: Vec<_> = (1..=360).map(|i| (i * 5_000, i * 4_995, 0)).collect();
        assert!(run(&frames).iter().all(|(delay, _)| *delay <= 600));
    }

    #[test]
    fn absurd_clocks_do_no_harm() {
        let origin = Instant::now();
        let mut clocks = Clocks::new(origin, u64::MAX);
        clocks.read(origin, i64::MIN, 0, i64::MAX);
        clocks.read(origin, i64::MAX, u64::MAX, i64::MIN);
    }
}
