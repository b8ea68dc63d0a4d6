//! `node_cpu_*` from `/proc/stat` and `/sys/devices/system/cpu`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::attr::{Attr, Scratch};
use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::{Roots, Source, attribute};
use super::proc_stat::{MODES, Times, cpu_lines};
use super::sysfs::{devices, numbered};
use super::{Collector, whole};

/// An idle time that goes back by this much is a CPU that was taken out and put in again.
const HOT_PLUG_SECONDS: f64 = 3.0;
/// Where idle time stands in the columns.
const IDLE: usize = 3;
/// What CPUs there are changes rarely; looking costs four files for each of them.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The most CPUs that Linux can be built for.
const CPUS_MAX: usize = 8192;
/// What there would be too many of.
const CPUS: &str = "CPUs";

/// Where each CPU spends its time.
#[derive(Debug)]
pub(super) struct Cpu {
    stat: Source,
    /// What was reported last: a CPU's times never go back.
    times: BTreeMap<u32, Times>,
    looked: Option<Instant>,
    throttles: Vec<Throttle>,
    isolated: Vec<u32>,
    /// CPUs that can be switched off.
    switchable: Vec<u32>,
    online: Source,
    scratch: Scratch,
    /// What went wrong when they were looked at.
    fault: Option<CollectError>,
}

/// A counter of the times that a core or a package was slowed down because it was too hot.
#[derive(Debug)]
struct Throttle {
    package: String,
    /// `None`: the counter of the whole package.
    core: Option<String>,
    count: Attr,
}

impl Cpu {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new() -> Self {
        Self {
            stat: Source::new("stat"),
            times: BTreeMap::new(),
            looked: None,
            throttles: vec![],
            isolated: vec![],
            switchable: vec![],
            online: Source::new("devices/system/cpu/online"),
            scratch: Scratch::default(),
            fault: None,
        }
    }

    /// Finds out which CPUs there are. What is missing here is missing on most hosts.
    fn look(&mut self, roots: &Roots) {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return;
        }
        self.looked = Some(Instant::now());
        let base = roots.sys.join("devices/system/cpu");
        let mut faults = Faults::default();
        self.isolated = attribute(&base.join("isolated")).map_or(vec![], |text| parse_list(&text, &mut faults));
        self.switchable.clear();
        self.throttles.clear();
        let directories = devices(&base, CPUS, CPUS_MAX, |name| numbered(name, "cpu").is_some(), &mut faults);
        self.fault = faults.into_result().err();
        let mut cpus: Vec<u32> = directories.iter().filter_map(|name| numbered(name, "cpu")?.parse().ok()).collect();
        cpus.sort_unstable();
        for cpu in cpus {
            let at = base.join(format!("cpu{cpu}"));
            if at.join("online").exists() {
                self.switchable.push(cpu);
            }
            let Ok(package) = attribute(&at.join("topology/physical_package_id")) else { continue };
            let core = attribute(&at.join("topology/core_id")).ok();
            let core_count = core.map(|core| (Some(core), at.join("thermal_throttle/core_throttle_count")));
            let package_count = (None, at.join("thermal_throttle/package_throttle_count"));
            for (core, path) in core_count.into_iter().chain([package_count]) {
                // Threads of one core show the same counter.
                let known = self.throttles.iter().any(|t| t.package == package && t.core == core);
                if !known && path.exists() {
                    self.throttles.push(Throttle { package: package.clone(), core, count: Attr::new(path) });
                }
            }
        }
    }

    /// The counters of heat. `None`: one is gone, as that of a CPU that was switched off.
    fn counts(&mut self) -> Option<Vec<Result<Option<f64>, CollectError>>> {
        let counts = self.throttles.iter_mut().map(|throttle| {
            let count = throttle.count.read(&mut self.scratch).map(|text| whole(&text));
            match count.map_err(|error| CollectError::at(throttle.count.path(), &error)) {
                Err(error) if error.is_missing() => None,
                count => Some(count),
            }
        });
        counts.collect()
    }

    fn report_throttles(&mut self, roots: &Roots, out: &mut Batch, faults: &mut Faults) {
        let counts = self.counts().or_else(|| {
            self.looked = None;
            self.look(roots);
            self.counts()
        });
        for (throttle, count) in self.throttles.iter().zip(counts.into_iter().flatten()) {
            if let Some(count) = faults.check(count).flatten() {
                report_throttle(throttle, count, out);
            }
        }
    }
}

