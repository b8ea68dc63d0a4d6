//! What the kernel says about a process: CPU time and memory. Linux only, like the figures.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use crate::{Error, Result};

/// The CPU time of every thread of a process, in nanoseconds.
///
/// Taken from `schedstat`, which counts nanoseconds where `stat` counts hundredths of seconds. A
/// thread that ends between two readings takes its last share with it; the pools of the programs
/// measured here end threads only after seconds of idleness.
#[derive(Debug, Clone, Default)]
pub struct Cpu {
    threads: HashMap<u64, u64>,
}

impl Cpu {
    /// Reads it now.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn of(pid: u32) -> Result<Self> {
        let tasks = PathBuf::from(format!("/proc/{pid}/task"));
        let doing = || format!("reading {}", tasks.display());
        let mut threads = HashMap::new();
        for entry in fs::read_dir(&tasks).map_err(Error::io(doing()))? {
            let entry = entry.map_err(Error::io(doing()))?;
            let thread: Option<u64> = entry.file_name().to_str().and_then(|name| name.parse().ok());
            // A thread may end between the listing and the reading.
            let text = fs::read_to_string(entry.path().join("schedstat")).ok();
            let spent: Option<u64> = text.and_then(|text| text.split(' ').next().and_then(|ns| ns.parse().ok()));
            threads.extend(thread.zip(spent));
        }
        Ok(Self { threads })
    }

    /// Nanoseconds spent since an earlier reading.
    #[must_use]
    pub fn ns_since(&self, earlier: &Self) -> u64 {
        let before = |thread| earlier.threads.get(thread).copied().unwrap_or(0);
        self.threads.iter().map(|(thread, now)| now.saturating_sub(before(thread))).sum()
    }
}

/// Resident memory of a process, in MiB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Memory {
    /// Now.
    pub now_mib: f64,
    /// The most there ever was.
    pub peak_mib: f64,
}

impl Memory {
    /// Reads it now.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let text = fs::read_to_string(&path).map_err(Error::io(format!("reading {path}")))?;
        let mib = |name| kib_of(&text, name).map(|kib| kib / 1024.0);
        let missing = || Error::Program { program: path.clone(), what: "has no VmRSS and VmHWM".into() };
        let (now_mib, peak_mib) = mib("VmRSS:").zip(mib("VmHWM:")).ok_or_else(missing)?;
        Ok(Self { now_mib, peak_mib })
    }
}

/// Forgets the most memory that a process ever had: its peak begins anew with what it has now.
///
/// # Errors
/// When the process is gone, or of another user.
pub fn reset_peak(pid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/clear_refs");
    fs::write(&path, "5").map_err(Error::io(format!("writing {path}")))
}

/// The threads of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threads {
    /// How many there are.
    pub count: u64,
    /// How often they have gone to sleep by themselves, so that something had to wake them.
    pub sleeps: u64,
}

impl Threads {
    /// Reads them now.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn of(pid: u32) -> Result<Self> {
        let tasks = format!("/proc/{pid}/task");
        let mut threads = Self { count: 0, sleeps: 0 };
        for entry in fs::read_dir(&tasks).map_err(Error::io(format!("reading {tasks}")))? {
            let entry = entry.map_err(Error::io(format!("reading {tasks}")))?;
            // A thread may end between the listing and the reading.
            let Ok(text) = fs::read_to_string(entry.path().join("status")) else { continue };
            let count = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            threads.count += 1;
            threads.sleeps += count.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(threads)
    }
}

/// Bytes of the file that a process runs.
///
/// # Errors
/// When the process is gone.
pub fn binary_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/exe");
    Ok(fs::metadata(&path).map_err(Error::io(format!("looking at {path}")))?.len())
}

/// A line of the form `VmRSS:     123 kB`.
pub(crate) fn kib_of(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn work_is_seen() {
        let pid = std::process::id();
        let before = Cpu::of(pid).unwrap();
        let mut sum = 0_u64;
        let started = std::time::Instant::now();
        while started.elapsed().as_millis() < 50 {
            sum = black_box(sum.wrapping_add(1));
        }
        let spent = Cpu::of(pid).unwrap().ns_since(&before);
        assert!(spent > 5_000_000, "{spent} ns, however busy the machine is");
        assert_eq!(before.ns_since(&before), 0);
    }

    #[test]
    fn threads_and_the_binary_are_seen() {
        let pid = std::process::id();
        let before = Threads::of(pid).unwrap();
        std::thread::spawn(|| {}).join().unwrap();
        let after = Threads::of(pid).unwrap();
        assert!(before.count >= 2 && after.sleeps > 0, "a test runs on a thread of its own: {before:?} {after:?}");
        assert!(binary_bytes(pid).unwrap() > 100_000);
        assert!(Threads::of(u32::MAX).is_err() && binary_bytes(u32::MAX).is_err());
    }

    #[test]
    fn memory_is_read() {
        let memory = Memory::of(std::process::id()).unwrap();
        assert!(memory.now_mib > 0.5 && memory.peak_mib >= memory.now_mib);
        assert_eq!(kib_of("VmPeak:\t  99 kB\nVmRSS:\t    2048 kB\n", "VmRSS:"), Some(2048.0));
        assert_eq!(kib_of("", "VmRSS:"), None);
        assert!(Memory::of(u32::MAX).is_err() && reset_peak(u32::MAX).is_err());
    }
}
