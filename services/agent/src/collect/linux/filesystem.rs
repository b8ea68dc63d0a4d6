//! `node_filesystem_*`: how full the host's file systems are.

use std::sync::{Arc, Mutex, PoisonError};

use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::Roots;
use super::mountinfo::Mount;
use super::mounts::Survey;
use super::{Collector, note_fallback};

/// The host's file systems.
#[derive(Debug)]
pub(super) struct Filesystem {
    survey: Arc<Mutex<Survey>>,
}

impl Filesystem {
    /// Shows what a survey finds.
    #[must_use]
    pub(super) fn new(survey: Arc<Mutex<Survey>>) -> Self {
        Self { survey }
    }
}

impl Collector for Filesystem {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn source(&self) -> &'static str {
        "`/proc/1/mountinfo`, statfs(2)"
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let mut survey = self.survey.lock().unwrap_or_else(PoisonError::into_inner);
        let (mounts, own) = survey.mounts(roots, &mut faults);
        mounts.iter().for_each(|mount| report(mount, out));
        note_fallback("filesystem", own, roots, faults, out)
    }
}

fn report(mount: &Mount, out: &mut Batch) {
    let error = mount.space.as_ref().err().map_or("", String::as_str);
    let labels = [
        ("device", mount.device.as_str()),
        ("mountpoint", mount.mountpoint.as_str()),
        ("fstype", mount.fstype.as_str()),
        ("device_error", error),
    ];
    let flag = |yes: bool| if yes { 1.0 } else { 0.0 };
    let help = "1 for a file system that cannot be asked; device_error says why.";
    out.gauge("node_filesystem_device_error", help, &labels, flag(mount.space.is_err()));
    let help = "1 for a file system that can only be read.";
    out.gauge("node_filesystem_readonly", help, &labels, flag(mount.readonly));
    let Ok(space) = mount.space else { return };
    out.gauge("node_filesystem_size_bytes", "Size of a file system.", &labels, space.size);
    out.gauge("node_filesystem_free_bytes", "Free space of a file system.", &labels, space.free);
    let help = "Free space of a file system for users other than root.";
    out.gauge("node_filesystem_avail_bytes", help, &labels, space.avail);
    out.gauge("node_filesystem_files", "Files that a file system can have.", &labels, space.files);
    out.gauge("node_filesystem_files_free", "Files that it can have in addition.", &labels, space.files_free);
    let help = "Space that could be freed on request: always 0 on Linux.";
    out.gauge("node_filesystem_purgeable_bytes", help, &labels, 0.0);
    let labels = [
        ("device", mount.device.as_str()),
        ("major", mount.major.as_str()),
        ("minor", mount.minor.as_str()),
        ("mountpoint", mount.mountpoint.as_str()),
    ];
    out.gauge("node_filesystem_mount_info", "Which device is mounted where; always 1.", &labels, 1.0);
}