impl Collector for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn source(&self) -> &'static str {
        "`/proc/stat`, `/sys/devices/system/cpu/`"
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        if let Some(text) = self.stat.read(&roots.proc, &mut faults) {
            keep(text, &mut self.times, &mut faults);
            report(&self.times, out);
        }
        self.look(roots);
        self.report_throttles(roots, out, &mut faults);
        if let Some(fault) = &self.fault {
            faults.note(fault.clone());
        }
        for cpu in &self.isolated {
            let help = "1 for a CPU that the scheduler leaves alone.";
            out.gauge("node_cpu_isolated", help, &[("cpu", &cpu.to_string())], 1.0);
        }
        if !self.switchable.is_empty() {
            let text = self.online.read(&roots.sys, &mut faults).map(str::to_owned).unwrap_or_default();
            let online = parse_list(&text, &mut faults);
            for cpu in &self.switchable {
                let value = if online.contains(cpu) { 1.0 } else { 0.0 };
                out.gauge("node_cpu_online", "1 for a CPU that is switched on.", &[("cpu", &cpu.to_string())], value);
            }
        }
        faults.into_result()
    }
}

/// Brings the known times up to date with `/proc/stat`. They never go back (the kernel's idle and
/// iowait do now and then, which would look like a reset), unless the CPU itself was away.
fn keep(text: &str, times: &mut BTreeMap<u32, Times>, faults: &mut Faults) {
    let before = std::mem::take(times);
    for line in cpu_lines(text) {
        let Some((id, new)) = faults.check(line) else { continue };
        // The line of all CPUs together has no number.
        let Ok(cpu) = id.parse::<u32>() else { continue };
        let kept = match before.get(&cpu) {
            Some(old)
                if old.get(IDLE).copied().unwrap_or(0.0) - new.get(IDLE).copied().unwrap_or(0.0) < HOT_PLUG_SECONDS =>
            {
                let mut kept = new;
                kept.iter_mut().zip(old).for_each(|(new, old)| *new = new.max(*old));
                kept
            }
            _ => new,
        };
        if times.len() == CPUS_MAX {
            faults.note(CollectError::TooMany { what: CPUS, max: CPUS_MAX });
            break;
        }
        times.insert(cpu, kept);
    }
    if times.is_empty() {
        faults.note(CollectError::malformed("stat", text));
    }
}

fn report(times: &BTreeMap<u32, Times>, out: &mut Batch) {
    for (cpu, times) in times {
        let cpu = &*cpu.to_string();
        for (mode, seconds) in MODES.iter().zip(times) {
            let help = "Time that each CPU spent in each mode.";
            out.counter("node_cpu_seconds_total", help, &[("cpu", cpu), ("mode", mode)], *seconds);
        }
        for (mode, seconds) in ["user", "nice"].iter().zip(times.iter().skip(MODES.len())) {
            let help = "Time that each CPU spent for virtual machines; it is part of user and nice too.";
            out.counter("node_cpu_guest_seconds_total", help, &[("cpu", cpu), ("mode", mode)], *seconds);
        }
    }
}

fn report_throttle(throttle: &Throttle, count: f64, out: &mut Batch) {
    let package = ("package", throttle.package.as_str());
    match &throttle.core {
        Some(core) => {
            let help = "How often a core was slowed down because of heat.";
            out.counter("node_cpu_core_throttles_total", help, &[("core", core), package], count);
        }
        None => {
            let help = "How often a package was slowed down because of heat.";
            out.counter("node_cpu_package_throttles_total", help, &[package], count);
        }
    }
}

