//! The vital signs of a Linux host from its files, for an agent that looks at it from a container.

use std::time::{Duration, Instant};

use protocol::{ABSENT, is_absent};

use super::{Filesystem, Network, Signs, used_ratio};
use crate::collect::config::Config;
use crate::collect::error::{CollectError, Faults};
use crate::collect::files::{HostSource, Roots, Source};
use crate::collect::filter::Filter;
use crate::collect::linux::mountinfo::Mount;
use crate::collect::linux::proc_stat::{MODES, cpu_lines};
use crate::collect::linux::processes::{FIRST, not_listed};
use crate::collect::linux::{loadavg, meminfo, netdev, number};

/// How often processes are counted.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// The files that they come from.
pub(super) struct Files {
    stat: Source,
    meminfo: Source,
    loadavg: Source,
    uptime: Source,
    netdev: HostSource,
    devices: Filter,
    /// Idle and whole CPU time at the last reading.
    before: Option<(f64, f64)>,
}

impl Files {
    /// Reads nothing yet.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            stat: Source::new("stat"),
            meminfo: Source::new("meminfo"),
            loadavg: Source::new("loadavg"),
            uptime: Source::new("uptime"),
            netdev: netdev::source(),
            devices: config.netdev_devices.clone(),
            before: None,
        }
    }

    /// Measures all but networks, processes and file systems.
    pub(super) fn signs(&mut self, roots: &Roots, faults: &mut Faults) -> Signs {
        let mut signs = Signs::default();
        let now = self.stat.read(&roots.proc, faults).map(|text| {
            cpu_time(text).ok_or_else(|| CollectError::malformed("stat", text.lines().next().unwrap_or_default()))
        });
        if let Some(now) = now.and_then(|now| faults.check(now)) {
            signs.cpu_used = self.before.map_or(ABSENT, |before| busy_share(before, now));
            self.before = Some(now);
        }
        if let Some(text) = self.meminfo.read(&roots.proc, faults) {
            (signs.memory_used, signs.swap_used) = memory(text);
            if is_absent(signs.memory_used) && is_absent(signs.swap_used) {
                faults.note(CollectError::malformed("meminfo", text.lines().next().unwrap_or_default()));
            }
        }
        if let Some(text) = self.loadavg.read(&roots.proc, faults) {
            signs.loads = faults.check(loadavg::parse(text)).unwrap_or([ABSENT; 3]);
        }
        if let Some(text) = self.uptime.read(&roots.proc, faults) {
            let seconds = text.split_ascii_whitespace().next().and_then(number);
            signs.uptime_seconds =
                faults.check(seconds.ok_or_else(|| CollectError::malformed("uptime", text))).unwrap_or(ABSENT);
        }
        signs
    }

    /// The host's network devices.
    pub(super) fn networks(&mut self, roots: &Roots, faults: &mut Faults) -> Vec<Network> {
        let Some(text) = self.netdev.read(&roots.proc, faults) else { return vec![] };
        let one = |(device, columns): (&str, [f64; 16])| {
            let [received, .., sent, _, _, _, _, _, _, _] = columns;
            Network { device: device.to_owned(), received, sent }
        };
        netdev::devices(text, &mut self.devices).filter_map(|line| faults.check(line)).map(one).collect()
    }
}

/// Idle time and all time of all CPUs together. Time for guests is part of user's already.
fn cpu_time(text: &str) -> Option<(f64, f64)> {
    let (_, times) = cpu_lines(text).next()?.ok().filter(|(id, _)| id.is_empty())?;
    let [_, _, _, idle, iowait, ..] = times;
    Some((idle + iowait, times.iter().take(MODES.len()).sum()))
}

/// The share of the time between two readings that was not idle.
fn busy_share(before: (f64, f64), now: (f64, f64)) -> f64 {
    used_ratio((now.0 - before.0).max(0.0), now.1 - before.1, ABSENT)
}

/// The used shares of memory and of swap.
fn memory(text: &str) -> (f64, f64) {
    let of = |name: &str| meminfo::fields(text).flatten().find(|(field, _)| *field == name).map(|(_, value)| value);
    let share = |available: &str, total: &str, empty: f64| match (of(available), of(total)) {
        (Some(available), Some(total)) => used_ratio(available, total, empty),
        _ => ABSENT,
    };
    (share("MemAvailable", "MemTotal", ABSENT), share("SwapFree", "SwapTotal", 0.0))
}

/// How full a mount is, if it is known.
pub(super) fn filesystem(mount: &Mount) -> Option<Filesystem> {
    let space = mount.space.as_ref().ok().filter(|space| space.size > 0.0)?;
    Some(Filesystem {
        device: mount.device.clone(),
        mountpoint: mount.mountpoint.clone(),
        fstype: mount.fstype.clone(),
        used: used_ratio(space.avail, space.size, ABSENT),
    })
}

/// Counts processes, and not too often: on a host with thousands it is what costs most.
pub(super) struct Processes {
    last: Option<Counted>,
}

/// How many there were when they were counted, and what went wrong then.
struct Counted {
    at: Instant,
    count: f64,
    fault: Option<CollectError>,
}

impl Processes {
    /// Counts nothing yet.
    pub(super) fn new() -> Self {
        Self { last: None }
    }

    /// How many there are, or were a short while ago.
    pub(super) fn count(&mut self, roots: &Roots, faults: &mut Faults) -> f64 {
        let fresh = self.last.take().filter(|last| last.at.elapsed() < COUNT_EVERY);
        let last = fresh.unwrap_or_else(|| {
            let mut faults = Faults::default();
            let count = processes(roots, &mut faults);
            Counted { at: Instant::now(), count, fault: faults.into_result().err() }
        });
        if let Some(fault) = &last.fault {
            faults.note(fault.clone());
        }
        let count = last.count;
        self.last = Some(last);
        count
    }
}

/// How many processes there are: the directories of `/proc` that are numbers. Those that are
/// hidden from us (`hidepid`) cannot be counted, which is a fault.
pub(super) fn processes(roots: &Roots, faults: &mut Faults) -> f64 {
    let entries = std::fs::read_dir(&roots.proc).map_err(|error| CollectError::at(&roots.proc, &error));
    let Some(entries) = faults.check(entries) else { return ABSENT };
    let is_number = |name: &std::ffi::OsStr| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    let (mut count, mut is_whole) = (0_u32, false);
    for entry in entries {
        let Some(entry) = faults.check(entry.map_err(|error| CollectError::at(&roots.proc, &error))) else { break };
        let name = entry.file_name();
        is_whole |= name == FIRST;
        count += u32::from(is_number(&name));
    }
    if !is_whole {
        faults.note(not_listed());
    }
    f64::from(count)
}
