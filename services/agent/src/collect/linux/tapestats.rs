//! `node_tape_*` from `/sys/class/scsi_tape/st*/stats`: the drives of tapes.

use std::path::Path;
use std::time::Duration;

use protocol::frame::MetricType::{self, Counter, Gauge};

use super::Collector;
use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::Roots;
use super::sysfs::{count, devices};

/// Nanoseconds of a second.
const NANOS: f64 = 1e9;
/// Most drives that are shown.
const DRIVES_MAX: usize = 256;

/// The files: their name, metric, type, what it means, and by what it is divided.
const FILES: &[(&str, &str, MetricType, &str, f64)] = &[
    ("in_flight", "node_tape_io_now", Gauge, "Requests that are under way.", 1.0),
    ("io_ns", "node_tape_io_time_seconds_total", Counter, "Time spent on requests of all kinds, winding too.", NANOS),
    ("other_cnt", "node_tape_io_others_total", Counter, "Requests that neither read nor write.", 1.0),
    ("read_byte_cnt", "node_tape_read_bytes_total", Counter, "Bytes read.", 1.0),
    ("read_cnt", "node_tape_reads_completed_total", Counter, "Requests that read.", 1.0),
    ("read_ns", "node_tape_read_time_seconds_total", Counter, "Time spent reading.", NANOS),
    ("resid_cnt", "node_tape_residual_total", Counter, "Requests that moved less data than asked for.", 1.0),
    ("write_byte_cnt", "node_tape_written_bytes_total", Counter, "Bytes written.", 1.0),
    ("write_cnt", "node_tape_writes_completed_total", Counter, "Requests that write.", 1.0),
    ("write_ns", "node_tape_write_time_seconds_total", Counter, "Time spent writing.", NANOS),
];

/// The host's tape drives.
#[derive(Debug)]
pub(super) struct Tapestats;

impl Collector for Tapestats {
    fn name(&self) -> &'static str {
        "tapestats"
    }

    fn source(&self) -> &'static str {
        "`/sys/class/scsi_tape/st*/stats/`"
    }

    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(15))
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let base = roots.sys.join("class/scsi_tape");
        for drive in devices(&base, "tape drives", DRIVES_MAX, is_drive, &mut faults) {
            read_drive(&base.join(&drive).join("stats"), &drive, out, &mut faults);
        }
        faults.into_result()
    }
}

/// Each drive is there under several names, by what closing it does: `st0`, `nst0`, `st0a` …
fn is_drive(name: &str) -> bool {
    name.strip_prefix("st").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

fn read_drive(at: &Path, drive: &str, out: &mut Batch, faults: &mut Faults) {
    for (file, name, kind, help, divisor) in FILES {
        if let Some(value) = count(&at.join(file), faults) {
            out.push(*kind, name, help, "", &[("device", drive)], value / divisor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    #[test]
    fn a_drive_is_shown_once() {
        let names = ["st0", "st12", "nst0", "st0a", "st0l", "st", "sr0"];
        assert_eq!(names.map(is_drive), [true, true, false, false, false, false, false]);
    }

    #[test]
    fn times_are_seconds() {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in [("read_ns", "1500000000\n"), ("read_cnt", "x\n"), ("write_cnt", "4\n")] {
            std::fs::write(root.path().join(file), text).unwrap();
        }
        check(
            |out, faults| read_drive(root.path(), "st0", out, faults),
            "node_tape_read_time_seconds_total{device=\"st0\"} 1.5\nnode_tape_writes_completed_total{device=\"st0\"} 4\n",
            Some("read_cnt: cannot make sense of \"x\""),
        );
    }
}
