//! What one request carries: parts of pushes, and the request that is made of them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use prost::Message as _;
use protocol::values::ABSENT;
use protocol::{AgentName, is_absent};

use super::labels::labels;
use super::ledger::Held;
use super::proto::{Sample, TimeSeries, WriteRequest};
use crate::fleet::declared::Declared;
use crate::fleet::dropped::Dropped;
use crate::pending::Pending;

/// Most samples of a request, and of a part. Their labels take some 200 bytes each, 1 MB together,
/// a tenth of it compressed.
pub(super) const SAMPLES_MAX: usize = 5_000;

/// A set of one push. Its values are shared with the page.
#[derive(Debug, Clone)]
pub struct Vector {
    /// What it consists of.
    pub declared: Arc<Declared>,
    /// Its values.
    pub values: Arc<Vec<f64>>,
}

/// One agent's samples of one moment.
#[derive(Debug)]
pub struct Moments {
    /// The agent.
    pub agent: AgentName,
    /// When they were measured, by our wall clock, Unix ms.
    pub at_ms: i64,
    /// The samples.
    pub sets: Vec<Vector>,
    /// Each value that is there only says that its series ends.
    pub is_end: bool,
    /// Where it is counted what becomes of them; `None`: they are on the page, and counted there.
    pub pending: Option<Arc<Pending>>,
    /// Is it of the late stream? Then its agent keeps it, and it may wait until there is room.
    pub may_wait: bool,
    /// Their part of the room for what waits.
    pub room: Held,
}

impl Moments {
    /// Does nobody want it any more?
    pub(super) fn is_given_up(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.is_given_up())
    }

    /// Values that are there.
    pub(crate) fn samples(&self) -> usize {
        let values = self.sets.iter().flat_map(|set| set.values.iter());
        values.filter(|value| !is_absent(**value)).count()
    }
}

/// A part of a push that fits into a request.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(super) of: Arc<Moments>,
    set: usize,
    series: Range<usize>,
    /// Values that are there.
    pub(crate) samples: usize,
}

impl Part {
    fn new(of: &Arc<Moments>, set: usize, series: Range<usize>) -> Self {
        let mut part = Self { of: Arc::clone(of), set, series, samples: 0 };
        part.samples = part.values().iter().filter(|value| !is_absent(**value)).count();
        part
    }

    fn values(&self) -> &[f64] {
        let values = self.of.sets.get(self.set).map(|set| set.values.as_slice());
        values.and_then(|values| values.get(self.series.clone())).unwrap_or_default()
    }

    /// Counts what became of it.
    pub(crate) fn forwarded(&self) {
        if let Some(pending) = &self.of.pending {
            pending.forwarded(self.samples as u64);
        }
    }

    /// Counts that it is dropped.
    pub(crate) fn dropped(&self, reason: Dropped) {
        if let Some(pending) = &self.of.pending {
            pending.dropped(reason, self.samples as u64);
        }
    }
}

/// A push in parts; those without samples are left out.
pub(super) fn parts(push: Moments) -> Vec<Part> {
    let push = Arc::new(push);
    let cut = |(at, set): (usize, &Vector)| {
        let of = Arc::clone(&push);
        let length = set.values.len();
        let starts = (0..length).step_by(SAMPLES_MAX);
        starts.map(move |start| Part::new(&of, at, start..length.min(start + SAMPLES_MAX))).collect::<Vec<_>>()
    };
    push.sets.iter().enumerate().flat_map(cut).filter(|part| part.samples > 0).collect()
}

