//! `node_disk_*` from `/proc/diskstats`, with what udev knows of each disk.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::config::Config;
use super::error::{CollectError, Faults, at_most};
use super::files::{Roots, Source, attribute, listed};
use super::filter::{Filter, NAME_BYTES_MAX};
use super::{Collector, whole};

/// What stands in the columns after the name: a counter or gauge, and what a unit of it is worth.
const COLUMNS: [(&str, f64, &str); 17] = [
    ("node_disk_reads_completed_total", 1.0, "Reads that succeeded."),
    ("node_disk_reads_merged_total", 1.0, "Reads that were merged with another."),
    ("node_disk_read_bytes_total", SECTOR, "Bytes read."),
    ("node_disk_read_time_seconds_total", MILLI, "Time spent by all reads together."),
    ("node_disk_writes_completed_total", 1.0, "Writes that succeeded."),
    ("node_disk_writes_merged_total", 1.0, "Writes that were merged with another."),
    ("node_disk_written_bytes_total", SECTOR, "Bytes written."),
    ("node_disk_write_time_seconds_total", MILLI, "Time spent by all writes together."),
    (IO_NOW, 1.0, "Requests under way."),
    ("node_disk_io_time_seconds_total", MILLI, "Time with at least one request under way."),
    ("node_disk_io_time_weighted_seconds_total", MILLI, "Time with requests under way, times their number."),
    ("node_disk_discards_completed_total", 1.0, "Discards that succeeded."),
    ("node_disk_discards_merged_total", 1.0, "Discards that were merged with another."),
    ("node_disk_discarded_sectors_total", 1.0, "Sectors of 512 bytes discarded."),
    ("node_disk_discard_time_seconds_total", MILLI, "Time spent by all discards together."),
    ("node_disk_flush_requests_total", 1.0, "Flushes that succeeded."),
    ("node_disk_flush_requests_time_seconds_total", MILLI, "Time spent by all flushes together."),
];
const IO_NOW: &str = "node_disk_io_now";
/// The kernel counts in sectors of 512 bytes, whatever the disk's own are.
const SECTOR: f64 = 512.0;
/// Milliseconds are divided rather than multiplied: 8176 ms are then 8.176 s to the last bit.
const MILLI: f64 = -1000.0;
/// The columns that every kernel since 2.6 has.
const COLUMNS_MIN: usize = 11;
/// Most disks that are shown.
const DISKS_MAX: usize = 2000;
/// What a disk is changes rarely; udev's files are read this often.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What is shown of udev's properties; of the others a disk may have tens of KiB.
const PROPERTIES: [&str; 19] = [
    "DM_LV_LAYER",
    "DM_LV_NAME",
    "DM_NAME",
    "DM_UUID",
    "DM_VG_NAME",
    "ID_ATA_ROTATION_RATE_RPM",
    "ID_ATA_WRITE_CACHE",
    "ID_ATA_WRITE_CACHE_ENABLED",
    "ID_FS_TYPE",
    "ID_FS_USAGE",
    "ID_FS_UUID",
    "ID_FS_VERSION",
    "ID_MODEL",
    "ID_PATH",
    "ID_REVISION",
    "ID_SERIAL",
    "ID_SERIAL_SHORT",
    "ID_WWN",
    "SCSI_IDENT_SERIAL",
];
/// Longest property that is shown.
const PROPERTY_BYTES_MAX: usize = 1024;

/// The host's disks.
#[derive(Debug)]
pub(super) struct Diskstats {
    file: Source,
    filter: Filter,
    known: HashMap<String, Disk>,
    looked: Option<Instant>,
}

/// What is known of a disk beside its counters.
#[derive(Debug, Default, Clone)]
struct Disk {
    udev: HashMap<&'static str, String>,
    rotational: String,
    /// Has it a property that is too long to be shown?
    has_too_long: bool,
}

