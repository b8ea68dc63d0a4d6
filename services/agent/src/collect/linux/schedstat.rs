//! `node_schedstat_*` from `/proc/schedstat`: what the scheduler did on each CPU. Kernels without
//! these statistics have no such file.

use super::batch::Batch;
use super::error::{CollectError, Faults, at_most};
use super::files::{Roots, Source};
use super::{Collector, whole};

/// The most CPUs that Linux can be built for.
const CPUS_MAX: usize = 8192;
/// How many columns of a CPU's line stand before the ones that are shown.
const SKIPPED: usize = 6;
const NANOS_PER_SECOND: f64 = 1e9;

/// The scheduler's own statistics.
#[derive(Debug)]
pub(super) struct Schedstat {
    file: Source,
}

impl Schedstat {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new() -> Self {
        Self { file: Source::new("schedstat") }
    }
}

impl Collector for Schedstat {
    fn name(&self) -> &'static str {
        "schedstat"
    }

    fn source(&self) -> &'static str {
        "`/proc/schedstat`"
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        if let Some(text) = self.file.read_if_there(&roots.proc, &mut faults) {
            report(text, out, &mut faults);
        }
        faults.into_result()
    }
}

/// The lines of the CPUs: the CPU's number, time that tasks ran and time that they waited (both
/// in seconds), and how many times one was given the CPU.
fn cpus(text: &str) -> impl Iterator<Item = Result<(&str, [f64; 3]), CollectError>> {
    let lines = text.lines().filter(|line| line.starts_with("cpu")).map(|line| {
        let parse = || {
            let mut words = line.split_ascii_whitespace();
            let cpu = words.next()?.strip_prefix("cpu")?;
            let mut words = words.skip(SKIPPED);
            let ran = whole(words.next()?)? / NANOS_PER_SECOND;
            let waited = whole(words.next()?)? / NANOS_PER_SECOND;
            let slices = whole(words.next()?)?;
            let is_number = !cpu.is_empty() && cpu.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then_some((cpu, [ran, waited, slices]))
        };
        parse().ok_or_else(|| CollectError::malformed("schedstat", line))
    });
    at_most(CPUS_MAX, "CPUs", lines)
}

fn report(text: &str, out: &mut Batch, faults: &mut Faults) {
    for line in cpus(text) {
        let Some((cpu, [ran, waited, slices])) = faults.check(line) else { continue };
        let labels = [("cpu", cpu)];
        out.counter("node_schedstat_running_seconds_total", "Time that tasks ran on a CPU.", &labels, ran);
        let help = "Time that tasks waited for a CPU while they could have run.";
        out.counter("node_schedstat_waiting_seconds_total", help, &labels, waited);
        let help = "How often a task was given a CPU.";
        out.counter("node_schedstat_timeslices_total", help, &labels, slices);
    }
    if out.is_blank() {
        faults.note(CollectError::malformed("schedstat", text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    #[test]
    fn times_are_seconds_and_other_lines_are_passed_over() {
        let text = "version 15\ntimestamp 4294901513\ncpu0 1 2 3 4 5 6 7500000000 250000000 9\ndomain0 3 1 2\n\
            cpu12 1 2 3 4 5 6 1 2 3 4 5\ncpux 1 2 3 4 5 6 7 8 9\ncpu1 1 2 3 4 5 6 7 8\n";
        let page = "node_schedstat_running_seconds_total{cpu=\"0\"} 7.5\n\
            node_schedstat_running_seconds_total{cpu=\"12\"} 0.000000001\n\
            node_schedstat_waiting_seconds_total{cpu=\"0\"} 0.25\n\
            node_schedstat_waiting_seconds_total{cpu=\"12\"} 0.000000002\n\
            node_schedstat_timeslices_total{cpu=\"0\"} 9\n\
            node_schedstat_timeslices_total{cpu=\"12\"} 3\n";
        check(|out, faults| report(text, out, faults), page, Some("\"cpux 1 2 3 4 5 6 7 8 9\""));
    }

    #[test]
    fn a_file_without_cpus_is_a_fault() {
        check(|out, faults| report("version 15\n", out, faults), "", Some("cannot make sense of \"version 15\\n\""));
    }
}
