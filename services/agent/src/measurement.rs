//! One moment's measurement: what the collectors hand to the uplink.

use std::sync::Arc;

use crate::clock::Moment;
use crate::collect::batch::Layout;

/// What was measured at one moment.
#[derive(Debug, Default)]
pub struct Measurement {
    /// Its number in the live stream.
    pub seq: u64,
    /// When.
    pub taken: Option<Moment>,
    /// Samples that found no room when it was pushed.
    pub left_out: u64,
    /// What each set has to say.
    pub readings: Vec<Reading>,
    /// The values of all readings.
    values: Vec<f64>,
}

/// What one set has to say.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Its name.
    pub set: &'static str,
    /// Changes when the set is measured anew: slow sets stand in many measurements with the same
    /// values, which need not be sent again.
    pub version: u64,
    /// The result.
    pub outcome: Outcome,
}

/// How the reading of a set ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// With values, from this place on in the measurement's.
    Values {
        /// What they are the values of.
        layout: Arc<Layout>,
        /// Where they begin.
        from: usize,
    },
    /// Without; why.
    Failed(Arc<str>),
}

impl Measurement {
    /// Begins anew, with the room that there is.
    pub fn begin(&mut self, seq: u64, taken: Moment) {
        self.seq = seq;
        self.taken = Some(taken);
        self.left_out = 0;
        self.readings.clear();
        self.values.clear();
    }

    /// Adds a set that was measured.
    pub fn add(&mut self, set: &'static str, version: u64, layout: &Arc<Layout>, values: &[f64]) {
        let outcome = Outcome::Values { layout: Arc::clone(layout), from: self.values.len() };
        self.values.extend_from_slice(values);
        self.readings.push(Reading { set, version, outcome });
    }

    /// Adds a set that was not.
    pub fn add_failed(&mut self, set: &'static str, version: u64, reason: &Arc<str>) {
        self.readings.push(Reading { set, version, outcome: Outcome::Failed(Arc::clone(reason)) });
    }

    /// The values of a reading.
    #[must_use]
    pub fn values(&self, layout: &Layout, from: usize) -> &[f64] {
        self.values.get(from..from + layout.total()).unwrap_or_default()
    }
}