impl Diskstats {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new(config: &Config) -> Self {
        let filter = config.diskstats_devices.clone();
        Self { file: Source::new("diskstats"), filter, known: HashMap::new(), looked: None }
    }
}

impl Collector for Diskstats {
    fn name(&self) -> &'static str {
        "diskstats"
    }

    fn source(&self) -> &'static str {
        "`/proc/diskstats`, `/run/udev/data/b*`, `/sys/block/*/queue/rotational`"
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        if self.looked.is_none_or(|looked| looked.elapsed() > LOOK_EVERY) {
            self.known.clear();
            self.looked = Some(Instant::now());
        }
        let loaded = self.file.load(&roots.proc, &mut faults);
        if faults.check(loaded).is_some() {
            let text = self.file.text(&mut faults);
            if text.is_empty() && !is_diskless(roots) {
                faults.note(CollectError::empty("diskstats"));
            }
            let mut shown = 0;
            for line in lines(text, &mut self.filter) {
                let Some(line) = faults.check(line) else { continue };
                shown += 1;
                if !self.known.contains_key(line.device) {
                    self.known.insert(line.device.to_owned(), look(roots, &line));
                }
                if let Some(disk) = self.known.get(line.device) {
                    report_info(&line, disk, out);
                    if disk.has_too_long {
                        let what = format!("run/udev/data/b{}:{}", line.major, line.minor);
                        faults.note(CollectError::TooLong { what, max: PROPERTY_BYTES_MAX });
                    }
                }
                report(&line, out);
            }
            // Disks came and went.
            if self.known.len() > shown {
                let devices: HashSet<&str> = text.lines().filter_map(device).collect();
                self.known.retain(|known, _| devices.contains(known.as_str()));
            }
        }
        faults.into_result()
    }
}

/// One line of `/proc/diskstats`.
#[derive(Debug, PartialEq)]
struct Line<'a> {
    major: &'a str,
    minor: &'a str,
    device: &'a str,
    columns: [f64; COLUMNS.len()],
    /// How many of them there are: older kernels have fewer.
    count: usize,
}

/// Has the kernel no block device at all (a machine that booted from the network)? Only then is its
/// file of them empty.
fn is_diskless(roots: &Roots) -> bool {
    listed(&roots.sys.join("block"), "disks", 1, |_| true, &mut Faults::default()).is_ok_and(|disks| disks.is_empty())
}

/// The name of a line's disk.
fn device(line: &str) -> Option<&str> {
    line.split_ascii_whitespace().nth(2)
}

/// The disks that are shown.
fn lines<'a>(text: &'a str, filter: &mut Filter) -> impl Iterator<Item = Result<Line<'a>, CollectError>> {
    let mut is_shown = |line: &&str| device(line).is_none_or(|device| filter.shows(device));
    let lines = text.lines().filter(move |line| is_shown(line)).map(|line| {
        let malformed = || CollectError::malformed("diskstats", line);
        let mut words = line.split_ascii_whitespace();
        let (major, minor, device) = (words.next(), words.next(), words.next());
        let (Some(major), Some(minor), Some(device)) = (major, minor, device) else { return Err(malformed()) };
        let mut columns = [0.0; COLUMNS.len()];
        let mut count = 0;
        for (column, word) in columns.iter_mut().zip(words) {
            *column = whole(word).ok_or_else(malformed)?;
            count += 1;
        }
        // A disk's number becomes part of a path.
        let numbers = whole(major).is_some() && whole(minor).is_some();
        (numbers && device.len() <= NAME_BYTES_MAX && count >= COLUMNS_MIN)
            .then_some(Line { major, minor, device, columns, count })
            .ok_or_else(malformed)
    });
    at_most(DISKS_MAX, "disks", lines)
}

