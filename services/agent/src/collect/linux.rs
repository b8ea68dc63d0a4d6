//! The collectors of Linux: `node_*`, with the names of node_exporter's.
//!
//! To add one: a file, a `mod` line, an entry in [`all`].

use std::sync::{Arc, Mutex, Once};

// What a collector needs from here: `super::` is enough for all of it.
use super::batch::Batch;
use super::config::Config;
use super::error::{CollectError, Faults};
use super::files::Roots;
use super::{Collector, batch, config, crew, error, files, filter, news};

// What several collectors share.
mod attr;
mod exposition;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod lines;
pub(super) mod mountinfo;
pub(super) mod mounts;
pub(super) mod proc_stat;
mod sockets;
mod sysfs;
#[cfg(feature = "systemd")]
mod systemd_bus;
mod text_source;

// The collectors.
mod arp;
mod bcache;
mod bonding;
mod btrfs;
mod cgroup;
mod conntrack;
mod cpu;
mod cpufreq;
mod diskstats;
mod dmi;
mod dmmultipath;
mod edac;
mod entropy;
mod fibrechannel;
mod filefd;
mod filesystem;
mod hwmon;
mod infiniband;
mod interrupts;
mod ipvs;
mod kernel_hung;
pub(super) mod loadavg;
mod mdadm;
pub(super) mod meminfo;
mod netclass;
pub(super) mod netdev;
mod netstat;
mod nfs;
mod nfsd;
mod nvme;
mod os;
mod powersupplyclass;
mod pressure;
pub(super) mod processes;
mod rapl;
mod schedstat;
mod selinux;
mod sockstat;
mod softnet;
mod stat;
#[cfg(feature = "systemd")]
mod systemd;
mod tapestats;
mod tcpstat;
mod textfile;
mod thermal_zone;
mod time;
mod timex;
mod udp_queues;
mod uname;
mod vmstat;
mod watchdog;
mod xfs;
mod zfs;

/// All of them, by name. They do nothing before they are read.
#[must_use]
pub(super) fn all(config: &Config, survey: Arc<Mutex<mounts::Survey>>) -> Vec<Box<dyn Collector>> {
    vec![
        Box::new(arp::Arp::new(config)),
        Box::new(bcache::Bcache),
        Box::new(bonding::Bonding),
        Box::new(btrfs::Btrfs),
        Box::new(cgroup::Cgroup),
        Box::new(conntrack::Conntrack::new()),
        Box::new(cpu::Cpu::new()),
        Box::new(cpufreq::Cpufreq::new()),
        Box::new(diskstats::Diskstats::new(config)),
        Box::new(dmi::Dmi),
        Box::new(dmmultipath::Dmmultipath),
        Box::new(edac::Edac),
        Box::new(entropy::Entropy::new()),
        Box::new(fibrechannel::Fibrechannel),
        Box::new(filefd::Filefd::new()),
        Box::new(filesystem::Filesystem::new(survey)),
        Box::new(hwmon::Hwmon::new(config)),
        Box::new(infiniband::Infiniband),
        Box::new(interrupts::Interrupts::new(config)),
        Box::new(ipvs::Ipvs::new()),
        Box::new(kernel_hung::KernelHung::new()),
        Box::new(loadavg::Loadavg::new()),
        Box::new(mdadm::Mdadm::new()),
        Box::new(meminfo::Meminfo::new()),
        Box::new(netclass::Netclass::new(config)),
        Box::new(netdev::Netdev::new(config)),
        Box::new(netstat::Netstat::new(config)),
        Box::new(nfs::Nfs::new()),
        Box::new(nfsd::Nfsd::new()),
        Box::new(nvme::Nvme),
        Box::new(os::Os),
        Box::new(powersupplyclass::PowerSupplyClass),
        Box::new(pressure::Pressure::new()),
        Box::new(processes::Processes::new()),
        Box::new(rapl::Rapl),
        Box::new(schedstat::Schedstat::new()),
        Box::new(selinux::Selinux),
        Box::new(sockstat::Sockstat::new()),
        Box::new(softnet::Softnet::new()),
        Box::new(stat::Stat::new()),
        #[cfg(feature = "systemd")]
        Box::new(systemd::Systemd::new(config)),
        Box::new(tapestats::Tapestats),
        Box::new(tcpstat::Tcpstat::new()),
        Box::new(textfile::Textfile::new(config)),
        Box::new(thermal_zone::ThermalZone),
        Box::new(time::Time::default()),
        Box::new(timex::Timex),
        Box::new(udp_queues::UdpQueues::new()),
        Box::new(uname::Uname),
        Box::new(vmstat::Vmstat::new(config)),
        Box::new(watchdog::Watchdog),
        Box::new(xfs::Xfs),
        Box::new(zfs::Zfs),
    ]
}

/// A decimal number with a fraction or without; no infinity, no NaN, no sign.
pub(super) fn number(word: &str) -> Option<f64> {
    let number = word.bytes().next().filter(u8::is_ascii_digit).and_then(|_| word.parse::<f64>().ok());
    number.filter(|number| number.is_finite())
}

/// A whole number as the kernel prints its counters.
#[expect(clippy::cast_precision_loss, reason = "samples are f64; counters beyond 2^53 are rounded")]
fn whole(word: &str) -> Option<f64> {
    word.parse::<u64>().ok().map(|number| number as f64)
}

/// The number that is all that stands in a file.
fn only_number(file: &str, text: &str) -> Result<f64, CollectError> {
    whole(text.trim_ascii()).ok_or_else(|| CollectError::malformed(file, text))
}

static SAID_OWN: Once = Once::new();

/// Says once in the log that something is the agent's own, not the host's. Was this the first time?
fn say_own(said: &Once, collector: &str) -> bool {
    let mut is_first = false;
    said.call_once(|| {
        is_first = true;
        tracing::warn!(
            collector,
            "the host's networks and mounts (/proc/1) are hidden from the agent: it shows its own instead, \
             and fleetgauge_collector_own_namespace is 1"
        );
    });
    is_first
}

/// Says on the page, and the first time in the log, whether a collector could only see its own namespace, not the host's. Where
/// nothing at all could be read there is nothing to say it of, and the set fails with the reason.
fn note_fallback(
    collector: &str,
    own: bool,
    roots: &Roots,
    faults: Faults,
    out: &mut Batch,
) -> Result<(), CollectError> {
    let result = faults.into_result();
    if result.is_ok() || !out.is_blank() {
        let help = "1 where a collector shows the agent's own namespace, because the host's is hidden from it.";
        let is_hidden = own && roots.foreign;
        if is_hidden {
            say_own(&SAID_OWN, collector);
        }
        let is_hidden = if is_hidden { 1.0 } else { 0.0 };
        out.gauge("fleetgauge_collector_own_namespace", help, &[("collector", collector)], is_hidden);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_something_is_our_own_is_said_once() {
        let said = Once::new();
        assert_eq!([(); 3].map(|()| say_own(&said, "netdev")), [true, false, false]);
    }

    #[test]
    fn numbers_are_finite() {
        let words = ["0.5", "1e3", "nan", "inf", "-1", "1e999", &"9".repeat(400)];
        assert_eq!(words.map(number), [Some(0.5), Some(1000.0), None, None, None, None, None]);
    }
}
