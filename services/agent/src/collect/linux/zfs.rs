//! `node_zfs_*` from `/proc/spl/kstat/zfs`: what ZFS counts of itself, of its pools and of the
//! datasets in them.
//!
//! Which fields there are depends on the version of ZFS, so the metrics have their names. What they
//! mean only ZFS knows, so most are untyped. A file of fields has a line of the kstat itself, a head
//! `name type data`, and a line for each field; whole numbers are of type 4, or 3 with a sign, and
//! fields of other types are not shown.

use std::path::Path;
use std::time::Duration;

use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::Roots;
use super::sysfs::{devices, long};
use super::{Collector, whole};

/// The files of the whole of ZFS, and how the names of their fields begin.
const FILES: [(&str, &str); 11] = [
    ("abdstats", "node_zfs_abd_"),
    ("arcstats", "node_zfs_arc_"),
    ("dbufstats", "node_zfs_dbuf_"),
    ("dmu_tx", "node_zfs_dmu_tx_"),
    ("dnodestats", "node_zfs_dnode_"),
    ("fm", "node_zfs_fm_"),
    ("vdev_cache_stats", "node_zfs_vdev_cache_"),
    ("vdev_mirror_stats", "node_zfs_vdev_mirror_"),
    ("xuio_stats", "node_zfs_xuio_"),
    ("zfetchstats", "node_zfs_zfetch_"),
    ("zil", "node_zfs_zil_"),
];
/// The states of a pool.
const STATES: [&str; 7] = ["online", "degraded", "faulted", "offline", "removed", "unavail", "suspended"];
/// Most pools, datasets of all of them together, and fields of one file that are shown.
const POOLS_MAX: usize = 64;
const DATASETS_MAX: usize = 1000;
const FIELDS_MAX: usize = 512;

/// The host's ZFS.
#[derive(Debug)]
pub(super) struct Zfs;

impl Collector for Zfs {
    fn name(&self) -> &'static str {
        "zfs"
    }

    fn source(&self) -> &'static str {
        "`/proc/spl/kstat/zfs/`"
    }

    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(15))
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let base = roots.proc.join("spl/kstat/zfs");
        if !base.is_dir() {
            return Ok(());
        }
        for (file, stem) in FILES {
            if let Some(text) = long(&base.join(file), &mut faults) {
                report_fields(file, stem, &[], &text, out, &mut faults);
            }
        }
        let mut shown = 0;
        let is_pool = |name: &str| base.join(name).is_dir();
        for pool in devices(&base, "ZFS pools", POOLS_MAX, is_pool, &mut faults) {
            let at = base.join(&pool);
            if let Some(state) = long(&at.join("state"), &mut faults) {
                report_state(&pool, &state, out);
            }
            if let Some(io) = long(&at.join("io"), &mut faults) {
                report_io(&pool, &io, out, &mut faults);
            }
            shown += read_datasets(&at, &pool, DATASETS_MAX.saturating_sub(shown), out, &mut faults);
        }
        faults.into_result()
    }
}

/// Shows the datasets of a pool, at most `room` of them, and says how many those are.
fn read_datasets(at: &Path, pool: &str, room: usize, out: &mut Batch, faults: &mut Faults) -> usize {
    const WHAT: &str = "ZFS datasets";
    let is_dataset = |name: &str| name.starts_with("objset-");
    let files = devices(at, WHAT, DATASETS_MAX, is_dataset, faults);
    if files.len() > room {
        faults.note(CollectError::TooMany { what: WHAT, max: DATASETS_MAX });
    }
    for file in files.iter().take(room) {
        let Some(text) = long(&at.join(file), faults) else { continue };
        let Some(dataset) = fields(&text).find(|(name, _, _)| *name == "dataset_name").map(|(_, _, value)| value)
        else {
            faults.note(CollectError::malformed(file, &text));
            continue;
        };
        let labels = [("zpool", pool), ("dataset", dataset)];
        report_fields(file, "node_zfs_zpool_dataset_", &labels, &text, out, faults);
    }
    files.len().min(room)
}

/// The lines after the head: a field's name, its type and its value. A value may have blanks in it.
fn fields(text: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let lines = text.lines().skip_while(|line| !line.split_ascii_whitespace().eq(["name", "type", "data"]));
    lines.skip(1).filter_map(|line| {
        let (name, rest) = line.split_once(' ')?;
        let (kind, value) = rest.trim_start().split_once(' ')?;
        Some((name, kind, value.trim()))
    })
}