fn report(line: &Line<'_>, out: &mut Batch) {
    for ((name, factor, help), column) in COLUMNS.iter().zip(line.columns).take(line.count) {
        let value = if *factor < 0.0 { column / -factor } else { column * factor };
        if *name == IO_NOW {
            out.gauge(name, help, &[("device", line.device)], value);
        } else {
            out.counter(name, help, &[("device", line.device)], value);
        }
    }
}

/// Asks udev's database and the disk's own directory. Neither need be there.
fn look(roots: &Roots, line: &Line<'_>) -> Disk {
    let udev = roots.root.join(format!("run/udev/data/b{}:{}", line.major, line.minor));
    // A slash in a device's name stands as an exclamation mark in /sys.
    let directory = line.device.replace('/', "!");
    let rotational = attribute(&roots.sys.join("block").join(directory).join("queue/rotational"));
    let mut disk = properties(&attribute(&udev).unwrap_or_default());
    disk.rotational = rotational.ok().filter(|text| text.len() <= PROPERTY_BYTES_MAX).unwrap_or_else(|| "0".to_owned());
    disk
}

/// The properties in a file of udev's database that are shown: lines `E:KEY=VALUE`.
fn properties(text: &str) -> Disk {
    let mut disk = Disk::default();
    for (key, value) in text.lines().filter_map(|line| line.strip_prefix("E:")?.split_once('=')) {
        let Some(key) = PROPERTIES.into_iter().find(|known| *known == key) else { continue };
        if value.len() <= PROPERTY_BYTES_MAX {
            disk.udev.insert(key, value.to_owned());
        } else {
            disk.has_too_long = true;
        }
    }
    disk
}

fn report_info(line: &Line<'_>, disk: &Disk, out: &mut Batch) {
    let of = |key: &str| disk.udev.get(key).map_or("", String::as_str);
    let device = ("device", line.device);
    let serial = ["SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL"].map(of);
    let serial = serial.into_iter().find(|serial| !serial.is_empty()).unwrap_or_default();
    let labels = [
        device,
        ("major", line.major),
        ("minor", line.minor),
        ("path", of("ID_PATH")),
        ("wwn", of("ID_WWN")),
        ("model", of("ID_MODEL")),
        ("serial", serial),
        ("revision", of("ID_REVISION")),
        ("rotational", &disk.rotational),
    ];
    out.gauge("node_disk_info", "What a disk is; always 1.", &labels, 1.0);
    if !of("ID_FS_TYPE").is_empty() {
        let (kind, usage) = (of("ID_FS_TYPE"), of("ID_FS_USAGE"));
        let labels =
            [device, ("type", kind), ("usage", usage), ("uuid", of("ID_FS_UUID")), ("version", of("ID_FS_VERSION"))];
        out.gauge("node_disk_filesystem_info", "The file system on a disk; always 1.", &labels, 1.0);
    }
    if !of("DM_NAME").is_empty() {
        let labels = [
            device,
            ("name", of("DM_NAME")),
            ("uuid", of("DM_UUID")),
            ("vg_name", of("DM_VG_NAME")),
            ("lv_name", of("DM_LV_NAME")),
            ("lv_layer", of("DM_LV_LAYER")),
        ];
        out.gauge("node_disk_device_mapper_info", "A disk of the device mapper; always 1.", &labels, 1.0);
    }
    let ata = [
        ("node_disk_ata_write_cache", "ID_ATA_WRITE_CACHE", "1 where an ATA disk has a write cache."),
        ("node_disk_ata_write_cache_enabled", "ID_ATA_WRITE_CACHE_ENABLED", "1 where that cache is in use."),
        ("node_disk_ata_rotation_rate_rpm", "ID_ATA_ROTATION_RATE_RPM", "Turns per minute; 0 without moving parts."),
    ];
    for (name, key, help) in ata {
        if let Some(value) = whole(of(key)) {
            out.gauge(name, help, &[device], value);
        }
    }
}

#[cfg(test)]
#[path = "diskstats_tests.rs"]
mod tests;
