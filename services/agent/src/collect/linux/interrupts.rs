//! `node_interrupts_total` from `/proc/interrupts`: every interrupt on every CPU. On a large host
//! these are thousands of series, so they are only shown where the settings ask for them.

use super::batch::Batch;
use super::config::Config;
use super::error::{CollectError, Faults};
use super::files::{Roots, Source};
use super::filter::Filter;
use super::{Collector, whole};

/// Most series that are shown: whole interrupts, each with all CPUs.
const SERIES_MAX: usize = 20_000;

/// The host's interrupts.
#[derive(Debug)]
pub(super) struct Interrupts {
    file: Source,
    filter: Filter,
}

impl Interrupts {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new(config: &Config) -> Self {
        Self { file: Source::new("interrupts"), filter: config.interrupts.clone() }
    }
}

impl Collector for Interrupts {
    fn name(&self) -> &'static str {
        "interrupts"
    }

    fn source(&self) -> &'static str {
        "`/proc/interrupts`"
    }

    fn is_default(&self) -> bool {
        false
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        if let Some(text) = self.file.read(&roots.proc, &mut faults) {
            report(text, &mut self.filter, out, &mut faults);
        }
        faults.into_result()
    }
}

/// One interrupt.
#[derive(Debug, PartialEq)]
struct Interrupt<'a> {
    /// Its number, or the kernel's name of one that has none.
    kind: &'a str,
    /// What it comes through; of one without a number, what it is.
    info: String,
    /// What of that it is, and the devices that use it.
    devices: String,
    /// How often each CPU served it, in the order of the file's head.
    counts: Vec<f64>,
}

/// One line after the head. `None`: a line with a single count that is no CPU's (`ERR`, `MIS`).
fn parse(line: &str, cpus: usize) -> Result<Option<Interrupt<'_>>, CollectError> {
    let malformed = || CollectError::malformed("interrupts", line);
    // There may be no blank after the colon.
    let (kind, rest) = line.split_once(':').ok_or_else(malformed)?;
    let kind = kind.trim_ascii();
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    if words.len() == 1 && cpus > 0 {
        return Ok(None);
    }
    let (counts, about) = words.split_at_checked(cpus).ok_or_else(malformed)?;
    let counts: Option<Vec<f64>> = counts.iter().map(|word| whole(word)).collect();
    let counts = counts.ok_or_else(malformed)?;
    let is_number = kind.bytes().all(|byte| byte.is_ascii_digit());
    let (info, devices) = about.split_at_checked(if is_number { 1 } else { about.len() }).unwrap_or_default();
    Ok(Some(Interrupt { kind, info: info.join(" "), devices: devices.join(" "), counts }))
}

fn report(text: &str, filter: &mut Filter, out: &mut Batch, faults: &mut Faults) {
    let (head, lines) = text.split_once('\n').unwrap_or((text, ""));
    let cpus: Option<Vec<&str>> = head.split_ascii_whitespace().map(|word| word.strip_prefix("CPU")).collect();
    let Some(cpus) = cpus.filter(|cpus| !cpus.is_empty()) else {
        faults.note(CollectError::malformed("interrupts", head));
        return;
    };
    let mut room = SERIES_MAX;
    for line in lines.lines() {
        let Some(Some(interrupt)) = faults.check(parse(line, cpus.len())) else { continue };
        let Interrupt { kind, info, devices, counts } = &interrupt;
        if !filter.shows(&format!("{kind};{info};{devices}")) {
            continue;
        }
        let Some(left) = room.checked_sub(cpus.len()) else {
            faults.note(CollectError::TooMany { what: "series of interrupts", max: SERIES_MAX });
            return;
        };
        room = left;
        for (cpu, count) in cpus.iter().zip(counts) {
            let labels = [("cpu", *cpu), ("type", *kind), ("info", info), ("devices", devices)];
            out.counter("node_interrupts_total", "How often each CPU served each interrupt.", &labels, *count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    const TEXT: &str = "           CPU0       CPU2\n  1:        12          0   IO-APIC   1-edge      i8042, acpi\n\
        NMI:          3          4   Non-maskable interrupts\nERR:          7\nIPI0:5 6  Rescheduling\n\
        9:  1  x  IO-APIC\n";

    #[track_caller]
    fn check_report(text: &str, exclude: &str, page: &str, fault: Option<&str>) {
        let exclude = Some(exclude).filter(|text| !text.is_empty()).map(|text| regex_lite::Regex::new(text).unwrap());
        check(|out, faults| report(text, &mut Filter::new(None, exclude), out, faults), page, fault);
    }

    #[test]
    fn every_interrupt_of_every_cpu() {
        let page = "node_interrupts_total{cpu=\"0\",type=\"1\",info=\"IO-APIC\",devices=\"1-edge i8042, acpi\"} 12\n\
            node_interrupts_total{cpu=\"2\",type=\"1\",info=\"IO-APIC\",devices=\"1-edge i8042, acpi\"} 0\n\
            node_interrupts_total{cpu=\"0\",type=\"NMI\",info=\"Non-maskable interrupts\",devices=\"\"} 3\n\
            node_interrupts_total{cpu=\"2\",type=\"NMI\",info=\"Non-maskable interrupts\",devices=\"\"} 4\n\
            node_interrupts_total{cpu=\"0\",type=\"IPI0\",info=\"Rescheduling\",devices=\"\"} 5\n\
            node_interrupts_total{cpu=\"2\",type=\"IPI0\",info=\"Rescheduling\",devices=\"\"} 6\n";
        check_report(TEXT, "", page, Some("\"9:  1  x  IO-APIC\""));
    }

    #[test]
    fn the_filter_sees_number_kind_and_devices() {
        let page = "node_interrupts_total{cpu=\"0\",type=\"IPI0\",info=\"Rescheduling\",devices=\"\"} 5\n\
            node_interrupts_total{cpu=\"2\",type=\"IPI0\",info=\"Rescheduling\",devices=\"\"} 6\n";
        check_report(TEXT, "^NMI;|;IO-APIC;.*acpi$", page, Some("malformed"));
    }

    #[test]
    fn series_are_bounded() {
        let text: String = (0..SERIES_MAX + 5).map(|n| format!("{n}: 1 2 chip\n")).collect();
        let (mut batch, mut faults) = (Batch::new(), Faults::default());
        batch.begin();
        report(&format!("CPU0 CPU1\n{text}"), &mut Filter::default(), &mut batch, &mut faults);
        batch.finish(true);
        assert_eq!(batch.layout().total(), SERIES_MAX);
        assert_eq!(faults.into_result().unwrap_err().kind(), "too_many");
        check_report("", "", "", Some("malformed"));
    }
}
