//! The vital signs, `host_*`, the same on every operating system.
//!
//! On the host itself they come from `sysinfo`. In a container that looks at its host, sysinfo
//! would see the container, so there they come from the host's files.

#[cfg(target_os = "linux")]
mod from_files;
mod from_sysinfo;

#[cfg(target_os = "linux")]
use std::sync::{Arc, Mutex, PoisonError};

use protocol::ABSENT;

use super::Collector;
use super::batch::Batch;
use super::config::Config;
use super::error::{CollectError, Faults};
use super::files::Roots;
#[cfg(target_os = "linux")]
use super::linux::mounts::Survey;

/// How a host is, whatever it runs. What is not known is [`ABSENT`].
#[derive(Debug, Clone, PartialEq)]
struct Signs {
    /// Share of the CPUs' time since the last reading that was not idle.
    cpu_used: f64,
    memory_used: f64,
    swap_used: f64,
    loads: [f64; 3],
    uptime_seconds: f64,
    processes: f64,
    networks: Vec<Network>,
    filesystems: Vec<Filesystem>,
}

impl Default for Signs {
    fn default() -> Self {
        Self {
            cpu_used: ABSENT,
            memory_used: ABSENT,
            swap_used: ABSENT,
            loads: [ABSENT; 3],
            uptime_seconds: ABSENT,
            processes: ABSENT,
            networks: vec![],
            filesystems: vec![],
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Network {
    device: String,
    received: f64,
    sent: f64,
}

#[derive(Debug, Clone, PartialEq)]
struct Filesystem {
    device: String,
    mountpoint: String,
    fstype: String,
    used: f64,
}

/// The vital signs.
pub(super) struct Vitals {
    system: from_sysinfo::System,
    #[cfg(target_os = "linux")]
    files: from_files::Files,
    #[cfg(target_os = "linux")]
    processes: from_files::Processes,
    #[cfg(target_os = "linux")]
    survey: Arc<Mutex<Survey>>,
}

impl Vitals {
    /// Reads nothing yet.
    #[cfg(target_os = "linux")]
    pub(super) fn new(config: &Config, survey: Arc<Mutex<Survey>>) -> Self {
        Self {
            system: from_sysinfo::System::new(config),
            files: from_files::Files::new(config),
            processes: from_files::Processes::new(),
            survey,
        }
    }

    /// Reads nothing yet.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn new(config: &Config) -> Self {
        Self { system: from_sysinfo::System::new(config) }
    }

    /// On Linux sysinfo would wait for ever for a dead mount, read nine files of each network
    /// device, and all of each process only to count them: these are asked for in our own way.
    #[cfg(target_os = "linux")]
    fn signs(&mut self, roots: &Roots, faults: &mut Faults) -> Signs {
        let mut signs = if roots.foreign { self.files.signs(roots, faults) } else { self.system.signs(false, faults) };
        signs.networks = self.files.networks(roots, faults);
        signs.processes = self.processes.count(roots, faults);
        let mut survey = self.survey.lock().unwrap_or_else(PoisonError::into_inner);
        // A mount that cannot be asked is the file-system collector's to report.
        let (mounts, _) = survey.mounts(roots, &mut Faults::default());
        signs.filesystems = mounts.iter().filter_map(from_files::filesystem).collect();
        signs
    }

    #[cfg(not(target_os = "linux"))]
    fn signs(&mut self, _: &Roots, faults: &mut Faults) -> Signs {
        self.system.signs(true, faults)
    }
}

impl Collector for Vitals {
    fn name(&self) -> &'static str {
        "vitals"
    }

    fn source(&self) -> &'static str {
        "sysinfo; in a container that looks at its host `/proc/{stat,meminfo,loadavg,uptime}`; on Linux always `/proc/1/net/dev`, `/proc/1/mountinfo`, statfs(2), `/proc`"
    }

    fn is_node(&self) -> bool {
        false
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        report(&self.signs(roots, &mut faults), out);
        faults.into_result()
    }
}

fn report(signs: &Signs, out: &mut Batch) {
    let [one, five, fifteen] = signs.loads;
    let help = "Share of the CPUs' time since the last measurement that was not idle, 0 to 1.";
    out.gauge("host_cpu_used_ratio", help, &[], signs.cpu_used);
    let help = "Share of the memory that is not available to new programs, 0 to 1.";
    out.gauge("host_memory_used_ratio", help, &[], signs.memory_used);
    let help = "Share of the swap space that is used, 0 to 1; 0 without swap.";
    out.gauge("host_swap_used_ratio", help, &[], signs.swap_used);
    out.gauge("host_load1", "Load average over 1 minute.", &[], one);
    out.gauge("host_load5", "Load average over 5 minutes.", &[], five);
    out.gauge("host_load15", "Load average over 15 minutes.", &[], fifteen);
    out.gauge("host_uptime_seconds", "Time since the host booted.", &[], signs.uptime_seconds);
    out.gauge("host_processes", "Processes.", &[], signs.processes);
    for network in &signs.networks {
        let device = [("device", network.device.as_str())];
        out.counter("host_network_receive_bytes_total", "Bytes received.", &device, network.received);
        out.counter("host_network_transmit_bytes_total", "Bytes sent.", &device, network.sent);
    }
    for filesystem in &signs.filesystems {
        let labels = [
            ("device", filesystem.device.as_str()),
            ("mountpoint", filesystem.mountpoint.as_str()),
            ("fstype", filesystem.fstype.as_str()),
        ];
        let help = "Share of a file system that is not available to users other than root, 0 to 1.";
        out.gauge("host_filesystem_used_ratio", help, &labels, filesystem.used);
    }
}

/// The used share of a whole; `empty` where there is nothing to use.
fn used_ratio(available: f64, total: f64, empty: f64) -> f64 {
    if total > 0.0 { (1.0 - available / total).clamp(0.0, 1.0) } else { empty }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
#[path = "vitals_tests.rs"]
mod tests;