/// Two halves of what was refused, by samples: first by time, then by series. `None`: it is one
/// sample.
pub(super) fn halves(parts: &[Part]) -> Option<(Vec<Part>, Vec<Part>)> {
    let half = parts.iter().map(|part| part.samples).sum::<usize>().div_ceil(2);
    let (mut first, mut second, mut taken) = (Vec::new(), Vec::new(), 0);
    for part in parts {
        if taken >= half {
            second.push(part.clone());
        } else if parts.len() == 1 {
            let middle = middle(part)?;
            first.push(Part::new(&part.of, part.set, part.series.start..middle));
            second.push(Part::new(&part.of, part.set, middle..part.series.end));
        } else if taken > 0 && taken + part.samples > half {
            second.push(part.clone());
            taken = half;
        } else {
            first.push(part.clone());
        }
        taken += part.samples;
    }
    if second.is_empty() {
        // One heavy part stands last: it goes alone.
        second.extend(first.pop());
    }
    (!first.is_empty() && !second.is_empty()).then_some((first, second))
}

/// The series before which half of its samples stand.
fn middle(part: &Part) -> Option<usize> {
    let half = (part.samples > 1).then_some(part.samples / 2)?;
    let there = part.values().iter().enumerate().filter(|(_, value)| !is_absent(**value));
    there.map(|(at, _)| part.series.start + at).nth(half)
}

/// The body of a request, compressed.
pub(super) fn encode(parts: &[Part]) -> Vec<u8> {
    let bytes = request(parts).encode_to_vec();
    // It fails only for what has more than 4 GiB.
    snap::raw::Encoder::new().compress_vec(&bytes).unwrap_or_default()
}

/// Each series once, its samples in the order of time, one a moment. They do not come so: a live push
/// that was under way for long comes behind late ones that are newer, and what a broken connection
/// left undecided comes again over the next one, with other declarations of the same series.
fn request(parts: &[Part]) -> WriteRequest {
    let mut timeseries: Vec<TimeSeries> = Vec::new();
    let mut places: HashMap<&[u8], usize> = HashMap::new();
    for part in parts {
        let Some(Vector { declared, .. }) = part.of.sets.get(part.set) else { continue };
        let mut family = 0;
        for (series, value) in part.series.clone().zip(part.values()) {
            if is_absent(*value) {
                continue;
            }
            while family < declared.claims.len() && declared.series_of(family).end <= series {
                family += 1;
            }
            let Some(claim) = declared.claims.get(family) else { continue };
            let prefix = declared.prefix(series);
            let place = *places.entry(prefix).or_insert_with(|| {
                timeseries.push(TimeSeries { labels: labels(prefix, claim.kind), samples: Vec::new() });
                timeseries.len() - 1
            });
            // The mark for what is not there is what Prometheus takes for the end of a series.
            let value = if part.of.is_end { ABSENT } else { *value };
            if let Some(place) = timeseries.get_mut(place) {
                place.samples.push(Sample { value, timestamp: part.of.at_ms });
            }
        }
    }
    timeseries.iter_mut().for_each(|series| in_order(&mut series.samples));
    WriteRequest { timeseries }
}

/// Of several of one moment the last stays.
fn in_order(samples: &mut Vec<Sample>) {
    if samples.is_sorted_by(|a, b| a.timestamp < b.timestamp) {
        return;
    }
    samples.sort_by_key(|sample| sample.timestamp);
    samples.dedup_by(|next, kept| {
        let is_same = next.timestamp == kept.timestamp;
        if is_same {
            kept.value = next.value;
        }
        is_same
    });
}

#[cfg(test)]
pub(super) mod tests {
    use protocol::Labels;
    use protocol::frame::{Declare, Family, MetricType, Series};

    use super::*;
    use crate::fleet::declared::{Builder, Identity};

    /// A set of a gauge with so many series.
    pub(crate) fn declared(series: usize) -> Arc<Declared> {
        let identity = Identity::new(&AgentName::parse("a").unwrap(), "node", &Labels::default());
        let mut builder = Builder::new("s", identity);
        let series = (0..series)
            .map(|n| Series { suffix: String::new(), labels: Labels::of(&[("n", &n.to_string())]) })
            .collect();
        let family = |name: &str, series| Family {
            name: name.into(),
            kind: MetricType::Gauge,
            help: String::new(),
            unit: String::new(),
            series,
        };
        let families = vec![family("x", series)];
        builder.add(&Declare { set: 1, name: "s".into(), job: None, offset: 0, total: 0, families }).unwrap();
        Arc::new(builder.finish().unwrap())
    }

