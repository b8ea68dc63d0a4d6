//! What a process says of itself: the `process_*` metrics.

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Counter, MetricFamily};
use rustix::time::{ClockId, clock_gettime};

/// The metrics of this process, for a registry.
#[must_use]
pub fn collector() -> impl Collector {
    Process(ProcessCollector::for_self())
}

/// The `prometheus` crate counts CPU time in whole seconds, in which nobody sees what a process
/// that uses a thousandth of a CPU does. The system's clock of it has nanoseconds.
struct Process(ProcessCollector);

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.0.collect();
        for family in families.iter_mut().filter(|family| family.name() == "process_cpu_seconds_total") {
            for metric in family.mut_metric() {
                let mut counter = Counter::default();
                counter.set_value(cpu_seconds());
                metric.set_counter(counter);
            }
        }
        families
    }
}

/// CPU time of this process, of all its threads, in seconds.
#[expect(clippy::cast_precision_loss, reason = "samples are f64")]
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_has_a_fraction() {
        let families = collector().collect();
        let family = families.iter().find(|family| family.name() == "process_cpu_seconds_total").unwrap();
        let seconds = family.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum::<f64>();
        assert!(seconds > 0.0 && seconds <= cpu_seconds() && seconds.fract() != 0.0, "{seconds}");
    }
}
