//! `node_pressure_*` from `/proc/pressure/`: time lost because something was short. The files came
//! with Linux 4.20 (that of interrupts with 6.1), and not every kernel is built with them.

use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::{Roots, Source};
use super::{Collector, whole};

const MICROS_PER_SECOND: f64 = 1e6;

/// One thing that can be short.
#[derive(Debug)]
struct Resource {
    path: &'static str,
    /// Which of its lines are shown: their first word, the metric and its HELP. In a line `some`
    /// at least one task was held up, in a line `full` all were at the same time.
    lines: &'static [(&'static str, &'static str, &'static str)],
}

const RESOURCES: [Resource; 4] = [
    Resource {
        path: "pressure/cpu",
        lines: &[("some", "node_pressure_cpu_waiting_seconds_total", "Time that some task waited for a CPU.")],
    },
    Resource {
        path: "pressure/io",
        lines: &[
            ("some", "node_pressure_io_waiting_seconds_total", "Time that some task waited for a device."),
            (
                "full",
                "node_pressure_io_stalled_seconds_total",
                "Time that nothing got on because all waited for devices.",
            ),
        ],
    },
    Resource {
        path: "pressure/memory",
        lines: &[
            ("some", "node_pressure_memory_waiting_seconds_total", "Time that some task waited for memory."),
            (
                "full",
                "node_pressure_memory_stalled_seconds_total",
                "Time that nothing got on because all waited for memory.",
            ),
        ],
    },
    Resource {
        path: "pressure/irq",
        lines: &[(
            "full",
            "node_pressure_irq_stalled_seconds_total",
            "Time that nothing got on because interrupts were served.",
        )],
    },
];

/// What was short.
#[derive(Debug)]
pub(super) struct Pressure {
    files: [Source; RESOURCES.len()],
}

impl Pressure {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new() -> Self {
        Self { files: RESOURCES.map(|resource| Source::new(resource.path)) }
    }
}

impl Collector for Pressure {
    fn name(&self) -> &'static str {
        "pressure"
    }

    fn source(&self) -> &'static str {
        "`/proc/pressure/`"
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        for (resource, file) in RESOURCES.iter().zip(&mut self.files) {
            if let Some(text) = file.read_if_there(&roots.proc, &mut faults) {
                report(resource, text, out, &mut faults);
            }
        }
        faults.into_result()
    }
}

fn report(resource: &Resource, text: &str, out: &mut Batch, faults: &mut Faults) {
    for line in text.lines() {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let total = rest.split(' ').find_map(|word| word.strip_prefix("total=")).and_then(whole);
        let Some(total) = faults.check(total.ok_or_else(|| CollectError::malformed(resource.path, line))) else {
            continue;
        };
        if let Some((_, name, help)) = resource.lines.iter().find(|(shown, ..)| *shown == kind) {
            out.counter(name, help, &[], total / MICROS_PER_SECOND);
        }
    }
    if text.is_empty() {
        faults.note(CollectError::malformed(resource.path, text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    #[track_caller]
    fn check_report(resource: usize, text: &str, page: &str, fault: Option<&str>) {
        check(|out, faults| report(&RESOURCES[resource], text, out, faults), page, fault);
    }

    #[test]
    fn each_file_has_its_lines() {
        let some = "some avg10=0.12 avg60=0.05 avg300=0.01 total=9684259\n";
        let full = "full avg10=0.00 avg60=0.00 avg300=0.00 total=5951493\n";
        let both = format!("{some}{full}");
        check_report(0, some, "node_pressure_cpu_waiting_seconds_total 9.684259\n", None);
        check_report(0, &both, "node_pressure_cpu_waiting_seconds_total 9.684259\n", None);
        let page = "node_pressure_io_waiting_seconds_total 9.684259\nnode_pressure_io_stalled_seconds_total 5.951493\n";
        check_report(1, &both, page, None);
        check_report(3, full, "node_pressure_irq_stalled_seconds_total 5.951493\n", None);
    }

    #[test]
    fn what_can_be_read_is_reported() {
        let text = "some avg10=0.12\nfull total=1000000\n";
        let page = "node_pressure_memory_stalled_seconds_total 1\n";
        check_report(2, text, page, Some("pressure/memory: cannot make sense of \"some avg10=0.12\""));
        check_report(2, "", "", Some("pressure/memory: cannot make sense of \"\""));
    }

    #[test]
    fn a_kernel_that_has_it_switched_off_is_no_fault() {
        let error = CollectError::call("pressure/cpu", &rustix::io::Errno::OPNOTSUPP.into());
        assert!(error.is_missing());
    }
}
