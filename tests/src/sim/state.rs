//! What a simulated agent has measured, sent and heard of: pure, time and numbers passed in. It keeps
//! every measurement for ever, because it is also the truth that everything else is held against.

use std::collections::VecDeque;
use std::time::Duration;

use protocol::frame::{Acked, Stream};

/// Where a measurement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nobody has answered for it.
    Open,
    /// Acknowledged on the live stream.
    Live,
    /// Acknowledged on the late stream.
    Late,
}

/// One measurement. Its number is its value, see [`super::frames`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// When, by the true wall clock, Unix milliseconds.
    pub at_ms: i64,
    /// When, by the agent's clock that never steps.
    pub mono: Duration,
    /// What became of it.
    pub fate: Fate,
    /// How long it took from the measurement to the acknowledgement.
    pub acked_after: Duration,
    /// No ack told it, but the `welcome` of a later connection.
    pub is_welcomed: bool,
}

impl Tick {
    /// One that nobody has answered for.
    #[must_use]
    pub fn measured(at_ms: i64, mono: Duration) -> Self {
        Self { at_ms, mono, fate: Fate::Open, acked_after: Duration::ZERO, is_welcomed: false }
    }

    /// When it was acknowledged, by the true wall clock, Unix milliseconds.
    #[must_use]
    pub fn acked_ms(&self) -> i64 {
        self.at_ms.saturating_add(i64::try_from(self.acked_after.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A push to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing {
    /// Its stream.
    pub stream: Stream,
    /// Its number there.
    pub seq: u64,
    /// What it says, the number of its measurement.
    pub tick: u64,
}

/// A push that has its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Numbered {
    seq: u64,
    tick: u64,
}

/// All that an agent is, but for its connection.
#[derive(Debug, Default)]
pub struct State {
    ticks: Vec<Tick>,
    /// Measured for the live stream, and not sent yet.
    fresh: VecDeque<u64>,
    /// Sent live, not acknowledged.
    live: VecDeque<Numbered>,
    live_seq: u64,
    /// The spool, the oldest first.
    spool: VecDeque<Numbered>,
    late_seq: u64,
    /// How many of the spool are under way.
    late_sent: usize,
    is_connected: bool,
    live_window: usize,
    late_window: usize,
    /// The highest numbers that were said to be safe, and when that was.
    told: (Acked, Duration),
    taken_back: Vec<(Duration, Duration)>,
}

impl State {
    /// Measures; gives the number of the measurement.
    pub fn measure(&mut self, at_ms: i64, mono: Duration) -> u64 {
        self.ticks.push(Tick::measured(at_ms, mono));
        let tick = self.ticks.len() as u64;
        if self.is_connected && self.fresh.len() + self.live.len() < self.live_window {
            self.fresh.push_back(tick);
        } else {
            self.keep(tick);
        }
        tick
    }

    /// All measurements; number 1 stands first.
    #[must_use]
    pub fn ticks(&self) -> &[Tick] {
        &self.ticks
    }

    /// One measurement.
    #[must_use]
    pub fn tick(&self, number: u64) -> Option<&Tick> {
        self.ticks.get(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    /// When something was said to be safe, and when a `welcome` said less, by the clock that never steps.
    #[must_use]
    pub fn taken_back(&self) -> &[(Duration, Duration)] {
        &self.taken_back
    }

    /// How many wait in the spool.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.spool.len()
    }

    /// When the oldest of the spool was measured, by the clock that never steps.
    #[must_use]
    pub fn oldest(&self) -> Option<Duration> {
        self.spool.iter().filter_map(|numbered| Some(self.tick(numbered.tick)?.mono)).min()
    }

    /// Is there anything that nobody has answered for?
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.fresh.is_empty() && self.live.is_empty() && self.spool.is_empty()
    }

    fn keep(&mut self, tick: u64) {
        self.late_seq += 1;
        self.spool.push_back(Numbered { seq: self.late_seq, tick });
    }

    fn settle(&mut self, tick: u64, fate: Fate, now: Duration, is_welcomed: bool) {
        let found = usize::try_from(tick - 1).ok().and_then(|at| self.ticks.get_mut(at));
        if let Some(found) = found {
            (found.fate, found.is_welcomed) = (fate, is_welcomed);
            found.acked_after = now.saturating_sub(found.mono);
        }
    }

    /// A connection begins, and the aggregator said what is safe.
    pub fn welcomed(&mut self, acked: Acked, live_window: u32, late_window: u32, now: Duration) {
        let (told, when) = self.told;
        if acked.live < told.live || acked.late < told.late {
            self.taken_back.push((when, now));
        }
        self.safe(Stream::Live, acked.live, now, true);
        self.late_sent = self.spool.len();
        self.safe(Stream::Late, acked.late, now, true);
        self.late_sent = 0;
        // What was sent live and may be lost is measured a while ago now.
        for Numbered { tick, .. } in std::mem::take(&mut self.live) {
            self.keep(tick);
        }
        self.live_window = usize::try_from(live_window).unwrap_or(usize::MAX);
        self.late_window = usize::try_from(late_window).unwrap_or(usize::MAX);
        self.is_connected = true;
    }

    /// A connection is over.
    pub fn disconnected(&mut self) {
        self.is_connected = false;
        self.late_sent = 0;
        for tick in std::mem::take(&mut self.fresh) {
            self.keep(tick);
        }
    }

    /// An ack: all up to this number is safe.
    pub fn acked(&mut self, stream: Stream, seq: u64, now: Duration) {
        self.safe(stream, seq, now, false);
    }

    fn safe(&mut self, stream: Stream, seq: u64, now: Duration, is_welcomed: bool) {
        let (told, when) = &mut self.told;
        *when = now;
        match stream {
            Stream::Live => told.live = seq,
            Stream::Late => told.late = seq,
        }
        match stream {
            Stream::Live => {
                while let Some(first) = self.live.pop_front_if(|first| first.seq <= seq) {
                    self.settle(first.tick, Fate::Live, now, is_welcomed);
                }
            }
            Stream::Late => {
                while self.late_sent > 0
                    && let Some(first) = self.spool.pop_front_if(|first| first.seq <= seq)
                {
                    self.late_sent -= 1;
                    self.settle(first.tick, Fate::Late, now, is_welcomed);
                }
            }
        }
    }

    /// The next live push.
    pub fn next_live(&mut self) -> Option<Outgoing> {
        let tick = self.fresh.pop_front()?;
        self.live_seq += 1;
        self.live.push_back(Numbered { seq: self.live_seq, tick });
        Some(Outgoing { stream: Stream::Live, seq: self.live_seq, tick })
    }

    /// Is there a late push that may be sent?
    #[must_use]
    pub fn has_late(&self) -> bool {
        self.late_sent < self.spool.len().min(self.late_window)
    }

    /// The next late push.
    pub fn next_late(&mut self) -> Option<Outgoing> {
        if !self.has_late() {
            return None;
        }
        let Numbered { seq, tick } = *self.spool.get(self.late_sent)?;
        self.late_sent += 1;
        Some(Outgoing { stream: Stream::Late, seq, tick })
    }

    /// When the oldest live push that waits for its ack was measured, by the clock that never steps.
    #[must_use]
    pub fn waits_since(&self) -> Option<Duration> {
        Some(self.tick(self.live.front()?.tick)?.mono)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(state: &State) -> Vec<Fate> {
        state.ticks().iter().map(|tick| tick.fate).collect()
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_is_not_acknowledged_goes_the_late_way_once() {
        let mut state = State::default();
        state.measure(0, ms(0));
        state.welcomed(Acked::default(), 2, 16, ms(0));
        for at in 1..=3 {
            state.measure(at * 10, ms(at as u64 * 10));
        }
        let live: Vec<_> = std::iter::from_fn(|| state.next_live()).map(|push| (push.seq, push.tick)).collect();
        assert_eq!(live, [(1, 2), (2, 3)], "the window is two");
        let late: Vec<_> = std::iter::from_fn(|| state.next_late()).map(|push| (push.seq, push.tick)).collect();
        assert_eq!(late, [(1, 1), (2, 4)]);
        state.acked(Stream::Late, 1, ms(50));
        state.acked(Stream::Live, 1, ms(60));
        assert_eq!(fates(&state), [Fate::Late, Fate::Live, Fate::Open, Fate::Open]);
        assert_eq!(state.tick(2).unwrap().acked_after, ms(50));
        state.disconnected();
        state.welcomed(Acked { live: 1, late: 2 }, 2, 16, ms(100));
        assert_eq!(fates(&state), [Fate::Late, Fate::Live, Fate::Open, Fate::Late]);
        let welcomed: Vec<bool> = state.ticks().iter().map(|tick| tick.is_welcomed).collect();
        assert_eq!(welcomed, [false, false, false, true]);
        assert_eq!(state.taken_back(), []);
        assert_eq!(state.next_late(), Some(Outgoing { stream: Stream::Late, seq: 3, tick: 3 }));
        assert!(state.next_late().is_none() && state.next_live().is_none() && !state.is_settled());
        state.acked(Stream::Late, 3, ms(100));
        assert!(state.is_settled());
    }

    #[test]
    fn an_aggregator_that_forgets_what_it_acknowledged_is_noticed() {
        let mut state = State::default();
        state.welcomed(Acked::default(), 2, 16, ms(0));
        state.measure(0, ms(0));
        state.next_live();
        state.acked(Stream::Live, 1, ms(10));
        state.disconnected();
        state.welcomed(Acked { live: 1, late: 0 }, 2, 16, ms(20));
        assert_eq!(state.taken_back(), []);
        state.welcomed(Acked::default(), 2, 16, ms(30));
        assert_eq!(state.taken_back(), [(ms(20), ms(30))]);
    }

    #[test]
    fn an_ack_of_what_was_not_sent_settles_nothing() {
        let mut state = State::default();
        state.measure(0, ms(0));
        state.welcomed(Acked::default(), 2, 1, ms(0));
        state.acked(Stream::Late, 99, ms(0));
        assert_eq!(fates(&state), [Fate::Open]);
        assert!(!state.is_settled());
    }
}
