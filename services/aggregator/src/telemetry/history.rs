//! What the history says about itself.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::Maker;
use super::table::{
    HISTORY_BYTES, HISTORY_COMMIT_SECONDS, HISTORY_DAMAGE, HISTORY_DURABILITY, HISTORY_EXPIRED, HISTORY_FREE,
    HISTORY_HIDDEN, HISTORY_KEYS, HISTORY_KEYS_LIMIT, HISTORY_OLDEST, HISTORY_PARTITIONS, HISTORY_POINTS,
    HISTORY_READS_ABORTED, HISTORY_REFUSED, HISTORY_SYNCS, HISTORY_UNSYNCED_ACKS, HISTORY_UP,
};

/// The metrics of the history. Where there is none they stay at zero.
#[derive(Debug)]
pub struct History {
    /// 1: it is open, and the last batch, if there was one, was stored.
    pub(crate) is_up: IntGauge,
    durability: [IntGauge; 2],
    /// Room left on its disk.
    pub(crate) free: IntGauge,
    /// Room that it takes.
    pub(crate) bytes: IntGauge,
    /// Timestamp of its oldest point.
    pub(crate) oldest: IntGauge,
    /// Syncs before points were acknowledged.
    pub(crate) syncs: IntCounter,
    put_series_hidden: IntGauge,
    /// Live pushes that were acknowledged although their vital signs may not be stored.
    pub(crate) unsynced_acks: IntCounter,
    points: [IntCounter; 2],
    commit_seconds: Histogram,
    refused: IntCounterVec,
    damage: IntCounterVec,
    expired: IntCounter,
    reads_aborted: IntCounterVec,
    partitions: IntGaugeVec,
    keys: IntGaugeVec,
    keys_limit: IntGauge,
}

impl History {
    pub(super) fn new(make: &Maker<'_>) -> prometheus::Result<Self> {
        let points = make.counters(&HISTORY_POINTS)?;
        let durability = make.gauges(&HISTORY_DURABILITY)?;
        let history = Self {
            is_up: make.gauge(&HISTORY_UP)?,
            durability: ["sync", "os"].map(|mode| durability.with_label_values(&[mode])),
            free: make.gauge(&HISTORY_FREE)?,
            bytes: make.gauge(&HISTORY_BYTES)?,
            oldest: make.gauge(&HISTORY_OLDEST)?,
            syncs: make.counter(&HISTORY_SYNCS)?,
            put_series_hidden: make.gauge(&HISTORY_HIDDEN)?,
            unsynced_acks: make.counter(&HISTORY_UNSYNCED_ACKS)?,
            points: ["put", "vital"].map(|space| points.with_label_values(&[space])),
            commit_seconds: make.histogram(
                &HISTORY_COMMIT_SECONDS,
                &[0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0],
            )?,
            refused: make.counters(&HISTORY_REFUSED)?,
            damage: make.counters(&HISTORY_DAMAGE)?,
            expired: make.counter(&HISTORY_EXPIRED)?,
            reads_aborted: make.counters(&HISTORY_READS_ABORTED)?,
            partitions: make.gauges(&HISTORY_PARTITIONS)?,
            keys: make.gauges(&HISTORY_KEYS)?,
            keys_limit: make.gauge(&HISTORY_KEYS_LIMIT)?,
        };
        for reason in ["disk_full", "unavailable", "too_many_keys", "busy", "closed"] {
            let _zero = history.refused.with_label_values(&[reason]);
        }
        for what in ["partition", "block", "journal"] {
            let _zero = history.damage.with_label_values(&[what]);
        }
        for reason in ["busy", "slow", "client", "failed"] {
            let _zero = history.reads_aborted.with_label_values(&[reason]);
        }
        Ok(history)
    }

    /// It is open, and says when points are acknowledged.
    pub(crate) fn opened(&self, is_synced: bool) {
        self.is_up.set(1);
        let [sync, os] = &self.durability;
        sync.set(i64::from(is_synced));
        os.set(i64::from(!is_synced));
    }

    /// A batch was stored.
    pub(crate) fn stored(&self, puts: u64, vitals: u64, took: Duration) {
        let [put, vital] = &self.points;
        put.inc_by(puts);
        vital.inc_by(vitals);
        self.commit_seconds.observe(took.as_secs_f64());
    }

    /// Points were not stored.
    pub(crate) fn refused(&self, reason: &'static str, points: u64) {
        self.refused.with_label_values(&[reason]).inc_by(points);
    }

    /// Damage was met.
    pub(crate) fn damaged(&self, what: &'static str, places: u64) {
        if places > 0 {
            self.damage.with_label_values(&[what]).inc_by(places);
        }
    }

    /// An answer over HTTP was not sent whole.
    pub(crate) fn read_aborted(&self, reason: &'static str) {
        self.reads_aborted.with_label_values(&[reason]).inc();
    }

    /// How many were not, for this reason.
    #[cfg(test)]
    pub(crate) fn reads_aborted(&self, reason: &'static str) -> u64 {
        self.reads_aborted.with_label_values(&[reason]).get()
    }

    /// All damage that was met.
    #[cfg(test)]
    pub(crate) fn damage_total(&self) -> u64 {
        ["partition", "block", "journal"].iter().map(|what| self.damage.with_label_values(&[what]).get()).sum()
    }

    /// A partition's time was over.
    pub(crate) fn expired(&self) {
        self.expired.inc();
    }

    /// How many keys are not on the page that were put a short while ago.
    pub(crate) fn set_hidden(&self, keys: usize) {
        self.put_series_hidden.set(super::level(keys));
    }

    /// How many partitions there are.
    pub(crate) fn set_partitions(&self, raw: usize, sealed: usize) {
        self.partitions.with_label_values(&["raw"]).set(super::level(raw));
        self.partitions.with_label_values(&["sealed"]).set(super::level(sealed));
    }

    /// How many keys there are, put and vital, and how many there may be.
    pub(crate) fn set_keys(&self, [puts, vitals]: [usize; 2], max: usize) {
        self.keys.with_label_values(&["put"]).set(super::level(puts));
        self.keys.with_label_values(&["vital"]).set(super::level(vitals));
        self.keys_limit.set(super::level(max));
    }
}