    pub(crate) fn push(at_ms: i64, declared: &Arc<Declared>, values: Vec<f64>) -> Moments {
        let sets = vec![Vector { declared: Arc::clone(declared), values: Arc::new(values) }];
        let agent = AgentName::parse("a").unwrap();
        Moments { agent, at_ms, sets, is_end: false, pending: None, may_wait: false, room: Held::default() }
    }

    fn count(parts: &[Part]) -> usize {
        parts.iter().map(|part| part.samples).sum()
    }

    #[test]
    fn a_long_push_is_cut_and_holds_what_is_there() {
        let set = declared(12_001);
        let mut values = vec![1.0; 12_001];
        values[3] = ABSENT;
        values[12_000] = ABSENT;
        let parts = parts(push(7, &set, values));
        assert_eq!(parts.iter().map(|part| part.samples).collect::<Vec<_>>(), [4_999, 5_000, 2_000]);
    }

    #[test]
    fn samples_of_one_series_stand_together_in_the_order_of_time() {
        let set = declared(2);
        let mut all = parts(push(1, &set, vec![1.0, 2.0]));
        all.extend(parts(push(2, &set, vec![3.0, ABSENT])));
        all.extend(parts(Moments { is_end: true, ..push(3, &set, vec![0.0, ABSENT]) }));
        let bytes = snap::raw::Decoder::new().decompress_vec(&encode(&all)).unwrap();
        let read = WriteRequest::decode(bytes.as_slice()).unwrap();
        let samples = |at: usize| -> Vec<_> {
            read.timeseries[at].samples.iter().map(|sample| (sample.timestamp, sample.value.to_bits())).collect()
        };
        assert_eq!(samples(0), [(1, 1.0_f64.to_bits()), (2, 3.0_f64.to_bits()), (3, 0x7ff0_0000_0000_0002)]);
        assert_eq!((samples(1), read.timeseries.len()), (vec![(1, 2.0_f64.to_bits())], 2));
    }

    #[test]
    fn a_series_stands_once_in_order_whatever_came_again_and_over_which_connection() {
        let (before, again) = (declared(1), declared(1));
        let pushed = [(&before, 30, 3.0), (&before, 40, 4.0), (&before, 10, 1.0), (&again, 20, 2.0), (&again, 40, 4.5)];
        let all: Vec<Part> = pushed.iter().flat_map(|(set, at, value)| parts(push(*at, set, vec![*value]))).collect();
        let bytes = snap::raw::Decoder::new().decompress_vec(&encode(&all)).unwrap();
        let read = WriteRequest::decode(bytes.as_slice()).unwrap();
        let samples: Vec<Vec<_>> = read
            .timeseries
            .iter()
            .map(|series| series.samples.iter().map(|sample| (sample.timestamp, sample.value)).collect())
            .collect();
        assert_eq!(samples, [[(10, 1.0), (20, 2.0), (30, 3.0), (40, 4.5)]]);
    }

    #[test]
    fn halves_lose_nothing_and_come_to_an_end() {
        let set = declared(5);
        let mut all: Vec<Part> = (0..3).flat_map(|at| parts(push(at, &set, vec![1.0; 5]))).collect();
        all.extend(parts(push(9, &set, vec![1.0, ABSENT, ABSENT, ABSENT, ABSENT])));
        let (mut stack, mut single, mut steps) = (vec![all], 0, 0);
        while let Some(parts) = stack.pop() {
            steps += 1;
            match halves(&parts) {
                Some((first, second)) => {
                    assert_eq!(count(&first) + count(&second), count(&parts));
                    assert!(!first.is_empty() && !second.is_empty());
                    stack.extend([first, second]);
                }
                None => {
                    assert_eq!(count(&parts), 1);
                    single += 1;
                }
            }
        }
        assert_eq!((single, steps), (16, 31));
    }
}
