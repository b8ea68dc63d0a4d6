//! Interrupts, context switches, forks, boot time and runnable processes from `/proc/stat`.

use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::{Roots, Source};
use super::{Collector, whole};

/// The kernel's counters of its own work.
#[derive(Debug)]
pub(super) struct Stat {
    file: Source,
}

impl Stat {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new() -> Self {
        Self { file: Source::new("stat") }
    }
}

impl Collector for Stat {
    fn name(&self) -> &'static str {
        "stat"
    }

    fn source(&self) -> &'static str {
        "`/proc/stat`"
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        if let Some(text) = self.file.read(&roots.proc, &mut faults) {
            report(text, out, &mut faults);
        }
        faults.into_result()
    }
}

fn report(text: &str, out: &mut Batch, faults: &mut Faults) {
    for line in text.lines() {
        let Some((key, rest)) = line.split_once(' ') else { continue };
        let counter = match key {
            "intr" => ("node_intr_total", "Interrupts served.", true),
            "ctxt" => ("node_context_switches_total", "Context switches.", true),
            "processes" => ("node_forks_total", "Processes and threads started.", true),
            "btime" => ("node_boot_time_seconds", "When the host booted, Unix time.", false),
            "procs_running" => ("node_procs_running", "Threads that run or could run.", false),
            "procs_blocked" => ("node_procs_blocked", "Threads that wait for a device.", false),
            _ => continue,
        };
        // The line of interrupts has one number for all of them, then one for each.
        let first = rest.split(' ').next().unwrap_or_default();
        match (whole(first), counter) {
            (Some(value), (name, help, true)) => out.counter(name, help, &[], value),
            (Some(value), (name, help, false)) => out.gauge(name, help, &[], value),
            (None, _) => faults.note(CollectError::malformed("stat", line)),
        }
    }
    if out.is_blank() {
        faults.note(CollectError::malformed("stat", text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    #[test]
    fn counters() {
        let text = "cpu  1 2 3 4\nintr 474158 0 7\nctxt 1152027\nbtime 1795179797\nprocesses 16457\nprocs_running 4\nprocs_blocked x\nsoftirq 1 2\n";
        check(
            |out, faults| report(text, out, faults),
            "node_intr_total 474158\nnode_context_switches_total 1152027\nnode_boot_time_seconds 1795179797\nnode_forks_total 16457\nnode_procs_running 4\n",
            Some("\"procs_blocked x\""),
        );
        check(|out, faults| report("", out, faults), "", Some("stat: cannot make sense of"));
    }
}
