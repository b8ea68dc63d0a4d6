//! `node_entropy_*` from `/proc/sys/kernel/random`.

use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::{Roots, Source};
use super::{Collector, only_number};

/// The kernel's source of randomness.
#[derive(Debug)]
pub(super) struct Entropy {
    available: Source,
    size: Source,
}

impl Entropy {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new() -> Self {
        Self {
            available: Source::new("sys/kernel/random/entropy_avail"),
            size: Source::new("sys/kernel/random/poolsize"),
        }
    }
}

impl Collector for Entropy {
    fn name(&self) -> &'static str {
        "entropy"
    }

    fn source(&self) -> &'static str {
        "`/proc/sys/kernel/random/`"
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let gauges = [
            (&mut self.available, "node_entropy_available_bits", "Randomness that is at hand, in bits."),
            (&mut self.size, "node_entropy_pool_size_bits", "Most randomness that is kept, in bits."),
        ];
        for (file, name, help) in gauges {
            let path = file.path();
            let number = file.read(&roots.proc, &mut faults).map(|text| only_number(path, text));
            if let Some(bits) = number.and_then(|number| faults.check(number)) {
                out.gauge(name, help, &[], bits);
            }
        }
        faults.into_result()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    #[test]
    fn one_that_makes_no_sense_does_not_keep_the_other_away() {
        let root = tempfile::tempdir().unwrap();
        let random = root.path().join("proc/sys/kernel/random");
        std::fs::create_dir_all(&random).unwrap();
        std::fs::write(random.join("entropy_avail"), "much\n").unwrap();
        std::fs::write(random.join("poolsize"), "256\n").unwrap();
        let run = |out: &mut Batch, faults: &mut Faults| {
            let result = Entropy::new().read(&Roots::new(Some(root.path())), out);
            faults.check(result);
        };
        check(run, "node_entropy_pool_size_bits 256\n", Some("random/entropy_avail: cannot make sense of \"much\\n\""));
    }
}
