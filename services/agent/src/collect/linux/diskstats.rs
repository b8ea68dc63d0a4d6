//! `node_disk_*` from `/proc/diskstats`, with what udev knows of each disk.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::config::Config;
use super::error::{CollectError, Faults, at_most};
use super::files::{Roots, Source, attribute};
use super::filter::Filter;
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
    udev: HashMap<String, String>,
    rotational: String,
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
        if let Some(text) = self.file.read(&roots.proc, &mut faults) {
            for line in lines(text, &mut self.filter) {
                let Some(line) = faults.check(line) else { continue };
                if !self.known.contains_key(line.device) {
                    self.known.insert(line.device.to_owned(), look(roots, &line));
                }
                if let Some(disk) = self.known.get(line.device) {
                    report_info(&line, disk, out);
                }
                report(&line, out);
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

/// The disks that are shown.
fn lines<'a>(text: &'a str, filter: &mut Filter) -> impl Iterator<Item = Result<Line<'a>, CollectError>> {
    let mut is_shown = |line: &&str| line.split_ascii_whitespace().nth(2).is_none_or(|device| filter.shows(device));
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
        (numbers && count >= COLUMNS_MIN).then_some(Line { major, minor, device, columns, count }).ok_or_else(malformed)
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
    Disk {
        udev: attribute(&udev).map_or_else(|_| HashMap::new(), |text| properties(&text)),
        rotational: rotational.unwrap_or_else(|_| "0".to_owned()),
    }
}

/// The properties in a file of udev's database: lines `E:KEY=VALUE`.
fn properties(text: &str) -> HashMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.strip_prefix("E:")?.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
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
mod tests {
    use super::*;
    use crate::collect::testing::check;

    #[test]
    fn whole_disks_only() {
        let mut filter = crate::collect::testing::config().diskstats_devices;
        for name in ["ram0", "zram1", "loop12", "fd0", "sda1", "vda1", "xvda10", "hda2", "nvme0n1p2", "nvme10n12p3"] {
            assert!(!filter.shows(name), "{name}");
        }
        let shown = "sda vda sdaa sdaa1 xvdab12 sdA1 nvme0n1 nvmen1p1 dm-0 md0 mmcblk0 mmcblk0p1 sr0 zd0 sd1 ram";
        for name in shown.split(' ') {
            assert!(filter.shows(name), "{name}");
        }
    }

    #[test]
    fn units() {
        let text = "254 0 vda 36159 6938 5397330 27975 37737 25711 6246696 13201 2 8176 42165 8847 0 1081872 701 8259 286\n\
            8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n8 16 sdb 1 2 3\nx y sdc 1 2 3 4 5 6 7 8 9 10 11\n";
        let run = |out: &mut Batch, faults: &mut Faults| {
            for line in lines(text, &mut Filter::default()) {
                if let Some(line) = faults.check(line) {
                    report(&line, out);
                }
            }
        };
        check(
            run,
            "node_disk_reads_completed_total{device=\"vda\"} 36159\n\
             node_disk_reads_completed_total{device=\"sda\"} 1\n\
             node_disk_reads_merged_total{device=\"vda\"} 6938\n\
             node_disk_reads_merged_total{device=\"sda\"} 2\n\
             node_disk_read_bytes_total{device=\"vda\"} 2763432960\n\
             node_disk_read_bytes_total{device=\"sda\"} 1536\n\
             node_disk_read_time_seconds_total{device=\"vda\"} 27.975\n\
             node_disk_read_time_seconds_total{device=\"sda\"} 0.004\n\
             node_disk_writes_completed_total{device=\"vda\"} 37737\n\
             node_disk_writes_completed_total{device=\"sda\"} 5\n\
             node_disk_writes_merged_total{device=\"vda\"} 25711\n\
             node_disk_writes_merged_total{device=\"sda\"} 6\n\
             node_disk_written_bytes_total{device=\"vda\"} 3198308352\n\
             node_disk_written_bytes_total{device=\"sda\"} 3584\n\
             node_disk_write_time_seconds_total{device=\"vda\"} 13.201\n\
             node_disk_write_time_seconds_total{device=\"sda\"} 0.008\n\
             node_disk_io_now{device=\"vda\"} 2\n\
             node_disk_io_now{device=\"sda\"} 9\n\
             node_disk_io_time_seconds_total{device=\"vda\"} 8.176\n\
             node_disk_io_time_seconds_total{device=\"sda\"} 0.01\n\
             node_disk_io_time_weighted_seconds_total{device=\"vda\"} 42.165\n\
             node_disk_io_time_weighted_seconds_total{device=\"sda\"} 0.011\n\
             node_disk_discards_completed_total{device=\"vda\"} 8847\n\
             node_disk_discards_merged_total{device=\"vda\"} 0\n\
             node_disk_discarded_sectors_total{device=\"vda\"} 1081872\n\
             node_disk_discard_time_seconds_total{device=\"vda\"} 0.701\n\
             node_disk_flush_requests_total{device=\"vda\"} 8259\n\
             node_disk_flush_requests_time_seconds_total{device=\"vda\"} 0.286\n",
            Some("diskstats: cannot make sense of \"8 16 sdb 1 2 3\""),
        );
    }