fn report_fields(file: &str, stem: &str, labels: &[(&str, &str)], text: &str, out: &mut Batch, faults: &mut Faults) {
    let mut metric = String::new();
    let mut found = fields(text).peekable();
    if found.peek().is_none() {
        faults.note(CollectError::malformed(file, text));
    }
    for (place, (name, kind, value)) in found.enumerate() {
        if place == FIELDS_MAX {
            return faults.note(CollectError::TooMany { what: "fields of ZFS", max: FIELDS_MAX });
        }
        let number = match kind {
            "3" => with_sign(value),
            "4" => whole(value),
            _ => continue,
        };
        match number {
            Some(number) => out.untyped(named(&mut metric, stem, name), "A field that ZFS counts.", labels, number),
            None => faults.note(CollectError::malformed(file, value)),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "samples are f64; numbers beyond 2^53 are rounded")]
fn with_sign(word: &str) -> Option<f64> {
    word.parse::<i64>().ok().map(|number| number as f64)
}

/// What the metric of a field is called; what cannot stand in such a name becomes `_`.
fn named<'a>(metric: &'a mut String, stem: &str, field: &str) -> &'a str {
    metric.clear();
    metric.push_str(stem);
    metric.extend(field.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
    metric
}

fn report_state(pool: &str, state: &str, out: &mut Batch) {
    for known in STATES {
        let is_it = if known.eq_ignore_ascii_case(state) { 1.0 } else { 0.0 };
        let help = "1 for the state that a pool is in.";
        out.gauge("node_zfs_zpool_state", help, &[("zpool", pool), ("state", known)], is_it);
    }
}

/// The file `io` of a pool, until ZFS 2.0: a line of names and one of numbers.
fn report_io(pool: &str, text: &str, out: &mut Batch, faults: &mut Faults) {
    let mut metric = String::new();
    let mut lines = text.lines().skip_while(|line| !line.starts_with("nread"));
    let names = lines.next().unwrap_or_default().split_ascii_whitespace().take(FIELDS_MAX);
    let mut numbers = lines.next().unwrap_or_default().split_ascii_whitespace();
    for name in names {
        let Some(number) = numbers.next().and_then(whole) else {
            return faults.note(CollectError::malformed("io", text));
        };
        let help = "A field that ZFS counts of a pool.";
        out.untyped(named(&mut metric, "node_zfs_zpool_", name), help, &[("zpool", pool)], number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    const HEAD: &str = "5 1 0x01 3 144 81 90\nname                            type data\n";

    #[test]
    fn fields_give_names() {
        let text =
            format!("{HEAD}hits  4    18446744073709551615\nneed-free 3  -5\nword  7    12\nbad  4  x\nlast   4   0\n");
        check(
            |out, faults| report_fields("arcstats", "node_zfs_arc_", &[], &text, out, faults),
            "node_zfs_arc_hits 18446744073709552000\nnode_zfs_arc_need_free -5\nnode_zfs_arc_last 0\n",
            Some("arcstats: cannot make sense of \"x\""),
        );
        let empty = |out: &mut Batch, faults: &mut Faults| report_fields("zil", "z_", &[], "5 1\n", out, faults);
        check(empty, "", Some("zil: cannot make sense of"));
    }

    #[test]
    fn fields_are_bounded() {
        let text = (0..FIELDS_MAX + 2).fold(HEAD.to_owned(), |text, n| text + &format!("f{n} 4 1\n"));
        let (mut out, mut faults) = (Batch::new(), Faults::default());
        report_fields("zil", "z_", &[], &text, &mut out, &mut faults);
        out.finish(true);
        assert_eq!(out.layout().total(), FIELDS_MAX);
        assert!(faults.into_result().unwrap_err().to_string().contains("more than 512"));
    }

    #[test]
    fn pools() {
        let states: String = STATES
            .iter()
            .map(|s| format!("node_zfs_zpool_state{{zpool=\"p\",state=\"{s}\"}} {}\n", u8::from(*s == "degraded")))
            .collect();
        check(|out, _| report_state("p", "DEGRADED", out), &states, None);
        let io = "12 3 0x00 1 80 7 3\nnread    nwritten reads\n1884160  3206144  22\n";
        check(
            |out, faults| report_io("p", io, out, faults),
            "node_zfs_zpool_nread{zpool=\"p\"} 1884160\nnode_zfs_zpool_nwritten{zpool=\"p\"} 3206144\nnode_zfs_zpool_reads{zpool=\"p\"} 22\n",
            None,
        );
    }

    #[test]
    fn datasets_of_all_pools_are_bounded() {
        let root = tempfile::tempdir().unwrap();
        for n in 0..3 {
            std::fs::write(
                root.path().join(format!("objset-0x{n}")),
                format!("{HEAD}dataset_name 7 a b{n}\nreads 4 {n}\n"),
            )
            .unwrap();
        }
        check(
            |out, faults| assert_eq!(read_datasets(root.path(), "p", 2, out, faults), 2),
            "node_zfs_zpool_dataset_reads{zpool=\"p\",dataset=\"a b0\"} 0\nnode_zfs_zpool_dataset_reads{zpool=\"p\",dataset=\"a b1\"} 1\n",
            Some("too_many: ZFS datasets: more than 1000"),
        );
    }
}
