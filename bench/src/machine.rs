//! The machine that a run was measured on. Absolute times hold for one machine on one day.

use std::fs;

use serde::Serialize;

use crate::proc::kib_of;

/// What a reader needs to compare two runs.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// The processor's name.
    pub cpu: String,
    /// Memory of the machine, in MiB.
    pub memory_mib: u64,
    /// The kernel's release.
    pub kernel: String,
}

impl Machine {
    /// This machine.
    #[must_use]
    pub fn this() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let cpus = read("/proc/cpuinfo");
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of MiB")]
        let memory_mib = (kib_of(&read("/proc/meminfo"), "MemTotal:").unwrap_or(0.0) / 1024.0) as u64;
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cpu: model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned()),
            memory_mib,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_cores_and_memory() {
        let machine = Machine::this();
        assert!(machine.cores > 0 && machine.memory_mib > 64 && !machine.kernel.is_empty(), "{machine:?}");
    }
}
