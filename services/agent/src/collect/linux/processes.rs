//! `node_processes_*` from `/proc/*/stat`: how many processes and threads there are, and in which
//! states the processes are. What `hidepid` hides from the agent is not counted, and a fault.
//!
//! The states of single threads are in files of their own, as many as there are threads; they are
//! not read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::{Roots, Source, read_at};
use super::{Collector, only_number, whole};

/// A file for each process is too much for every push.
const EVERY: Duration = Duration::from_secs(30);
/// Most processes that are read: at about 8 µs each that takes less than a fifth of a second.
const PROCESSES_MAX: usize = 20_000;
/// More than a `stat` file needs up to its number of threads.
const STAT_BYTES_MAX: usize = 1024;

/// The host's processes.
#[derive(Debug)]
pub(super) struct Processes {
    pid_max: Source,
    threads_max: Source,
    /// States that processes are in or have been in, so that those come to 0 instead of vanishing.
    states: BTreeMap<char, f64>,
}

impl Processes {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new() -> Self {
        Self {
            pid_max: Source::new("sys/kernel/pid_max"),
            threads_max: Source::new("sys/kernel/threads-max"),
            states: BTreeMap::new(),
        }
    }
}

impl Collector for Processes {
    fn name(&self) -> &'static str {
        "processes"
    }

    fn source(&self) -> &'static str {
        "`/proc/*/stat`, `/proc/sys/kernel/{pid_max,threads-max}`"
    }

    fn every(&self) -> Option<Duration> {
        Some(EVERY)
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        self.states.values_mut().for_each(|count| *count = 0.0);
        let counts = count(&roots.proc, PROCESSES_MAX, &mut self.states, &mut faults, |path| File::open(path));
        if let Some((processes, threads)) = faults.check(counts) {
            out.gauge("node_processes_pids", "Processes.", &[], processes);
            out.gauge("node_processes_threads", "Threads of all processes.", &[], threads);
            for (state, count) in &self.states {
                let help = "Processes in each state, by the kernel's letter for it.";
                out.gauge("node_processes_state", help, &[("state", state.encode_utf8(&mut [0; 4]))], *count);
            }
        }
        let limits = [
            (&mut self.pid_max, "node_processes_max_processes", "Process ids that there can be."),
            (&mut self.threads_max, "node_processes_max_threads", "Threads that there may be."),
        ];
        let hidden = if hides_pid_max(&roots.proc, &kernel_release()) { 1 } else { 0 };
        for (file, name, help) in limits.into_iter().skip(hidden) {
            let path = file.path();
            let number = file.read(&roots.proc, &mut faults).map(|text| only_number(path, text));
            if let Some(limit) = number.and_then(|number| faults.check(number)) {
                out.gauge(name, help, &[], limit);
            }
        }
        faults.into_result()
    }
}

/// The kernel's release, such as `6.12.3-amd64`.
fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Would `pid_max` be that of our own PID namespace? Since Linux 6.14 each has its own, and readers
/// get theirs, through whichever `/proc`. In another namespace than the host's we are a process by
/// another number there than here.
fn hides_pid_max(proc: &Path, release: &str) -> bool {
    let there = std::fs::read_link(proc.join("self")).ok();
    let is_elsewhere = there.is_some_and(|there| there != Path::new(&std::process::id().to_string()));
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|word| word.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    is_elsewhere && version >= (6, 14)
}

/// Every list of processes begins with this one, unless the processes of others are hidden.
pub(in crate::collect) const FIRST: &str = "1";

/// The fault that processes are not even listed.
pub(in crate::collect) fn not_listed() -> CollectError {
    CollectError::hidden("processes of other users are hidden and not counted (hidepid)")
}

/// What is known of a process.
#[derive(Debug, PartialEq)]
enum Process {
    /// Its state, and how many threads it has.
    Is(char, f64),
    /// It has ended meanwhile.
    Gone,
    /// It is listed, but says nothing to us.
    Hidden,
}

