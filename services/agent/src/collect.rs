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
mod attr;
#[cfg(target_os = "linux")]
mod cpu;
#[cfg(target_os = "linux")]
mod diskstats;
#[cfg(target_os = "linux")]
mod exposition;
#[cfg(target_os = "linux")]
mod filesystem;
#[cfg(target_os = "linux")]
mod loadavg;
#[cfg(target_os = "linux")]
mod meminfo;
#[cfg(target_os = "linux")]
mod mounts;
#[cfg(target_os = "linux")]
mod netdev;
#[cfg(target_os = "linux")]
mod proc_stat;
#[cfg(target_os = "linux")]
mod stat;
#[cfg(all(target_os = "linux", feature = "systemd"))]
mod systemd;
#[cfg(all(target_os = "linux", feature = "systemd"))]
mod systemd_bus;
#[cfg(target_os = "linux")]
mod text_source;
#[cfg(target_os = "linux")]
mod textfile;
#[cfg(target_os = "linux")]
mod time;
#[cfg(target_os = "linux")]
mod uname;

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
            Box::new(cpu::Cpu::new()),
            Box::new(diskstats::Diskstats::new(config)),
            Box::new(filesystem::Filesystem::new(survey)),
            Box::new(loadavg::Loadavg::new()),
            Box::new(meminfo::Meminfo::new()),
            Box::new(netdev::Netdev::new(config)),
            Box::new(stat::Stat::new()),
            #[cfg(feature = "systemd")]
            Box::new(systemd::Systemd::new(config)),
            Box::new(textfile::Textfile::new(config)),
            Box::new(time::Time::default()),
            Box::new(uname::Uname),
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
