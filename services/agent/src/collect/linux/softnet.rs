//! `node_softnet_*`: packets on their way from the devices to the protocols, by CPU, from
//! `/proc/1/net/softnet_stat`.
//!
//! Its figures are those of the whole host in every namespace.

use super::Collector;
use super::batch::Batch;
use super::error::{CollectError, Faults, at_most};
use super::files::{HostSource, Roots};

/// The most CPUs that Linux can be built for.
const CPUS_MAX: usize = 8192;
/// Columns that are read: those of the newest kernels end with two parts of the backlog.
const COLUMNS: usize = 13;
/// Columns that every kernel since 2.6 has.
const COLUMNS_MIN: usize = 9;
/// The column of the CPU's number. Older kernels have none: there the lines are counted, which
/// are only those of CPUs that are switched on.
const CPU: usize = 12;
/// The columns that mean something, and what their metrics are called and mean. The others were
/// counters once.
const COUNTERS: [(usize, &str, &str); 6] = [
    (0, "node_softnet_processed_total", "Packets that a CPU took from the devices."),
    (1, "node_softnet_dropped_total", "Packets dropped because a CPU's backlog was full."),
    (2, "node_softnet_times_squeezed_total", "How often a CPU stopped with packets left, its time or share used up."),
    (8, "node_softnet_cpu_collision_total", "How often a CPU waited for another to send."),
    (9, "node_softnet_received_rps_total", "How often another CPU woke this one to take packets."),
    (10, "node_softnet_flow_limit_count_total", "Packets dropped because their flow filled too much of the backlog."),
];
/// The column of the backlog's length.
const BACKLOG: usize = 11;

/// The host's CPUs at work for the network.
#[derive(Debug)]
pub(super) struct Softnet {
    file: HostSource,
}

impl Softnet {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new() -> Self {
        Self { file: HostSource::new("1/net/softnet_stat", "self/net/softnet_stat") }
    }
}

impl Collector for Softnet {
    fn name(&self) -> &'static str {
        "softnet"
    }

    fn source(&self) -> &'static str {
        "`/proc/1/net/softnet_stat`"
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        if let Some(text) = self.file.read(&roots.proc, &mut faults) {
            for (place, line) in at_most(CPUS_MAX, "CPUs", text.lines().map(parse)).enumerate() {
                if let Some(line) = faults.check(line) {
                    report(&line, place, out);
                }
            }
        }
        faults.into_result()
    }
}

/// One CPU's line.
#[derive(Debug, PartialEq)]
struct Line {
    columns: [u32; COLUMNS],
    /// How many of them there are: older kernels have fewer.
    count: usize,
}

impl Line {
    fn column(&self, at: usize) -> Option<u32> {
        self.columns.get(at).copied().filter(|_| at < self.count)
    }
}

/// Reads a line of numbers in hexadecimal.
fn parse(line: &str) -> Result<Line, CollectError> {
    let malformed = || CollectError::malformed("net/softnet_stat", line);
    let mut parsed = Line { columns: [0; COLUMNS], count: 0 };
    for (column, word) in parsed.columns.iter_mut().zip(line.split_ascii_whitespace()) {
        *column = u32::from_str_radix(word, 16).map_err(|_| malformed())?;
        parsed.count += 1;
    }
    if parsed.count >= COLUMNS_MIN { Ok(parsed) } else { Err(malformed()) }
}

/// Reports the line that stands at this place.
fn report(line: &Line, place: usize, out: &mut Batch) {
    let cpu = &*line.column(CPU).map_or_else(|| place.to_string(), |cpu| cpu.to_string());
    for (at, name, help) in COUNTERS {
        if let Some(value) = line.column(at) {
            out.counter(name, help, &[("cpu", cpu)], f64::from(value));
        }
    }
    if let Some(length) = line.column(BACKLOG) {
        let help = "Packets that wait for a CPU to take them.";
        out.gauge("node_softnet_backlog_len", help, &[("cpu", cpu)], f64::from(length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    #[test]
    fn columns_have_their_names() {
        let text = "0000000a 0b 0c f0 f1 f2 f3 f4 0d 0e 0f 10 00000005 01 02\nff 1 2 3 4 5 6 7 8 9 a\n1 2 3\nx\n";
        let run = |out: &mut Batch, faults: &mut Faults| {
            for (place, line) in text.lines().map(parse).enumerate() {
                if let Some(line) = faults.check(line) {
                    report(&line, place, out);
                }
            }
        };
        let two = |name: &str, first: u32, second: u32| {
            format!("node_softnet_{name}{{cpu=\"5\"}} {first}\nnode_softnet_{name}{{cpu=\"1\"}} {second}\n")
        };
        let page = two("processed_total", 10, 255)
            + &two("dropped_total", 11, 1)
            + &two("times_squeezed_total", 12, 2)
            + &two("cpu_collision_total", 13, 8)
            + &two("received_rps_total", 14, 9)
            + &two("flow_limit_count_total", 15, 10)
            + "node_softnet_backlog_len{cpu=\"5\"} 16\n";
        check(run, &page, Some("net/softnet_stat: cannot make sense of \"1 2 3\""));
    }
}
