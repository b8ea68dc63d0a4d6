//! The frame of the collectors: what one is, and which ones there are.
//!
//! A collector is one file: a pure function from text to series, and `read` at the edge, which
//! gets the text from files below the configured roots. Collectors read files and make system
//! calls; none ever runs a program, needs root or writes anything, and none opens a socket but the
//! one that asks systemd, which only an agent built for that has.
//! Whatever a file holds, they report what can be read and say what could not.

pub mod batch;
pub mod config;
mod crew;
pub mod error;
pub mod files;
pub mod filter;
mod news;
pub mod scheduler;
#[cfg(test)]
pub(crate) mod testing;
mod vitals;

#[cfg(target_os = "linux")]
mod arp;
#[cfg(target_os = "linux")]
mod attr;
#[cfg(target_os = "linux")]
mod bcache;
#[cfg(target_os = "linux")]
mod bonding;
#[cfg(target_os = "linux")]
mod btrfs;
#[cfg(target_os = "linux")]
mod cgroup;
#[cfg(target_os = "linux")]
mod conntrack;
#[cfg(target_os = "linux")]
mod cpu;
#[cfg(target_os = "linux")]
mod cpufreq;
#[cfg(target_os = "linux")]
mod diskstats;
#[cfg(target_os = "linux")]
mod dmi;
#[cfg(target_os = "linux")]
mod dmmultipath;
#[cfg(target_os = "linux")]
mod edac;
#[cfg(target_os = "linux")]
mod entropy;
#[cfg(target_os = "linux")]
mod exposition;
#[cfg(target_os = "linux")]
mod fibrechannel;
#[cfg(target_os = "linux")]
mod filefd;
#[cfg(target_os = "linux")]
mod filesystem;
#[cfg(target_os = "linux")]
mod hwmon;
#[cfg(target_os = "linux")]
mod infiniband;
#[cfg(target_os = "linux")]
mod interrupts;
#[cfg(target_os = "linux")]
mod ipvs;
#[cfg(target_os = "linux")]
mod kernel_hung;
#[cfg(target_os = "linux")]
mod lines;
#[cfg(target_os = "linux")]
mod loadavg;
#[cfg(target_os = "linux")]
mod mdadm;
#[cfg(target_os = "linux")]
mod meminfo;
#[cfg(target_os = "linux")]
mod mounts;
#[cfg(target_os = "linux")]
mod netclass;
#[cfg(target_os = "linux")]
mod netdev;
#[cfg(target_os = "linux")]
mod netstat;
#[cfg(target_os = "linux")]
mod nfs;
#[cfg(target_os = "linux")]
mod nfsd;
#[cfg(target_os = "linux")]
mod nvme;
#[cfg(target_os = "linux")]
mod os;
#[cfg(target_os = "linux")]
mod powersupplyclass;
#[cfg(target_os = "linux")]
mod pressure;
#[cfg(target_os = "linux")]
mod proc_stat;
#[cfg(target_os = "linux")]
mod processes;
#[cfg(target_os = "linux")]
mod rapl;
#[cfg(target_os = "linux")]
mod schedstat;
#[cfg(target_os = "linux")]
mod selinux;
#[cfg(target_os = "linux")]
mod sockets;
#[cfg(target_os = "linux")]
mod sockstat;
#[cfg(target_os = "linux")]
mod softnet;
#[cfg(target_os = "linux")]
mod stat;
#[cfg(target_os = "linux")]
mod sysfs;
#[cfg(all(target_os = "linux", feature = "systemd"))]
mod systemd;
#[cfg(all(target_os = "linux", feature = "systemd"))]
mod systemd_bus;
#[cfg(target_os = "linux")]
mod tapestats;
#[cfg(target_os = "linux")]
mod tcpstat;
#[cfg(target_os = "linux")]
mod text_source;
#[cfg(target_os = "linux")]
mod textfile;
#[cfg(target_os = "linux")]
mod thermal_zone;
#[cfg(target_os = "linux")]
mod time;
#[cfg(target_os = "linux")]
mod timex;
#[cfg(target_os = "linux")]
mod udp_queues;
#[cfg(target_os = "linux")]
mod uname;
#[cfg(target_os = "linux")]
mod vmstat;
#[cfg(target_os = "linux")]
mod watchdog;
#[cfg(target_os = "linux")]
mod xfs;
#[cfg(target_os = "linux")]
mod zfs;

