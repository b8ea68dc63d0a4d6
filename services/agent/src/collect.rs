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
mod linux;
#[cfg(all(target_os = "linux", feature = "fuzzing"))]
pub use linux::fuzzing;

#[cfg(test)]
#[cfg(target_os = "linux")]
mod golden_tests;

use std::time::Duration;

use batch::Batch;
use config::Config;
use error::CollectError;
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

/// The collectors as a table for a person.
#[must_use]
pub fn table(config: &Config) -> String {
    let mut text = format!("{:<18}{:<5}{:<14}{}\n", "COLLECTOR", "", "READ", "FROM");
    for collector in all(config) {
        let (name, source) = (collector.name(), collector.source().replace('`', ""));
        let state = if config.is_on(name, collector.is_default()) { "on" } else { "off" };
        let every = config.every(name, collector.every()).unwrap_or(config.interval).as_secs_f64();
        text += &format!("{name:<18}{state:<5}{:<14}{source}\n", format!("every {every} s"));
    }
    text
}

/// All collectors that this system has. They do nothing before they are read.
#[must_use]
pub fn all(config: &Config) -> Vec<Box<dyn Collector>> {
    #[cfg(target_os = "linux")]
    {
        let survey = linux::mounts::Survey::shared(config);
        let vitals: Box<dyn Collector> = Box::new(vitals::Vitals::new(config, survey.clone()));
        std::iter::once(vitals).chain(linux::all(config, survey)).collect()
    }
    #[cfg(not(target_os = "linux"))]
    {
        vec![Box::new(vitals::Vitals::new(config))]
    }
}
