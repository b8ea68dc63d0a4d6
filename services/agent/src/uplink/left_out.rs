//! How many samples of a live push were lost because the aggregator grants no room for them. Pure.

use std::collections::HashMap;

use super::link::Unsent;
use crate::measurement::{Measurement, Outcome};
use crate::spool::present;

/// Which reading of each set was pushed last, over all connections.
#[derive(Debug, Default)]
pub(super) struct LeftOut(HashMap<&'static str, u64>);

impl LeftOut {
    /// Samples of a push for which there was no room, of what it has that was measured anew: a slow
    /// set stands in many pushes with the same reading, and is lost once.
    pub(super) fn of(&mut self, measurement: &Measurement, unsent: &[Unsent]) -> u64 {
        let mut samples = 0;
        for reading in &measurement.readings {
            let Outcome::Values { layout, from } = &reading.outcome else { continue };
            if self.0.insert(reading.set, reading.version) == Some(reading.version) {
                continue;
            }
            let of_set = unsent.iter().filter(|unsent| unsent.set == reading.set && unsent.why == "limit");
            let series: usize = of_set.map(|unsent| unsent.series).sum();
            // A series without a value is no sample.
            samples += present(measurement.values(layout, *from)).min(series as u64);
        }
        samples
    }
}

#[cfg(test)]
mod tests {
    use protocol::ABSENT;

    use super::*;
    use crate::clock::Moment;
    use crate::collect::batch::Batch;

    fn unsent(set: &'static str, series: usize, why: &'static str) -> Unsent {
        Unsent { set, family: None, series, why }
    }

    #[test]
    fn a_reading_is_lost_once_and_only_for_want_of_room() {
        let mut batch = Batch::new();
        batch.begin();
        for (at, value) in [1.0, 2.0, ABSENT].into_iter().enumerate() {
            batch.gauge("x", "", &[("at", &at.to_string())], value);
        }
        batch.finish(true);
        let push = |of: &[(&'static str, u64)]| {
            let mut measurement = Measurement::default();
            measurement.begin(1, Moment { wall_ms: 1, mono_ms: 1 });
            for (set, version) in of {
                measurement.add(set, *version, batch.layout(), batch.values());
            }
            measurement
        };
        let mut left_out = LeftOut::default();
        let all = [unsent("slow", 3, "limit"), unsent("fast", 1, "limit"), unsent("odd", 3, "line")];
        assert_eq!(left_out.of(&push(&[("slow", 1), ("fast", 1), ("odd", 1), ("sent", 1)]), &all), 2 + 1);
        assert_eq!(left_out.of(&push(&[("slow", 1), ("fast", 2), ("odd", 2), ("sent", 2)]), &all), 1);
        assert_eq!(left_out.of(&push(&[("slow", 2), ("fast", 3)]), &all[..1]), 2);
        assert_eq!(left_out.of(&push(&[("sent", 2)]), &[unsent("sent", 3, "limit")]), 0, "it was sent before");
    }
}