/// Counts processes, at most `max`, and their threads; adds up the states of the processes.
/// `open` opens a file.
///
/// # Errors
/// When there is no list of processes.
fn count(
    proc: &Path,
    max: usize,
    states: &mut BTreeMap<char, f64>,
    faults: &mut Faults,
    open: impl Fn(&Path) -> io::Result<File>,
) -> Result<(f64, f64), CollectError> {
    let entries = std::fs::read_dir(proc).map_err(|error| CollectError::at(proc, &error))?;
    let (mut processes, mut threads) = (0.0, 0.0);
    let (mut seen, mut hidden, mut is_whole) = (0, 0, false);
    for entry in entries {
        let Some(entry) = faults.check(entry.map_err(|error| CollectError::at(proc, &error))) else { continue };
        is_whole |= entry.file_name() == FIRST;
        if !entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        if seen == max {
            faults.note(CollectError::TooMany { what: "processes", max });
            is_whole = true;
            break;
        }
        seen += 1;
        match faults.check(read(&entry.path().join("stat"), &open)) {
            Some(Process::Is(state, its_threads)) => {
                processes += 1.0;
                threads += its_threads;
                *states.entry(state).or_default() += 1.0;
            }
            Some(Process::Hidden) => hidden += 1,
            Some(Process::Gone) | None => {}
        }
    }
    if hidden > 0 {
        faults.note(CollectError::hidden(format!("{hidden} processes are hidden and not counted (hidepid)")));
    } else if !is_whole {
        faults.note(not_listed());
    }
    Ok((processes, threads))
}