#[cfg(test)]
#[cfg(target_os = "linux")]
mod golden_tests;

use std::time::Duration;

use batch::Batch;
use config::Config;
use error::CollectError;
#[cfg(target_os = "linux")]
use error::Faults;
use files::Roots;

/// Something that can be measured.
pub trait Collector: Send {
    /// Its name: of the set that it fills, and the `collector` label of metrics about it.
    fn name(&self) -> &'static str;

    /// Where its figures come from, for the documentation: files below the host's `/`, or calls.
    fn source(&self) -> &'static str;

    /// Is it read unless the settings say otherwise?
    fn is_default(&self) -> bool {
        true
    }

    /// How often it is read unless the settings say otherwise; `None`: for every push.
    fn every(&self) -> Option<Duration> {
        None
    }

    /// Does it show `node_*` families? Then it also gets the metrics that tell of collectors there.
    fn is_node(&self) -> bool {
        true
    }

    /// Measures.
    ///
    /// # Errors
    /// The first thing that went wrong; what stands in the batch is reported all the same.
    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError>;
}

/// A collector that is to be read.
pub struct Planned {
    /// What reads.
    pub collector: Box<dyn Collector>,
    /// How often; `None`: for every push.
    pub every: Option<Duration>,
}

/// The collectors that the settings want.
#[must_use]
pub fn planned(config: &Config) -> Vec<Planned> {
    all(config)
        .into_iter()
        .filter(|collector| config.is_on(collector.name(), collector.is_default()))
        .map(|collector| Planned { every: config.every(collector.name(), collector.every()), collector })
        .collect()
}

/// All collectors that this system has. They do nothing before they are read.
#[must_use]
pub fn all(config: &Config) -> Vec<Box<dyn Collector>> {
    #[cfg(target_os = "linux")]
    {
        use std::sync::{Arc, Mutex};
        let survey = Arc::new(Mutex::new(mounts::Survey::new(config)));
        vec![
            Box::new(vitals::Vitals::new(config, Arc::clone(&survey))),
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
    #[cfg(not(target_os = "linux"))]
    {
        vec![Box::new(vitals::Vitals::new(config))]
    }
}

/// A decimal number with a fraction or without; no infinity, no NaN, no sign.
#[cfg(target_os = "linux")]
fn number(word: &str) -> Option<f64> {
    word.bytes().next().filter(u8::is_ascii_digit).and_then(|_| word.parse().ok())
}

/// A whole number as the kernel prints its counters.
#[cfg(target_os = "linux")]
#[expect(clippy::cast_precision_loss, reason = "samples are f64; counters beyond 2^53 are rounded")]
fn whole(word: &str) -> Option<f64> {
    word.parse::<u64>().ok().map(|number| number as f64)
}

/// The number that is all that stands in a file.
#[cfg(target_os = "linux")]
fn only_number(file: &str, text: &str) -> Result<f64, CollectError> {
    whole(text.trim_ascii()).ok_or_else(|| CollectError::malformed(file, text))
}

/// Says on the page whether a collector could only see its own namespace, not the host's. Where
/// nothing at all could be read there is nothing to say it of, and the set fails with the reason.
#[cfg(target_os = "linux")]
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
        let is_hidden = if own && roots.foreign { 1.0 } else { 0.0 };
        out.gauge("fleetgauge_collector_own_namespace", help, &[("collector", collector)], is_hidden);
    }
    result
}
