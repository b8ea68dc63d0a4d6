//! `fleetgauge_cgroup_*`: the limits of the control group that the agent itself runs in, and what
//! that group uses. In a container these are the container's, where all other collectors may be
//! looking at the host. Groups around its own are not looked at.
//!
//! `/proc/self/cgroup` says where in the tree of each hierarchy the agent is: lines of a number,
//! controllers and a path, with colons between. Version 2 has one hierarchy, number 0, without
//! controllers; version 1 has several.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::{Roots, attribute};
use super::{Collector, only_number, whole};

/// Limits change rarely, and the kernel adds up what a group uses when it is asked.
const EVERY: Duration = Duration::from_secs(15);
/// Most lines that are looked at; Linux has some 15 controllers.
const HIERARCHIES_MAX: usize = 64;
/// Version 1 writes no limit as the highest number of whole pages; nobody has half of that.
const NO_LIMIT: f64 = (1_u64 << 62) as f64;
const NANOS_PER_SECOND: f64 = 1e9;
const MICROS_PER_SECOND: f64 = 1e6;

/// The agent's own control group.
#[derive(Debug, Default)]
pub(super) struct Cgroup;

impl Collector for Cgroup {
    fn name(&self) -> &'static str {
        "cgroup"
    }

    fn source(&self) -> &'static str {
        "the agent's own `/proc/self/cgroup`, `/sys/fs/cgroup/`"
    }

    fn every(&self) -> Option<Duration> {
        Some(EVERY)
    }

    fn is_node(&self) -> bool {
        false
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let path = roots.own.join("proc/self/cgroup");
        let text = attribute(&path).map_err(|error| CollectError::at(&path, &error));
        if let Some(text) = faults.check_if_there(text) {
            let tree = roots.own.join("sys/fs/cgroup");
            for (controller, show) in
                [("memory", report_memory as fn(&mut Group, &mut Batch)), ("cpu", report_cpu), ("pids", report_pids)]
            {
                if let Some((directory, version)) = find(&text, controller, &tree) {
                    show(&mut Group { directory, version, faults: &mut faults }, out);
                }
            }
        }
        faults.into_result()
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Version {
    One,
    Two,
}

/// The directory of the agent's group in the hierarchy that has a controller.
fn find(text: &str, controller: &str, tree: &Path) -> Option<(PathBuf, Version)> {
    let mut fields = text.lines().take(HIERARCHIES_MAX).filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let is_of = |controllers: &str| controllers.split(',').any(|one| one == controller);
    let one = fields.clone().find(|(controllers, _)| is_of(controllers));
    match one {
        // The hierarchy of cpu and cpuacct, say, may be mounted by both names or by one of them.
        Some((controllers, path)) => {
            let mounts = [tree.join(controllers), tree.join(controller)];
            let mount = mounts.into_iter().find(|mount| mount.is_dir())?;
            Some((below(&mount, path)?, Version::One))
        }
        None => {
            let (_, path) = fields.find(|(controllers, _)| controllers.is_empty())?;
            Some((below(tree, path)?, Version::Two))
        }
    }
}

/// A group's directory. The path may be one of the host while a container has only its own group
/// mounted: then that is the one.
fn below(mount: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path.trim_start_matches('/'));
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let whole = mount.join(path);
    if is_plain && whole.is_dir() { Some(whole) } else { mount.is_dir().then(|| mount.to_path_buf()) }
}

/// The files of a group.
struct Group<'a> {
    directory: PathBuf,
    version: Version,
    faults: &'a mut Faults,
}

impl Group<'_> {
    /// The text of one; `None` when the group has no such file: that of a root has no limits.
    fn text(&mut self, file: &str) -> Option<String> {
        let path = self.directory.join(file);
        let text = attribute(&path).map_err(|error| CollectError::at(&path, &error));
        self.faults.check_if_there(text)
    }

    fn number(&mut self, file: &str) -> Option<f64> {
        let text = self.text(file)?;
        self.faults.check(only_number(file, &text))
    }

    /// A number, or `max` and the like where there is no limit.
    fn limit(&mut self, file: &str) -> Option<f64> {
        let text = self.text(file)?;
        let limit = if text == "max" { return None } else { only_number(file, &text) };
        self.faults.check(limit).filter(|limit| *limit < NO_LIMIT)
    }

    /// One line of a file with lines of a name and a number.
    fn field(&mut self, text: &str, name: &str) -> Option<f64> {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        self.faults.check(only_number(name, value))
    }
}

fn report_memory(group: &mut Group, out: &mut Batch) {
    let (limit, usage) = match group.version {
        Version::One => ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        Version::Two => ("memory.max", "memory.current"),
    };
    if let Some(bytes) = group.limit(limit) {
        let help = "Memory that the agent's own control group may use; absent without a limit.";
        out.gauge("fleetgauge_cgroup_memory_limit_bytes", help, &[], bytes);
    }
    if let Some(bytes) = group.number(usage) {
        let help = "Memory that the agent's own control group uses, caches included.";
        out.gauge("fleetgauge_cgroup_memory_usage_bytes", help, &[], bytes);
    }
}

