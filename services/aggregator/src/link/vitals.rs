//! Vital signs: of all that an agent pushes, the few numbers that say how its host is, on their way
//! to the history. What they are called there stands in [`VITALS`]; where they stand in a set is
//! found once, when the set is declared (`places`), so a push costs a handful of loads.
//!
//! Here is no clock and no waiting: when something is stored, [`History::record`] says.

mod places;
mod traffic;

use std::collections::HashMap;
use std::sync::Arc;

use protocol::AgentName;
use protocol::frame::Stream;
use tokio::sync::oneshot;

use self::places::{Place, Places};
use self::traffic::Counted;
use crate::fleet::agent::PushedSet;
use crate::fleet::declared::Declared;
use crate::history::{History, Point, PutError, Queued};

/// A vital sign.
#[derive(Debug)]
pub struct Vital {
    /// What follows the agent's name and a dot in its key.
    pub name: &'static str,
    /// The family that it comes from.
    pub family: &'static str,
    source: Source,
}

/// How a vital sign is made of its family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The first series, as it is.
    Value,
    /// The first series, a ratio, in percent.
    Percent,
    /// The ratio of the root file system, else of the fullest one, in percent.
    Disk,
    /// How much the counters of all devices but loopback grow in a second.
    Rate,
}

const fn vital(name: &'static str, family: &'static str, source: Source) -> Vital {
    Vital { name, family, source }
}

/// All vital signs. docs/http.md explains them.
pub const VITALS: [Vital; COUNT] = [
    vital("cpu", "host_cpu_used_ratio", Source::Percent),
    vital("memory", "host_memory_used_ratio", Source::Percent),
    vital("swap", "host_swap_used_ratio", Source::Percent),
    vital("disk", "host_filesystem_used_ratio", Source::Disk),
    vital("load1", "host_load1", Source::Value),
    vital("network_receive", "host_network_receive_bytes_total", Source::Rate),
    vital("network_transmit", "host_network_transmit_bytes_total", Source::Rate),
];
const COUNT: usize = 7;

/// The vital signs of one push, in the order of [`VITALS`].
pub(super) type Signs = [Option<f64>; COUNT];

/// Says when points are stored, or that they are not.
pub(super) type Stored = oneshot::Receiver<Result<(), PutError>>;

/// The vital signs of one connection's agent.
#[derive(Debug)]
pub(super) struct Vitals {
    history: Arc<History>,
    /// In the order of [`VITALS`].
    keys: [String; COUNT],
    /// Of the sets that have any.
    places: HashMap<u64, Places>,
    /// What the counters were when they last came, live and late: the two streams speak of different
    /// times.
    before: [[Option<Counted>; COUNT]; 2],
    /// What waits to be stored.
    queued: Queued,
}

impl Vitals {
    pub(super) fn new(history: Arc<History>, agent: &AgentName) -> Self {
        let keys = VITALS.each_ref().map(|vital| format!("{agent}.{}", vital.name));
        Self { history, keys, places: HashMap::new(), before: Default::default(), queued: Queued::default() }
    }

    /// A set was declared.
    pub(super) fn declared(&mut self, set: u64, declared: &Declared) {
        if let Some(places) = Places::of(declared) {
            self.places.insert(set, places);
        }
    }

    /// A set was retired.
    pub(super) fn retired(&mut self, set: u64) {
        self.places.remove(&set);
    }

    /// What these sets say, which were measured at `mono_ms` by the agent's clock that never steps.
    /// Where two of them have the same vital sign, the first one's counts.
    pub(super) fn measure(&mut self, stream: Stream, sets: &[PushedSet], mono_ms: i64) -> Signs {
        let mut signs = Signs::default();
        let [live, late] = &mut self.before;
        let stream = if stream == Stream::Live { live } else { late };
        for PushedSet { set, values, .. } in sets {
            let (Some(values), Some(places)) = (values, self.places.get(set)) else { continue };
            for (number, place) in places.iter() {
                let (Some(sign), Some(before)) = (signs.get_mut(number), stream.get_mut(number)) else { continue };
                if sign.is_none() {
                    *sign = read(place, values, before, mono_ms);
                }
            }
        }
        signs
    }

    /// How many samples of these sets the signs are made of.
    pub(super) fn samples_of(&self, signs: &Signs, sets: &[PushedSet]) -> u64 {
        let mut made = signs.map(|sign| sign.is_some());
        let mut samples = 0;
        for PushedSet { set, values, .. } in sets {
            let (Some(values), Some(places)) = (values, self.places.get(set)) else { continue };
            for (number, place) in places.iter() {
                if made.get_mut(number).is_some_and(std::mem::take) {
                    samples += place.samples(values);
                }
            }
        }
        samples
    }

    /// Hands these to the history, as measured at this Unix second; `None`: there are none.
    pub(super) fn record(&self, signs: Signs, second: i64, stream: Stream) -> Option<Result<Stored, PutError>> {
        if signs.iter().all(Option::is_none) {
            return None;
        }
        let points = self.keys.iter().zip(signs);
        let points = points.filter_map(|(key, sign)| Some((key.as_str(), Point { ts: second, value: sign? })));
        // Of late pushes few can wait, and their agent waits for them.
        Some(self.history.record(points, &self.queued, stream == Stream::Late))
    }
}

/// One vital sign; `None`: it is not there now, or cannot be told yet.
fn read(place: &Place, values: &[f64], before: &mut Option<Counted>, mono_ms: i64) -> Option<f64> {
    let value = |at: &usize| values.get(*at).copied().filter(|value| value.is_finite());
    match place {
        Place::Value(at) => value(at),
        Place::Percent(at) => value(at).map(percent),
        Place::Fullest(series) => series.clone().filter_map(|at| value(&at)).reduce(f64::max).map(percent),
        Place::Counters(devices, series) => {
            let now = Counted { devices: *devices, bytes: series.iter().map(value).collect(), at_ms: mono_ms };
            let rate = before.as_ref().and_then(|before| now.rate_since(before));
            *before = Some(now);
            rate
        }
    }
}

/// A ratio in percent, to a ten-thousandth: `12.3` instead of `12.300000000000001`.
fn percent(ratio: f64) -> f64 {
    (ratio * 1e6).round() / 1e4
}

#[cfg(test)]
mod tests;
