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
fn only_what_is_shown_of_a_disk_is_kept() {
    let unused: String = (0..2000).map(|n| format!("E:ID_OTHER_{n}=some text\n")).collect();
    let disk = properties(&format!("{unused}E:ID_MODEL=m\nE:ID_WWN={}\n", "w".repeat(PROPERTY_BYTES_MAX + 1)));
    assert_eq!(disk.udev, HashMap::from([("ID_MODEL", "m".to_owned())]));
    assert!(disk.has_too_long);
    assert!(!properties(&unused).has_too_long);
}

/// A host, and what its disks are read with.
fn host() -> (tempfile::TempDir, Roots, Diskstats) {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("proc")).unwrap();
    let roots = Roots::new(Some(root.path()));
    (root, roots, Diskstats::new(&crate::collect::testing::config()))
}

#[test]
fn disks_that_are_gone_are_forgotten() {
    let (_root, roots, mut diskstats) = host();
    for n in 0..5 {
        std::fs::write(roots.proc.join("diskstats"), format!("9 {n} md{n} 1 2 3 4 5 6 7 8 9 10 11\n")).unwrap();
        diskstats.read(&roots, &mut Batch::new()).unwrap();
        assert_eq!(diskstats.known.keys().collect::<Vec<_>>(), [&format!("md{n}")]);
    }
    let long = format!("9 1 {} 1 2 3 4 5 6 7 8 9 10 11\n", "x".repeat(NAME_BYTES_MAX + 1));
    std::fs::write(roots.proc.join("diskstats"), long).unwrap();
    assert_eq!(diskstats.read(&roots, &mut Batch::new()).unwrap_err().kind(), "malformed");
    assert_eq!(diskstats.known.len(), 0);
}

#[test]
fn only_without_any_disk_the_file_may_be_empty() {
    let (_root, roots, mut diskstats) = host();
    std::fs::write(roots.proc.join("diskstats"), "").unwrap();
    let mut said = || diskstats.read(&roots, &mut Batch::new()).map_err(|error| error.to_string());
    assert_eq!(said(), Err("diskstats: empty".into()));
    std::fs::create_dir_all(roots.sys.join("block")).unwrap();
    assert_eq!(said(), Ok(()));
    std::fs::create_dir_all(roots.sys.join("block/sda")).unwrap();
    assert_eq!(said(), Err("diskstats: empty".into()));
}

#[test]
fn udev() {
    let text = "S:disk/by-id/x\nE:ID_MODEL=Q\"uoted\nE:ID_SERIAL=long\nE:ID_SERIAL_SHORT=short\nE:ID_FS_TYPE=ext4\nE:DM_NAME=vg-lv\nE:ID_ATA_WRITE_CACHE=1\nI:1\n";
    let disk = Disk { rotational: "1".into(), ..properties(text) };
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
