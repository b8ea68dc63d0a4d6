//! The vital signs of the host on which the process runs, on any operating system.

use protocol::ABSENT;
use sysinfo::{CpuRefreshKind, Networks, RefreshKind};

use super::{Filesystem, Network, Signs, used_ratio};
use crate::collect::config::Config;
use crate::collect::error::{CollectError, Faults};
use crate::collect::filter::Filter;

/// What sysinfo keeps between two readings; made at the first one.
pub(super) struct System {
    devices: Filter,
    mount_points: Filter,
    fs_types: Filter,
    system: Option<sysinfo::System>,
    networks: Option<Networks>,
}

impl System {
    /// Reads nothing yet.
    pub(super) fn new(config: &Config) -> Self {
        let (devices, mount_points) = (config.netdev_devices.clone(), config.mount_points.clone());
        Self { devices, mount_points, fs_types: config.fs_types.clone(), system: None, networks: None }
    }

    /// Measures. `everything` also takes networks, file systems and processes from sysinfo.
    #[expect(clippy::cast_precision_loss, reason = "samples are f64")]
    pub(super) fn signs(&mut self, everything: bool, faults: &mut Faults) -> Signs {
        let mut signs = Signs::default();
        self.cpu_and_memory(&mut signs, faults);
        if let Some(load) = known("load average", sysinfo::System::load_average(), faults) {
            signs.loads = [load.one, load.five, load.fifteen];
        }
        if let Some(uptime) = known("uptime", sysinfo::System::uptime(), faults) {
            signs.uptime_seconds = uptime as f64;
        }
        if everything {
            signs.networks = self.networks(faults);
            signs.filesystems = self.filesystems(faults);
            signs.processes = self.processes();
        }
        signs
    }

    #[expect(clippy::cast_precision_loss, reason = "samples are f64; bytes beyond 2^53 are rounded")]
    fn networks(&mut self, faults: &mut Faults) -> Vec<Network> {
        if self.networks.is_none() {
            self.networks = known("networks", Networks::new(), faults);
        }
        let Some(networks) = &mut self.networks else { return vec![] };
        networks.refresh(true);
        let one = |(device, data): (&std::ffi::OsString, &sysinfo::NetworkData)| Network {
            device: device.to_string_lossy().into_owned(),
            received: data.total_received() as f64,
            sent: data.total_transmitted() as f64,
        };
        let mut networks: Vec<Network> =
            networks.iter().map(one).filter(|one| self.devices.shows(&one.device)).collect();
        networks.sort_by(|a, b| a.device.cmp(&b.device));
        networks
    }

    #[expect(clippy::cast_precision_loss, reason = "samples are f64; bytes beyond 2^53 are rounded")]
    fn cpu_and_memory(&mut self, signs: &mut Signs, faults: &mut Faults) {
        let first = self.system.is_none();
        if first {
            let kind = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing().with_usage());
            self.system = known("cpu", sysinfo::System::new_with_specifics(kind), faults);
        }
        let Some(system) = &mut self.system else { return };
        system.refresh_cpu_usage();
        system.refresh_memory();
        // Between two readings only: the first has nothing to compare with.
        signs.cpu_used = if first { ABSENT } else { f64::from(system.global_cpu_usage() / 100.0).clamp(0.0, 1.0) };
        signs.memory_used = used_ratio(system.available_memory() as f64, system.total_memory() as f64, ABSENT);
        signs.swap_used = used_ratio(system.free_swap() as f64, system.total_swap() as f64, 0.0);
    }

    #[expect(clippy::cast_precision_loss, reason = "samples are f64")]
    fn processes(&mut self) -> f64 {
        use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, ThreadKind};
        let Some(system) = &mut self.system else { return ABSENT };
        system.refresh_processes_specifics(ProcessesToUpdate::All, true, ProcessRefreshKind::nothing());
        // On some systems it lists the threads of programs too; those of a kernel are processes.
        let is_process = |process: &&sysinfo::Process| process.thread_kind() != Some(ThreadKind::Userland);
        system.processes().values().filter(is_process).count() as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "samples are f64; bytes beyond 2^53 are rounded")]
    fn filesystems(&mut self, faults: &mut Faults) -> Vec<Filesystem> {
        let Some(disks) = known("disks", sysinfo::Disks::new_with_refreshed_list(), faults) else { return vec![] };
        let one = |disk: &sysinfo::Disk| Filesystem {
            device: disk.name().to_string_lossy().into_owned(),
            mountpoint: disk.mount_point().to_string_lossy().into_owned(),
            fstype: disk.file_system().to_string_lossy().into_owned(),
            used: used_ratio(disk.available_space() as f64, disk.total_space() as f64, ABSENT),
        };
        let is_shown =
            |found: &Filesystem| self.fs_types.shows(&found.fstype) && self.mount_points.shows(&found.mountpoint);
        disks.iter().map(one).filter(is_shown).collect()
    }
}

/// A part of the answer. What a system does not have (load averages on Windows) is no fault.
fn known<T>(what: &str, result: Result<T, sysinfo::Error>, faults: &mut Faults) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(sysinfo::Error::Unsupported) => None,
        Err(error) => {
            faults.note(CollectError::Unreadable { what: what.to_owned(), error: error.to_string(), missing: false });
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_system_does_not_have_is_no_fault() {
        let mut faults = Faults::default();
        assert_eq!(known::<()>("load average", Err(sysinfo::Error::Unsupported), &mut faults), None);
        assert_eq!(known("uptime", Ok(1), &mut faults), Some(1));
        assert_eq!(known::<()>("disks", Err("no answer".into()), &mut faults), None);
        assert_eq!(faults.into_result().unwrap_err().to_string(), "disks: no answer");
    }
}
