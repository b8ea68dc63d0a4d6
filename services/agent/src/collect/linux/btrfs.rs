//! `node_btrfs_*` from `/sys/fs/btrfs/<uuid>`, a directory for each mounted Btrfs.
//!
//! What only a call on the mounted file system tells (errors and free space of its devices) is not
//! shown: that call needs rights that an agent does not have.

use std::path::Path;
use std::time::Duration;

use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::Roots;
use super::sysfs::{count, devices, text};
use super::{Collector, whole};

/// Bytes of a sector, whatever the device's own are.
const SECTOR: f64 = 512.0;
/// Most file systems that are shown, and most devices of one.
const FILE_SYSTEMS_MAX: usize = 128;
const DEVICES_MAX: usize = 256;
/// What a file system stores, and in how many layouts at once it can.
const KINDS: [&str; 3] = ["data", "metadata", "system"];
const LAYOUTS_MAX: usize = 16;

/// The Btrfs file systems of the host.
#[derive(Debug)]
pub(super) struct Btrfs;

impl Collector for Btrfs {
    fn name(&self) -> &'static str {
        "btrfs"
    }

    fn source(&self) -> &'static str {
        "`/sys/fs/btrfs/*-*/`"
    }

    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(15))
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let base = roots.sys.join("fs/btrfs");
        // Beside them there is `features`.
        let is_uuid = |name: &str| name.contains('-');
        for name in devices(&base, "Btrfs file systems", FILE_SYSTEMS_MAX, is_uuid, &mut faults) {
            read_one(&base.join(&name), &name, out, &mut faults);
        }
        faults.into_result()
    }
}

fn read_one(at: &Path, name: &str, out: &mut Batch, faults: &mut Faults) {
    // The one that its users know, if it was given another later.
    let uuid = text(&at.join("metadata_uuid"), faults).filter(|uuid| !uuid.is_empty());
    let uuid = ("uuid", uuid.as_deref().unwrap_or(name));
    let label = text(&at.join("label"), faults).unwrap_or_default();
    out.gauge("node_btrfs_info", "A file system and its label; always 1.", &[uuid, ("label", &label)], 1.0);
    if let Some(size) = count(&at.join("allocation/global_rsv_size"), faults) {
        let help = "Space kept back for what must not fail, in bytes.";
        out.gauge("node_btrfs_global_rsv_size_bytes", help, &[uuid], size);
    }
    if let Some(stats) = text(&at.join("commit_stats"), faults) {
        report_commits(uuid, &stats, out, faults);
    }
    let devices = devices(&at.join("devices"), "devices of a Btrfs", DEVICES_MAX, |_| true, faults);
    for kind in KINDS {
        read_kind(&at.join("allocation").join(kind), uuid, kind, devices.len(), out, faults);
    }
    for device in &devices {
        if let Some(sectors) = count(&at.join("devices").join(device).join("size"), faults) {
            let help = "Size of a device of the file system, in bytes.";
            out.gauge("node_btrfs_device_size_bytes", help, &[uuid, ("device", device)], sectors * SECTOR);
        }
    }
}

/// The transactions that were written, from the lines of `commit_stats` (since Linux 6.0).
fn report_commits(uuid: (&str, &str), stats: &str, out: &mut Batch, faults: &mut Faults) {
    for line in stats.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        let Some(value) = whole(value.trim()) else {
            faults.note(CollectError::malformed("fs/btrfs/*/commit_stats", line));
            continue;
        };
        match key {
            "commits" => out.counter("node_btrfs_commits_total", "Transactions written.", &[uuid], value),
            "last_commit_ms" => {
                let help = "How long the last transaction took to be written.";
                out.gauge("node_btrfs_last_commit_seconds", help, &[uuid], value / 1000.0);
            }
            "max_commit_ms" => {
                let help = "How long the slowest transaction took to be written.";
                out.gauge("node_btrfs_max_commit_seconds", help, &[uuid], value / 1000.0);
            }
            "total_commit_ms" => {
                let help = "How long all transactions together took to be written.";
                out.counter("node_btrfs_commit_seconds_total", help, &[uuid], value / 1000.0);
            }
            _ => {}
        }
    }
}

/// The space of one kind, in each layout that it has: a directory each.
fn read_kind(at: &Path, uuid: (&str, &str), kind: &str, device_count: usize, out: &mut Batch, faults: &mut Faults) {
    let of_kind = ("block_group_type", kind);
    if let Some(reserved) = count(&at.join("bytes_reserved"), faults) {
        let help = "Space that is being written to, in bytes.";
        out.gauge("node_btrfs_reserved_bytes", help, &[uuid, of_kind], reserved);
    }
    // Files stand there too. Only the directories' names are those of layouts.
    let is_layout = |name: &str| !name.contains('_') && at.join(name).is_dir();
    for layout in devices(at, "layouts of a Btrfs", LAYOUTS_MAX, is_layout, faults) {
        let labels = [uuid, of_kind, ("mode", layout.as_str())];
        if let Some(used) = count(&at.join(&layout).join("used_bytes"), faults) {
            out.gauge("node_btrfs_used_bytes", "Space that is used, in bytes.", &labels, used);
        }
        if let Some(total) = count(&at.join(&layout).join("total_bytes"), faults) {
            out.gauge("node_btrfs_size_bytes", "Space that is allocated, in bytes.", &labels, total);
        }
        if let Some(ratio) = ratio(&layout, device_count) {
            let help = "Bytes on devices for each byte stored.";
            out.gauge("node_btrfs_allocation_ratio", help, &labels, ratio);
        }
    }
}

/// How many bytes on devices a byte takes in a layout. `None` for one that is not known, and where
/// some of the devices that it needs are missing.
fn ratio(layout: &str, devices: usize) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "there are at most DEVICES_MAX")]
    let with_parity = |parity: usize| (devices > parity).then(|| devices as f64 / (devices - parity) as f64);
    match layout {
        "single" | "raid0" => Some(1.0),
        "dup" | "raid1" | "raid10" => Some(2.0),
        "raid1c3" => Some(3.0),
        "raid1c4" => Some(4.0),
        "raid5" => with_parity(1),
        "raid6" => with_parity(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    #[test]
    fn commits() {
        let text = "commits 82\nlast_commit_ms 9\nmax_commit_ms 1250\ntotal_commit_ms x\nanother 5\n";
        check(
            |out, faults| report_commits(("uuid", "a-b"), text, out, faults),
            "node_btrfs_commits_total{uuid=\"a-b\"} 82\n\
             node_btrfs_last_commit_seconds{uuid=\"a-b\"} 0.009\n\
             node_btrfs_max_commit_seconds{uuid=\"a-b\"} 1.25\n",
            Some("\"total_commit_ms x\""),
        );
    }

    #[test]
    fn ratios() {
        let layouts = [("single", 1, Some(1.0)), ("dup", 1, Some(2.0)), ("raid1c3", 5, Some(3.0))];
        let parities = [("raid5", 4, Some(4.0 / 3.0)), ("raid6", 4, Some(2.0)), ("raid6", 2, None), ("raid7", 9, None)];
        for (layout, devices, wanted) in layouts.into_iter().chain(parities) {
            assert_eq!(ratio(layout, devices), wanted, "{layout} on {devices}");
        }
    }
}
