//! `node_cpu_frequency_*` and `node_cpu_scaling_*` from `/sys/devices/system/cpu/cpu*/cpufreq`.
//!
//! How fast each CPU runs is read for every push; its limits and its governor, which somebody has
//! to change, more rarely. The kernel shows the frequency that the hardware tells
//! (`cpuinfo_cur_freq`) to root alone: without root there is no `node_cpu_frequency_hertz`, and
//! that is no fault.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Collector;
use super::attr::{Attr, Scratch};
use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::Roots;
use super::sysfs::{devices, numbered, text, value};

/// The kernel counts in kHz.
const KILO: f64 = 1000.0;
/// How often CPUs, limits and governors are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// The most CPUs that Linux can be built for.
const CPUS_MAX: usize = 8192;

/// Frequencies that change all the time.
const NOW: [(&str, &str, &str); 3] = [
    ("cpuinfo_cur_freq", "node_cpu_frequency_hertz", "Frequency of a CPU, as its hardware tells it."),
    ("cpuinfo_avg_freq", "node_cpu_frequency_avg_hertz", "Frequency of a CPU on average over the last moment."),
    ("scaling_cur_freq", "node_cpu_scaling_frequency_hertz", "Frequency of a CPU, as the kernel sees it."),
];
/// Limits.
const LIMITS: [(&str, &str, &str); 4] = [
    ("cpuinfo_min_freq", "node_cpu_frequency_min_hertz", "Lowest frequency that a CPU can run at."),
    ("cpuinfo_max_freq", "node_cpu_frequency_max_hertz", "Highest frequency that a CPU can run at."),
    ("scaling_min_freq", "node_cpu_scaling_frequency_min_hertz", "Lowest frequency that a CPU is allowed."),
    ("scaling_max_freq", "node_cpu_scaling_frequency_max_hertz", "Highest frequency that a CPU is allowed."),
];

/// How fast the CPUs run.
#[derive(Debug, Default)]
pub(super) struct Cpufreq {
    looked: Option<Instant>,
    /// What went wrong then.
    fault: Option<CollectError>,
    cpus: Vec<Cpu>,
    scratch: Scratch,
}

/// A CPU whose frequency is governed.
#[derive(Debug)]
struct Cpu {
    number: String,
    /// Those of [`NOW`] that it has.
    now: [Option<Attr>; NOW.len()],
    /// Those of [`LIMITS`] that it has, in kHz.
    limits: [Option<f64>; LIMITS.len()],
    /// Governors that it could have, and whether it has them.
    governors: Vec<(String, bool)>,
}

impl Cpufreq {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new() -> Self {
        Self::default()
    }

    fn look(&mut self, roots: &Roots) {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return;
        }
        self.looked = Some(Instant::now());
        let mut faults = Faults::default();
        let base = roots.sys.join("devices/system/cpu");
        let directories = devices(&base, "CPUs", CPUS_MAX, |name| numbered(name, "cpu").is_some(), &mut faults);
        let cpus = directories.iter().filter_map(|name| {
            let directory = base.join(name).join("cpufreq");
            directory.is_dir().then(|| Cpu::at(numbered(name, "cpu").unwrap_or_default(), &directory, &mut faults))
        });
        self.cpus = cpus.collect();
        self.fault = faults.into_result().err();
    }
}

impl Cpu {
    fn at(number: &str, directory: &Path, faults: &mut Faults) -> Self {
        let now = NOW.map(|(file, ..)| Some(directory.join(file)).filter(|path| path.exists()).map(Attr::new));
        let limits = LIMITS.map(|(file, ..)| value(&directory.join(file), faults));
        let governor = text(&directory.join("scaling_governor"), faults).unwrap_or_default();
        let available = text(&directory.join("scaling_available_governors"), faults).unwrap_or_default();
        Self { number: number.to_owned(), now, limits, governors: governors(&governor, &available) }
    }

    fn report(&mut self, scratch: &mut Scratch, out: &mut Batch) {
        let cpu = ("cpu", self.number.as_str());
        for ((_, name, help), attr) in NOW.iter().zip(&mut self.now) {
            // What is unknown for now, or hidden, is not there.
            if let Some(frequency) = attr.as_mut().and_then(|attr| attr.number(scratch)) {
                out.gauge(name, help, &[cpu], frequency * KILO);
            }
        }
        for ((_, name, help), limit) in LIMITS.iter().zip(self.limits) {
            if let Some(frequency) = limit {
                out.gauge(name, help, &[cpu], frequency * KILO);
            }
        }
        for (governor, is_chosen) in &self.governors {
            let help = "1 for the way in which a CPU's frequency is chosen, 0 for the other ways there are.";
            let value = if *is_chosen { 1.0 } else { 0.0 };
            out.gauge("node_cpu_scaling_governor", help, &[cpu, ("governor", governor)], value);
        }
    }
}

impl Collector for Cpufreq {
    fn name(&self) -> &'static str {
        "cpufreq"
    }

    fn source(&self) -> &'static str {
        "`/sys/devices/system/cpu/cpu*/cpufreq/`"
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        self.look(roots);
        for cpu in &mut self.cpus {
            cpu.report(&mut self.scratch, out);
        }
        self.fault.clone().map_or(Ok(()), Err)
    }
}

/// The governors there are, and which is the one.
fn governors(governor: &str, available: &str) -> Vec<(String, bool)> {
    if governor.is_empty() {
        return vec![];
    }
    available.split_ascii_whitespace().map(|name| (name.to_owned(), name == governor)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    #[test]
    fn what_is_unknown_is_not_there() {
        let directory = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("scaling_cur_freq", "<unknown>\n"),
            ("cpuinfo_avg_freq", "1999999\n"),
            ("scaling_max_freq", "3900000\n"),
            ("scaling_min_freq", "slow\n"),
            ("scaling_governor", "powersave\n"),
            ("scaling_available_governors", "performance powersave \n"),
        ] {
            std::fs::write(directory.path().join(file), text).unwrap();
        }
        check(
            |out, faults| Cpu::at("3", directory.path(), faults).report(&mut Scratch::default(), out),
            "node_cpu_frequency_avg_hertz{cpu=\"3\"} 1999999000\n\
             node_cpu_scaling_frequency_max_hertz{cpu=\"3\"} 3900000000\n\
             node_cpu_scaling_governor{cpu=\"3\",governor=\"performance\"} 0\n\
             node_cpu_scaling_governor{cpu=\"3\",governor=\"powersave\"} 1\n",
            Some("scaling_min_freq: cannot make sense of \"slow\""),
        );
    }

    #[test]
    fn governors_need_one_that_governs() {
        assert_eq!(governors("", "performance"), []);
        assert_eq!(governors("ondemand", ""), []);
    }
}
