//! `node_kernel_hung_tasks_total` from `/proc/sys/kernel/hung_task_detect_count`, which kernels
//! before 6.13, and those that do not look for hung tasks, do not have.

use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::{Roots, Source};
use super::{Collector, only_number};

/// Tasks that did not get on.
#[derive(Debug)]
pub(super) struct KernelHung {
    file: Source,
}

impl KernelHung {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new() -> Self {
        Self { file: Source::new("sys/kernel/hung_task_detect_count") }
    }
}

impl Collector for KernelHung {
    fn name(&self) -> &'static str {
        "kernel_hung"
    }

    fn source(&self) -> &'static str {
        "`/proc/sys/kernel/hung_task_detect_count`"
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let path = self.file.path();
        let number = self.file.read_if_there(&roots.proc, &mut faults).map(|text| only_number(path, text));
        if let Some(count) = number.and_then(|number| faults.check(number)) {
            let help = "Tasks found to wait for something for longer than the kernel thinks right.";
            out.counter("node_kernel_hung_tasks_total", help, &[], count);
        }
        faults.into_result()
    }
}