/// Reads a list such as `0-3,8`; that it has too many CPUs is a fault.
fn parse_list(text: &str, faults: &mut Faults) -> Vec<u32> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) {
            // One more than there may be, to notice that.
            cpus.extend((first..=last).take(CPUS_MAX + 1 - cpus.len().min(CPUS_MAX)));
        }
    }
    if cpus.len() > CPUS_MAX {
        cpus.truncate(CPUS_MAX);
        faults.note(CollectError::TooMany { what: CPUS, max: CPUS_MAX });
    }
    cpus
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    fn kept(texts: &[&str]) -> BTreeMap<u32, Times> {
        let mut times = BTreeMap::new();
        texts.iter().for_each(|text| keep(text, &mut times, &mut Faults::default()));
        times
    }

    #[test]
    fn times_never_go_back() {
        let times = kept(&["cpu0 100 0 0 1000 50\n", "cpu0 90 0 0 1100 40\n"]);
        assert_eq!(times[&0][..5], [1.0, 0.0, 0.0, 11.0, 0.5]);
    }

    #[test]
    fn unless_the_cpu_was_away() {
        let times = kept(&["cpu0 100 0 0 1000 50\n", "cpu0 1 0 0 100 2\n"]);
        assert_eq!(times[&0][..5], [0.01, 0.0, 0.0, 1.0, 0.02]);
        let times = kept(&["cpu0 100 0 0 1000 50\ncpu1 1 1 1 1\n", "cpu0 100 0 0 1000 50\n"]);
        assert_eq!(times.len(), 1, "a CPU that is switched off is gone");
    }

    #[test]
    fn pages() {
        let page = "node_cpu_seconds_total{cpu=\"1\",mode=\"user\"} 1\n\
            node_cpu_seconds_total{cpu=\"1\",mode=\"nice\"} 2\n\
            node_cpu_seconds_total{cpu=\"1\",mode=\"system\"} 3\n\
            node_cpu_seconds_total{cpu=\"1\",mode=\"idle\"} 4\n\
            node_cpu_seconds_total{cpu=\"1\",mode=\"iowait\"} 5\n\
            node_cpu_seconds_total{cpu=\"1\",mode=\"irq\"} 6\n\
            node_cpu_seconds_total{cpu=\"1\",mode=\"softirq\"} 7\n\
            node_cpu_seconds_total{cpu=\"1\",mode=\"steal\"} 8\n\
            node_cpu_guest_seconds_total{cpu=\"1\",mode=\"user\"} 9\n\
            node_cpu_guest_seconds_total{cpu=\"1\",mode=\"nice\"} 10\n";
        let text = "cpu  1 1 1 1\ncpu1 100 200 300 400 500 600 700 800 900 1000\ncpu2 1 2 3\n";
        let run = |out: &mut Batch, faults: &mut Faults| {
            let mut times = BTreeMap::new();
            keep(text, &mut times, faults);
            report(&times, out);
        };
        check(run, page, Some("\"cpu2 1 2 3\""));
    }

    #[test]
    fn lists() {
        let mut faults = Faults::default();
        assert_eq!(parse_list("0-3,8\n", &mut faults), [0, 1, 2, 3, 8]);
        assert_eq!(parse_list("", &mut faults), [] as [u32; 0]);
        assert_eq!(parse_list("0-8191", &mut faults).len(), CPUS_MAX);
        assert_eq!(faults.into_result(), Ok(()));
        let mut faults = Faults::default();
        assert_eq!(parse_list("0-4294967295,0-4294967295,7", &mut faults).len(), CPUS_MAX);
        assert_eq!(faults.into_result().unwrap_err().kind(), "too_many");
    }

    #[test]
    fn cpus_over_the_limit_are_a_fault() {
        let text: String = (0..=CPUS_MAX).map(|cpu| format!("cpu{cpu} 1 1 1 1\n")).collect();
        let (mut times, mut faults) = (BTreeMap::new(), Faults::default());
        keep(&text, &mut times, &mut faults);
        assert_eq!((times.len(), faults.into_result().unwrap_err().kind()), (CPUS_MAX, "too_many"));
    }

    #[test]
    fn a_cpu_that_is_switched_off_is_no_fault() {
        let root = tempfile::tempdir().unwrap();
        let roots = Roots::new(Some(root.path()));
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("proc/stat", "cpu0 1 1 1 1\n");
        for cpu in 0..2 {
            let at = format!("sys/devices/system/cpu/cpu{cpu}");
            put(&format!("{at}/topology/physical_package_id"), "0\n");
            put(&format!("{at}/topology/core_id"), &format!("{cpu}\n"));
            put(&format!("{at}/thermal_throttle/core_throttle_count"), "3\n");
        }
        let mut cpu = Cpu::new();
        // The files are not kept open: what is removed here could still be read, other than in /sys.
        cpu.look(&roots);
        std::fs::remove_dir_all(root.path().join("sys/devices/system/cpu/cpu1")).unwrap();
        let (mut out, line) = (Batch::new(), "node_cpu_core_throttles_total{core=\"0\",package=\"0\"} 3\n");
        out.begin();
        cpu.read(&roots, &mut out).unwrap();
        out.finish(true);
        let page = crate::collect::testing::render(&out, false);
        assert!(page.contains(line) && !page.contains("core=\"1\""), "{page}");
    }
}