fn report_cpu(group: &mut Group, out: &mut Batch) {
    if let Some(cores) = cores(group) {
        let help = "CPUs that the agent's own control group may use at a time; absent without a limit.";
        out.gauge("fleetgauge_cgroup_cpu_limit_cores", help, &[], cores);
    }
    let Some(stat) = group.text("cpu.stat") else { return };
    let (time, unit) = match group.version {
        Version::One => ("throttled_time", NANOS_PER_SECOND),
        Version::Two => ("throttled_usec", MICROS_PER_SECOND),
    };
    if let Some(time) = group.field(&stat, time) {
        let help = "Time that the agent's own control group was kept from running by its limit.";
        out.counter("fleetgauge_cgroup_cpu_throttled_seconds_total", help, &[], time / unit);
    }
    if let Some(periods) = group.field(&stat, "nr_throttled") {
        let help = "Periods in which the agent's own control group came to its limit.";
        out.counter("fleetgauge_cgroup_cpu_throttled_periods_total", help, &[], periods);
    }
}

/// Time on CPUs in a period, divided by the period.
fn cores(group: &mut Group) -> Option<f64> {
    let (file, text) = match group.version {
        Version::One => {
            let file = "cpu.cfs_quota_us";
            let quota = group.text(file)?;
            (file, format!("{quota} {}", group.text("cpu.cfs_period_us")?))
        }
        Version::Two => ("cpu.max", group.text("cpu.max")?),
    };
    let (quota, period) = text.split_once(' ').unwrap_or((&text, ""));
    if quota == "max" || quota == "-1" {
        return None;
    }
    let cores = whole(quota).zip(whole(period).filter(|period| *period > 0.0)).map(|(quota, period)| quota / period);
    group.faults.check(cores.ok_or_else(|| CollectError::malformed(file, &text)))
}

fn report_pids(group: &mut Group, out: &mut Batch) {
    if let Some(limit) = group.limit("pids.max") {
        let help = "Threads that the agent's own control group may have; absent without a limit.";
        out.gauge("fleetgauge_cgroup_pids_limit", help, &[], limit);
    }
    if let Some(count) = group.number("pids.current") {
        out.gauge("fleetgauge_cgroup_pids_current", "Threads in the agent's own control group.", &[], count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    /// A container's `/`, and what is shown of it.
    #[track_caller]
    fn check_own(files: &[(&str, &str)], page: &str, fault: Option<&str>) {
        let own = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = own.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let roots = Roots { own: own.path().to_path_buf(), ..Roots::new(None) };
        let run = |out: &mut Batch, faults: &mut Faults| {
            let result = Cgroup.read(&roots, out);
            faults.check(result);
        };
        check(run, page, fault);
    }

    #[test]
    fn version_2_in_a_container_of_its_own() {
        let files = [
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/memory.max", "67108864\n"),
            ("sys/fs/cgroup/memory.current", "5242880\n"),
            ("sys/fs/cgroup/cpu.max", "50000 100000\n"),
            ("sys/fs/cgroup/cpu.stat", "usage_usec 9\nnr_periods 40\nnr_throttled 7\nthrottled_usec 2500000\n"),
            ("sys/fs/cgroup/pids.max", "100\n"),
            ("sys/fs/cgroup/pids.current", "4\n"),
        ];
        let page = "fleetgauge_cgroup_memory_limit_bytes 67108864\nfleetgauge_cgroup_memory_usage_bytes 5242880\n\
            fleetgauge_cgroup_cpu_limit_cores 0.5\nfleetgauge_cgroup_cpu_throttled_seconds_total 2.5\n\
            fleetgauge_cgroup_cpu_throttled_periods_total 7\nfleetgauge_cgroup_pids_limit 100\n\
            fleetgauge_cgroup_pids_current 4\n";
        check_own(&files, page, None);
    }

    #[test]
    fn version_2_of_a_service_without_limits() {
        let files = [
            ("proc/self/cgroup", "0::/system.slice/fleetgauge.service\n"),
            ("sys/fs/cgroup/memory.max", "1\n"),
            ("sys/fs/cgroup/system.slice/fleetgauge.service/memory.max", "max\n"),
            ("sys/fs/cgroup/system.slice/fleetgauge.service/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/system.slice/fleetgauge.service/cpu.stat", "usage_usec 9\n"),
            ("sys/fs/cgroup/system.slice/fleetgauge.service/pids.current", "3\n"),
        ];
        check_own(&files, "fleetgauge_cgroup_pids_current 3\n", None);
    }

    #[test]
    fn version_1_shows_the_group_that_is_mounted() {
        let files = [
            ("proc/self/cgroup", "5:memory:/docker/4f1e\n4:cpu,cpuacct:/docker/4f1e\n1:name=systemd:/x\n0::/x\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "4096\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.stat", "nr_periods 1\nnr_throttled 1\nthrottled_time 1500000000\n"),
        ];
        let page = "fleetgauge_cgroup_memory_usage_bytes 4096\nfleetgauge_cgroup_cpu_limit_cores 1.5\n\
            fleetgauge_cgroup_cpu_throttled_seconds_total 1.5\nfleetgauge_cgroup_cpu_throttled_periods_total 1\n";
        check_own(&files, page, None);
    }

    #[test]
    fn what_makes_no_sense_is_a_fault() {
        let files = [
            ("proc/self/cgroup", "0::/../../..\n"),
            ("sys/fs/cgroup/memory.max", "1\n"),
            ("sys/fs/cgroup/cpu.max", "1 0\n"),
        ];
        check_own(&files, "fleetgauge_cgroup_memory_limit_bytes 1\n", Some("cpu.max: cannot make sense of \"1 0\""));
        check_own(&[], "", None);
    }
}
