//! `node_dmmultipath_*` from `/sys/block/dm-*`: disks that are reached on several paths.

use std::path::Path;
use std::time::Duration;

use super::Collector;
use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::Roots;
use super::sysfs::{devices, numbered, text, value};

/// Most disks of the device mapper that are looked at.
const DISKS_MAX: usize = 4096;
/// Most paths of a disk that are shown.
const PATHS_MAX: usize = 256;
/// The kernel tells sizes of disks in sectors of 512 bytes, whatever the disk's own are.
const SECTOR: f64 = 512.0;
/// States of a path that is in use: of SCSI, of NVMe.
const ACTIVE: [&str; 2] = ["running", "live"];

/// Disks on several paths.
#[derive(Debug)]
pub(super) struct Dmmultipath;

impl Collector for Dmmultipath {
    fn name(&self) -> &'static str {
        "dmmultipath"
    }

    fn source(&self) -> &'static str {
        "`/sys/block/dm-*/`, `/sys/block/*/device/state`"
    }

    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(15))
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let base = roots.sys.join("block");
        let is_mapped = |name: &str| numbered(name, "dm-").is_some();
        for disk in devices(&base, "disks of the device mapper", DISKS_MAX, is_mapped, &mut faults) {
            // What made a disk stands before its identity.
            let uuid = text(&base.join(&disk).join("dm/uuid"), &mut faults);
            if let Some(uuid) = uuid.filter(|uuid| uuid.starts_with("mpath-")) {
                report(&base, &disk, &uuid, out, &mut faults);
            }
        }
        faults.into_result()
    }
}

fn report(base: &Path, disk: &str, uuid: &str, out: &mut Batch, faults: &mut Faults) {
    let directory = base.join(disk);
    let name = text(&directory.join("dm/name"), faults).unwrap_or_default();
    let labels = [("device", name.as_str()), ("sysfs_name", disk)];
    let [device, own] = labels;
    let help = "A disk on several paths; always 1.";
    out.gauge("node_dmmultipath_device_info", help, &[device, own, ("uuid", uuid)], 1.0);
    if let Some(suspended) = value(&directory.join("dm/suspended"), faults) {
        let is_active = if suspended == 0.0 { 1.0 } else { 0.0 };
        out.gauge("node_dmmultipath_device_active", "0 for a disk that is suspended.", &labels, is_active);
    }
    if let Some(sectors) = value(&directory.join("size"), faults) {
        out.gauge("node_dmmultipath_device_size_bytes", "Size of a disk.", &labels, sectors * SECTOR);
    }
    let (mut active, mut failed) = (0.0, 0.0);
    for path in devices(&directory.join("slaves"), "paths of a disk", PATHS_MAX, |_| true, faults) {
        let state = text(&base.join(&path).join("device/state"), faults).unwrap_or_else(|| "unknown".to_owned());
        *(if ACTIVE.contains(&state.as_str()) { &mut active } else { &mut failed }) += 1.0;
        let help = "The state of a path to a disk; always 1.";
        out.gauge("node_dmmultipath_path_state", help, &[device, ("path", &path), ("state", &state)], 1.0);
    }
    for (name, help, paths) in [
        ("node_dmmultipath_device_paths", "How many paths there are to a disk.", active + failed),
        ("node_dmmultipath_device_paths_active", "How many of them are in use or could be.", active),
        ("node_dmmultipath_device_paths_failed", "How many of them are not.", failed),
    ] {
        out.gauge(name, help, &labels, paths);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check_host;

    #[test]
    fn paths_are_counted_by_their_state() {
        let files = [
            ("sys/block/dm-0/dm/uuid", "LVM-x\n"),
            ("sys/block/dm-1/dm/uuid", "mpath-3600\n"),
            ("sys/block/dm-1/dm/name", "a\n"),
            ("sys/block/dm-1/dm/suspended", "1\n"),
            ("sys/block/dm-1/size", "x\n"),
            ("sys/block/dm-1/slaves/sda/x", ""),
            ("sys/block/dm-1/slaves/sdb/x", ""),
            ("sys/block/sda/device/state", "live\n"),
        ];
        let page = "node_dmmultipath_device_info{device=\"a\",sysfs_name=\"dm-1\",uuid=\"mpath-3600\"} 1\n\
            node_dmmultipath_device_active{device=\"a\",sysfs_name=\"dm-1\"} 0\n\
            node_dmmultipath_path_state{device=\"a\",path=\"sda\",state=\"live\"} 1\n\
            node_dmmultipath_path_state{device=\"a\",path=\"sdb\",state=\"unknown\"} 1\n\
            node_dmmultipath_device_paths{device=\"a\",sysfs_name=\"dm-1\"} 2\n\
            node_dmmultipath_device_paths_active{device=\"a\",sysfs_name=\"dm-1\"} 1\n\
            node_dmmultipath_device_paths_failed{device=\"a\",sysfs_name=\"dm-1\"} 1\n";
        check_host(Dmmultipath, &files, page, Some("dm-1/size: cannot make sense of \"x\""));
    }
}