    #[test]
    fn what_goes_over_the_limit_is_a_fault() {
        let some =
            |count: usize| -> String { (0..count).map(|n| format!("9 {n} md{n} 1 2 3 4 5 6 7 8 9 10 11\n")).collect() };
        assert_eq!(lines(&some(DISKS_MAX), &mut Filter::default()).filter(Result::is_ok).count(), DISKS_MAX);
        assert_eq!(lines(&some(DISKS_MAX), &mut Filter::default()).find_map(Result::err), None);
        let too_many = some(DISKS_MAX + 5);
        assert_eq!(lines(&too_many, &mut Filter::default()).filter(Result::is_ok).count(), DISKS_MAX);
        let faults: Vec<String> =
            lines(&too_many, &mut Filter::default()).filter_map(Result::err).map(|error| error.to_string()).collect();
        assert_eq!(faults, ["disks: more than 2000, the others are not shown"]);
    }

    #[test]
    fn properties_stand_behind_any_number_of_links() {
        let root = tempfile::tempdir().unwrap();
        let database = root.path().join("run/udev/data");
        std::fs::create_dir_all(&database).unwrap();
        let links: String = (0..500).map(|n| format!("S:disk/by-id/wwn-0x5000cca22b8f2a1c-part{n}\n")).collect();
        std::fs::write(database.join("b8:0"), links + "E:ID_MODEL=last\n").unwrap();
        let line = Line { major: "8", minor: "0", device: "sda", columns: [0.0; 17], count: 17 };
        let disk = look(&Roots::new(Some(root.path())), &line);
        assert_eq!(disk.udev.get("ID_MODEL").map(String::as_str), Some("last"));
    }

    #[test]
    fn udev() {
        let text = "S:disk/by-id/x\nE:ID_MODEL=Q\"uoted\nE:ID_SERIAL=long\nE:ID_SERIAL_SHORT=short\nE:ID_FS_TYPE=ext4\nE:DM_NAME=vg-lv\nE:ID_ATA_WRITE_CACHE=1\nI:1\n";
        let disk = Disk { udev: properties(text), rotational: "1".into() };
        let line = Line { major: "8", minor: "0", device: "sda", columns: [0.0; 17], count: 17 };
        check(
            |out, _| report_info(&line, &disk, out),
            "node_disk_info{device=\"sda\",major=\"8\",minor=\"0\",path=\"\",wwn=\"\",model=\"Q\\\"uoted\",serial=\"short\",revision=\"\",rotational=\"1\"} 1\n\
             node_disk_filesystem_info{device=\"sda\",type=\"ext4\",usage=\"\",uuid=\"\",version=\"\"} 1\n\
             node_disk_device_mapper_info{device=\"sda\",name=\"vg-lv\",uuid=\"\",vg_name=\"\",lv_name=\"\",lv_layer=\"\"} 1\n\
             node_disk_ata_write_cache{device=\"sda\"} 1\n",
            None,
        );
    }
}