/// The state of one process and how many threads it has.
fn read(path: &Path, open: impl Fn(&Path) -> io::Result<File>) -> Result<Process, CollectError> {
    let mut room = [0; STAT_BYTES_MAX];
    let got = match open(path).and_then(|file| read_at(&file, &mut room, 0)) {
        Ok(got) => got,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(Process::Hidden),
        Err(error) if is_gone(&error) => return Ok(Process::Gone),
        Err(error) => return Err(CollectError::at(path, &error)),
    };
    let stat = room.get(..got).unwrap_or_default();
    let malformed = || CollectError::malformed(&path.display().to_string(), &String::from_utf8_lossy(stat));
    parse(stat).map(|(state, threads)| Process::Is(state, threads)).ok_or_else(malformed)
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// State and number of threads in a `stat` file. The process' name comes before them, in brackets,
/// and may itself hold brackets, blanks, and what is no text.
fn parse(stat: &[u8]) -> Option<(char, f64)> {
    let end_of_name = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end_of_name + 1..)?).ok()?;
    let mut words = rest.split_ascii_whitespace();
    let mut state = words.next()?.chars();
    let (state, None) = (state.next().filter(char::is_ascii_alphabetic)?, state.next()) else { return None };
    // The state is the third field, the number of threads the twentieth.
    Some((state, words.nth(16).and_then(whole)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, state: &str, threads: &str) -> String {
        format!("7 ({name}) {state} 1 7 7 0 -1 4194560 10 0 0 0 1 2 0 0 20 0 {threads} 0 9 1000 5\n")
    }

    fn host(processes: &[(&str, &str)]) -> tempfile::TempDir {
        let proc = tempfile::tempdir().unwrap();
        for (directory, stat) in processes {
            std::fs::create_dir(proc.path().join(directory)).unwrap();
            std::fs::write(proc.path().join(directory).join("stat"), stat).unwrap();
        }
        proc
    }

    #[test]
    fn another_namespaces_pid_max_is_not_the_hosts() {
        let root = tempfile::tempdir().unwrap();
        assert!(!hides_pid_max(root.path(), "6.18.1-x"), "nothing says that it is another");
        assert!(!hides_pid_max(Path::new("/proc"), "6.18.1-x"));
        std::os::unix::fs::symlink("4294967295", root.path().join("self")).unwrap();
        assert!(hides_pid_max(root.path(), "6.14.0") && hides_pid_max(root.path(), "7.0-rc1"));
        assert!(!hides_pid_max(root.path(), "6.8.0-90-generic") && !hides_pid_max(root.path(), "5.15"));
    }

    #[test]
    fn names_may_be_anything() {
        for name in ["init", "a b", ") R 1 (", "x) S 2", "a\nb", "", "\u{fffd}"] {
            assert_eq!(parse(line(name, "S", "42").as_bytes()), Some(('S', 42.0)), "{name:?}");
        }
        assert_eq!(parse(b"1 (\xff) R 1 7 7 0 -1 4 10 0 0 0 1 2 0 0 20 0 3 0"), Some(('R', 3.0)));
        for bad in ["", "7 (x", "7 (x)", "7 (x) SS 1", "7 (x) S 1 2 3", &line("x", "1", "1"), &line("x", "S", "x")] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn processes_are_counted() {
        let proc = host(&[
            ("1", &line("init", "S", "1")),
            ("20", &line("db", "S", "30")),
            ("21", "?"),
            ("x", &line("x", "R", "1")),
        ]);
        std::fs::create_dir(proc.path().join("22")).unwrap();
        let (mut states, mut faults) = (BTreeMap::new(), Faults::default());
        assert_eq!(count(proc.path(), 10, &mut states, &mut faults, |path| File::open(path)), Ok((2.0, 31.0)));
        assert_eq!(states, BTreeMap::from([('S', 2.0)]));
        assert!(faults.into_result().unwrap_err().to_string().contains("21/stat: cannot make sense of \"?\""));
    }

    #[test]
    fn what_goes_over_the_limit_is_a_fault() {
        let proc = host(&[("1", &line("a", "S", "1")), ("2", &line("b", "R", "1")), ("3", &line("c", "R", "1"))]);
        let count = |max: usize| {
            let mut faults = Faults::default();
            let counts = count(proc.path(), max, &mut BTreeMap::new(), &mut faults, |path| File::open(path)).unwrap();
            (counts.0, faults.into_result().map_err(|error| error.to_string()))
        };
        assert_eq!(count(3), (3.0, Ok(())));
        assert_eq!(count(2), (2.0, Err("processes: more than 2, the others are not shown".into())));
    }

    #[test]
    fn what_is_hidden_is_a_fault_and_the_rest_is_counted() {
        let some = |proc: &tempfile::TempDir, errno: rustix::io::Errno| {
            let open = |path: &Path| if path.ends_with("20/stat") { Err(errno.into()) } else { File::open(path) };
            let (mut states, mut faults) = (BTreeMap::new(), Faults::default());
            let (processes, _) = count(proc.path(), 10, &mut states, &mut faults, open).unwrap();
            (processes, faults.into_result().map_err(|error| error.to_string()))
        };
        let proc = host(&[("1", &line("a", "S", "1")), ("20", &line("b", "R", "1"))]);
        let fault = "1 processes are hidden and not counted (hidepid)".to_owned();
        for errno in [rustix::io::Errno::PERM, rustix::io::Errno::ACCESS] {
            assert_eq!(some(&proc, errno), (1.0, Err(fault.clone())));
        }
        assert_eq!(some(&proc, rustix::io::Errno::SRCH), (1.0, Ok(())), "it has ended");
        let proc = host(&[("7", &line("a", "S", "1"))]);
        assert_eq!(some(&proc, rustix::io::Errno::SRCH), (1.0, Err(not_listed().to_string())));
    }

    #[test]
    fn a_state_that_nothing_is_in_any_more_is_0() {
        let proc = host(&[("1", &line("a", "D", "1"))]);
        let mut collector = Processes::new();
        let roots = Roots::new(None).with(Some(proc.path()), None);
        let mut page = || {
            let mut batch = Batch::new();
            batch.begin();
            let _limits_are_missing = collector.read(&roots, &mut batch);
            batch.finish(true);
            crate::collect::testing::render(&batch, false)
        };
        assert!(page().ends_with("node_processes_state{state=\"D\"} 1\n"));
        std::fs::write(proc.path().join("1/stat"), line("a", "R", "1")).unwrap();
        assert!(page().ends_with("node_processes_state{state=\"D\"} 0\nnode_processes_state{state=\"R\"} 1\n"));
    }
}
