//! `node_bcache_*` from `/sys/fs/bcache/<uuid>`: sets of caches, the disks behind them (`bdev*`) and
//! the caches themselves (`cache*`).
//!
//! Sizes are written for people, as `1.5k`: with a digit after the point, and units of 1024.
//! `priority_stats` is not read, as that takes the kernel long.

use std::path::Path;
use std::time::Duration;

use protocol::frame::MetricType::{self, Counter, Gauge};

use super::Collector;
use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::Roots;
use super::sysfs::{devices, parsed, text};

/// A file of one number: its name, metric, type and what it means, and by what it is divided.
type File = (&'static str, &'static str, MetricType, &'static str, f64);

/// Most sets that are shown, and most disks and caches of one.
const SETS_MAX: usize = 64;
const DISKS_MAX: usize = 256;

/// The files of a set.
const OF_A_SET: &[File] = &[
    (
        "average_key_size",
        "node_bcache_average_key_size_sectors",
        Gauge,
        "Data for each key of the tree, in sectors.",
        1.0,
    ),
    ("btree_cache_size", "node_bcache_btree_cache_size_bytes", Gauge, "Memory that the tree takes, in bytes.", 1.0),
    (
        "cache_available_percent",
        "node_bcache_cache_available_percent",
        Gauge,
        "Share of the cache that holds nothing still to be written to a disk.",
        1.0,
    ),
    ("congested", "node_bcache_congested", Gauge, "How busy the cache is.", 1.0),
    ("root_usage_percent", "node_bcache_root_usage_percent", Gauge, "How full the root of the tree is.", 1.0),
    ("tree_depth", "node_bcache_tree_depth", Gauge, "Depth of the tree.", 1.0),
    (
        "internal/active_journal_entries",
        "node_bcache_active_journal_entries",
        Gauge,
        "Entries of the journal that the tree does not have yet.",
        1.0,
    ),
    ("internal/btree_nodes", "node_bcache_btree_nodes", Gauge, "Nodes of the tree.", 1.0),
    (
        "internal/btree_read_average_duration_us",
        "node_bcache_btree_read_average_duration_seconds",
        Gauge,
        "How long it takes to read a node of the tree, on average.",
        1e6,
    ),
    (
        "internal/cache_read_races",
        "node_bcache_cache_read_races_total",
        Counter,
        "Data that was gone from the cache when it had been read.",
        1.0,
    ),
];
/// The files of a disk behind a cache.
const OF_A_DISK: &[File] = &[
    (
        "dirty_data",
        "node_bcache_dirty_data_bytes",
        Gauge,
        "Data in the cache that is not on the disk yet, in bytes.",
        1.0,
    ),
    (
        "stats_total/bypassed",
        "node_bcache_bypassed_bytes_total",
        Counter,
        "Bytes read and written past the cache.",
        1.0,
    ),
    ("stats_total/cache_hits", "node_bcache_cache_hits_total", Counter, "Requests that the cache answered.", 1.0),
    (
        "stats_total/cache_misses",
        "node_bcache_cache_misses_total",
        Counter,
        "Requests that the cache could not answer.",
        1.0,
    ),
    (
        "stats_total/cache_bypass_hits",
        "node_bcache_cache_bypass_hits_total",
        Counter,
        "Requests past the cache that it could have answered.",
        1.0,
    ),
    (
        "stats_total/cache_bypass_misses",
        "node_bcache_cache_bypass_misses_total",
        Counter,
        "Requests past the cache that it could not have answered.",
        1.0,
    ),
    (
        "stats_total/cache_miss_collisions",
        "node_bcache_cache_miss_collisions_total",
        Counter,
        "Data read from the disk that was written in the meantime.",
        1.0,
    ),
    ("stats_total/cache_readaheads", "node_bcache_cache_readaheads_total", Counter, "Readings ahead.", 1.0),
];
/// The files of a cache.
const OF_A_CACHE: &[File] = &[
    ("io_errors", "node_bcache_io_errors", Gauge, "Errors of the device; old ones count less and less.", 1.0),
    ("metadata_written", "node_bcache_metadata_written_bytes_total", Counter, "Bytes written that are no data.", 1.0),
    ("written", "node_bcache_written_bytes_total", Counter, "Bytes of data written.", 1.0),
];
/// The lines of `writeback_rate_debug` of a disk.
const OF_WRITEBACK: &[(&str, &str, &str)] = &[
    ("target", "node_bcache_dirty_target_bytes", "How much data may wait to be written to the disk, in bytes."),
    ("rate", "node_bcache_writeback_rate", "How fast waiting data is written, in bytes per second."),
    (
        "proportional",
        "node_bcache_writeback_rate_proportional_term",
        "The part of the rate that follows how much waits.",
    ),
    ("integral", "node_bcache_writeback_rate_integral_term", "The part of the rate that follows how long it waits."),
    ("change", "node_bcache_writeback_change", "The last change of the rate."),
];

/// The host's disks with caches.
#[derive(Debug)]
pub(super) struct Bcache;

impl Collector for Bcache {
    fn name(&self) -> &'static str {
        "bcache"
    }

    fn source(&self) -> &'static str {
        "`/sys/fs/bcache/*-*/`"
    }

    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(15))
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let base = roots.sys.join("fs/bcache");
        // Beside them there are files to register devices with.
        let is_uuid = |name: &str| name.contains('-');
        for name in devices(&base, "sets of bcache", SETS_MAX, is_uuid, &mut faults) {
            read_set(&base.join(&name), ("uuid", &name), out, &mut faults);
        }
        faults.into_result()
    }
}

