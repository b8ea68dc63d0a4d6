//! What waits to be written, by agent: one agent a request, in order, each in its turn. Pure: time
//! is passed in.
//!
//! An agent whose request failed steps back for a while and keeps its place in no queue meanwhile,
//! so that its backlog holds nobody up.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// The longest wait after the first failure, and after many.
const BACK_OFF_MIN: Duration = Duration::from_millis(500);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
/// A receiver may ask for patience, but not for ever.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// What waits of one agent.
#[derive(Debug)]
struct Lane<P> {
    parts: VecDeque<P>,
    /// A request is under way.
    is_busy: bool,
    /// It stands in `ready` or `later`.
    is_queued: bool,
    failures: u32,
}

/// What waits of all agents. A part weighs as much as it has samples.
#[derive(Debug)]
pub(super) struct Queue<P> {
    lanes: HashMap<String, Lane<P>>,
    ready: VecDeque<String>,
    later: BTreeMap<(Instant, u64), String>,
    next: u64,
}

impl<P> Default for Queue<P> {
    fn default() -> Self {
        Self { lanes: HashMap::new(), ready: VecDeque::new(), later: BTreeMap::new(), next: 0 }
    }
}

impl<P> Queue<P> {
    /// Puts parts behind those that wait of this agent.
    pub(super) fn push(&mut self, agent: &str, parts: impl IntoIterator<Item = P>) {
        let lane = self.lanes.entry(agent.to_owned()).or_insert_with(|| Lane {
            parts: VecDeque::new(),
            is_busy: false,
            is_queued: false,
            failures: 0,
        });
        lane.parts.extend(parts);
        if !lane.is_busy && !lane.is_queued {
            lane.is_queued = true;
            self.ready.push_back(agent.to_owned());
        }
    }

    /// The next request: an agent, and parts of it that weigh `most`, about. Until
    /// [`Queue::answered`] nothing more of it is given.
    pub(super) fn next(&mut self, now: Instant, most: usize, weight: impl Fn(&P) -> usize) -> Option<(String, Vec<P>)> {
        while let Some(first) = self.later.first_entry().filter(|first| first.key().0 <= now) {
            let agent = first.remove();
            self.ready.push_back(agent);
        }
        loop {
            let agent = self.ready.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&agent) else { continue };
            lane.is_queued = false;
            let (mut parts, mut weighs) = (Vec::new(), 0);
            while let Some(part) = lane.parts.pop_front() {
                weighs += weight(&part);
                if !parts.is_empty() && weighs > most {
                    lane.parts.push_front(part);
                    break;
                }
                parts.push(part);
            }
            if parts.is_empty() {
                self.lanes.remove(&agent);
                continue;
            }
            lane.is_busy = true;
            return Some((agent, parts));
        }
    }

    /// When the next agent that had stepped back is due.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((at, _), _)| *at)
    }

    /// A request was answered: `left` of it has to be tried again, not before `retry_after` if the
    /// receiver said so. `jitter` is random, from 0 to 1.
    pub(super) fn answered(
        &mut self,
        agent: &str,
        left: Vec<P>,
        retry_after: Option<Duration>,
        jitter: f64,
        now: Instant,
    ) {
        let Some(lane) = self.lanes.get_mut(agent) else { return };
        lane.is_busy = false;
        let failed = !left.is_empty();
        for part in left.into_iter().rev() {
            lane.parts.push_front(part);
        }
        if lane.parts.is_empty() {
            self.lanes.remove(agent);
            return;
        }
        lane.is_queued = true;
        if failed {
            lane.failures = lane.failures.saturating_add(1);
            let wait = back_off(lane.failures, jitter).max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX));
            self.next += 1;
            self.later.insert((now + wait, self.next), agent.to_owned());
        } else {
            lane.failures = 0;
            self.ready.push_back(agent.to_owned());
        }
    }

    /// Does anything wait that has failed?
    pub(super) fn is_failing(&self) -> bool {
        self.lanes.values().any(|lane| lane.failures > 0)
    }

    /// Looks at all that waits, and lets go of what is not wanted.
    pub(super) fn retain(&mut self, wanted: impl Fn(&P) -> bool) {
        for lane in self.lanes.values_mut() {
            lane.parts.retain(&wanted);
        }
    }
}

/// Doubles with each failure; the lower half of it is certain, the upper one random.
fn back_off(failures: u32, jitter: f64) -> Duration {
    let most = BACK_OFF_MIN.saturating_mul(1 << failures.min(16).saturating_sub(1)).min(BACK_OFF_MAX);
    most.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(part: &usize) -> usize {
        *part
    }

    #[test]
    fn agents_take_turns_and_keep_their_order() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.push("a", [4, 5, 6]);
        queue.push("b", [20]);
        assert_eq!(queue.next(now, 10, weight), Some(("a".into(), vec![4, 5])));
        assert_eq!(queue.next(now, 10, weight), Some(("b".into(), vec![20])), "too heavy, but alone");
        queue.push("a", [1]);
        assert_eq!(queue.next(now, 10, weight), None, "one request of an agent at a time");
        queue.answered("b", vec![], None, 0.0, now);
        queue.answered("a", vec![], None, 0.0, now);
        queue.push("b", [2]);
        assert_eq!(queue.next(now, 10, weight), Some(("a".into(), vec![6, 1])));
        assert_eq!(queue.next(now, 10, weight), Some(("b".into(), vec![2])));
        queue.answered("a", vec![], None, 0.0, now);
        queue.answered("b", vec![], None, 0.0, now);
        assert!(queue.lanes.is_empty() && queue.ready.is_empty() && queue.later.is_empty());
    }

    #[test]
    fn who_fails_steps_back_and_holds_nobody_up() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        queue.push("a", [1, 2]);
        let mut now = start;
        for (wait_ms, retry_after) in [(250, None), (500, None), (7_000, Some(Duration::from_secs(7)))] {
            let (_, left) = queue.next(now, 10, weight).unwrap();
            assert_eq!(left, [1, 2]);
            queue.answered("a", left, retry_after, 0.0, now);
            queue.push("b", [3]);
            assert_eq!(queue.next(now, 10, weight), Some(("b".into(), vec![3])));
            queue.answered("b", vec![], None, 0.0, now);
            let due = now + Duration::from_millis(wait_ms);
            assert_eq!(queue.due_at(), Some(due));
            assert_eq!(queue.next(due - Duration::from_millis(1), 10, weight), None);
            now = due;
        }
        queue.retain(|part| *part > 1);
        assert_eq!(queue.next(now, 10, weight), Some(("a".into(), vec![2])));
        assert!(queue.is_failing(), "though others were written");
        queue.answered("a", vec![], None, 0.0, now);
        assert!(!queue.is_failing());
        assert!(queue.lanes.is_empty(), "and its failures are forgotten");
    }

    #[test]
    fn waiting_has_an_end() {
        assert_eq!(
            [1, 2, 7, u32::MAX].map(|failures| back_off(failures, 1.0).as_millis()),
            [500, 1000, 30_000, 30_000]
        );
        assert_eq!(back_off(1, 0.0), Duration::from_millis(250));
    }
}