fn read_set(at: &Path, uuid: (&str, &str), out: &mut Batch, faults: &mut Faults) {
    read_files(at, OF_A_SET, &[uuid], out, faults);
    let numbered = |name: &str, stem: &str| {
        name.strip_prefix(stem).and_then(|rest| rest.bytes().next()).is_some_and(|byte| byte.is_ascii_digit())
    };
    for disk in devices(at, "disks of a bcache", DISKS_MAX, |name| numbered(name, "bdev"), faults) {
        let labels = [uuid, ("backing_device", disk.as_str())];
        read_files(&at.join(&disk), OF_A_DISK, &labels, out, faults);
        if let Some(text) = text(&at.join(&disk).join("writeback_rate_debug"), faults) {
            report_writeback(&text, &labels, out, faults);
        }
    }
    for cache in devices(at, "caches of a bcache", DISKS_MAX, |name| numbered(name, "cache"), faults) {
        read_files(&at.join(&cache), OF_A_CACHE, &[uuid, ("cache_device", &cache)], out, faults);
    }
}

fn read_files(at: &Path, files: &[File], labels: &[(&str, &str)], out: &mut Batch, faults: &mut Faults) {
    for (file, name, kind, help, divisor) in files {
        if let Some(value) = parsed(&at.join(file), faults, for_people) {
            out.push(*kind, name, help, "", labels, value / divisor);
        }
    }
}

/// Lines such as `rate: 1.5M/sec`.
fn report_writeback(text: &str, labels: &[(&str, &str)], out: &mut Batch, faults: &mut Faults) {
    for line in text.lines() {
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        let Some((_, name, help)) = OF_WRITEBACK.iter().find(|(known, ..)| *known == key) else { continue };
        let value = value.trim();
        match for_people(value.strip_suffix("/sec").unwrap_or(value)) {
            Some(value) => out.gauge(name, help, labels, value),
            None => faults.note(CollectError::malformed("writeback_rate_debug", line)),
        }
    }
}

/// Reads a whole number, or one such as `-1.5k`. Very old kernels write up to ten tenths.
fn for_people(text: &str) -> Option<f64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => (-1.0, text),
        None => (1.0, text),
    };
    let power = text.chars().next_back().and_then(|unit| "kMGTPEZY".find(unit));
    let (number, unit) = match power {
        Some(power) => (text.get(..text.len() - 1)?, 1024_f64.powi(i32::try_from(power).ok()? + 1)),
        None => (text, 1.0),
    };
    let (units, tenths) = number.split_once('.').unwrap_or((number, "0"));
    let (units, tenths): (u64, u8) = (units.parse().ok()?, tenths.parse().ok()?);
    #[expect(clippy::cast_precision_loss, reason = "samples are f64; numbers beyond 2^53 are rounded")]
    let value = units as f64 + f64::from(tenths) / 10.0;
    Some(sign * (value * unit).floor())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    #[test]
    fn numbers_for_people() {
        let numbers = [
            ("0", 0.0),
            ("99", 99.0),
            ("0.5k", 512.0),
            ("1.5k", 1536.0),
            ("-10.2M", -10_695_475.0),
            ("1.10k", 2048.0),
            ("2.0G", 2_147_483_648.0),
            ("3.0Y", 3.0 * 1024_f64.powi(8)),
        ];
        for (text, number) in numbers {
            assert_eq!(for_people(text), Some(number), "{text}");
        }
        for text in ["", "k", "-", "1.k", ".5k", "1,5k", "1.5x", "1.5µ", "1.999k"] {
            assert_eq!(for_people(text), None, "{text}");
        }
    }

    #[test]
    fn writing_back() {
        let text = "rate:\t\t1.1M/sec\ndirty:\t\t20.3G\ntarget:\t\t20.4G\nproportional:\t427.5k\nintegral:\t-\nchange:\t\t-321.5k/sec\nnext io:\t17ms\n";
        check(
            |out, faults| report_writeback(text, &[("uuid", "a-b")], out, faults),
            "node_bcache_writeback_rate{uuid=\"a-b\"} 1153433\n\
             node_bcache_dirty_target_bytes{uuid=\"a-b\"} 21904333209\n\
             node_bcache_writeback_rate_proportional_term{uuid=\"a-b\"} 437760\n\
             node_bcache_writeback_change{uuid=\"a-b\"} -329216\n",
            Some("integral:\\t-"),
        );
    }
}
