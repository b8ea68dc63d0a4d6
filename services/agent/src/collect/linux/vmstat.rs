//! `node_vmstat_*` from `/proc/vmstat`, by the kernel's own names.

use super::batch::Batch;
use super::config::Config;
use super::error::{CollectError, Faults, at_most};
use super::files::{Roots, Source};
use super::filter::Filter;
use super::{Collector, whole};

/// Most fields that are shown. Current kernels have about 200.
const FIELDS_MAX: usize = 2000;
const PREFIX: &str = "node_vmstat_";

/// What the kernel counts of its virtual memory.
#[derive(Debug)]
pub(super) struct Vmstat {
    file: Source,
    fields: Filter,
    /// Room for the name of one metric.
    name: String,
}

impl Vmstat {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new(config: &Config) -> Self {
        Self { file: Source::new("vmstat"), fields: config.vmstat_fields.clone(), name: PREFIX.to_owned() }
    }
}

impl Collector for Vmstat {
    fn name(&self) -> &'static str {
        "vmstat"
    }

    fn source(&self) -> &'static str {
        "`/proc/vmstat`"
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        if let Some(text) = self.file.read(&roots.proc, &mut faults) {
            report(text, &mut self.fields, &mut self.name, out, &mut faults);
        }
        faults.into_result()
    }
}

/// The fields that are shown, with their values: counts, or numbers of pages.
fn fields<'a>(text: &'a str, shown: &mut Filter) -> impl Iterator<Item = Result<(&'a str, f64), CollectError>> {
    let lines = text.lines().filter_map(|line| {
        let malformed = || CollectError::malformed("vmstat", line);
        let Some((name, value)) = line.split_once(' ') else { return Some(Err(malformed())) };
        shown.shows(name).then(|| whole(value).map(|value| (name, value)).ok_or_else(malformed))
    });
    at_most(FIELDS_MAX, "fields", lines)
}

fn report(text: &str, shown: &mut Filter, name: &mut String, out: &mut Batch, faults: &mut Faults) {
    for field in fields(text, shown) {
        let Some((field, value)) = faults.check(field) else { continue };
        name.truncate(PREFIX.len());
        name.push_str(field);
        out.untyped(name, help(field), &[], value);
    }
}

/// What the fields mean that are shown unless the settings say otherwise.
fn help(field: &str) -> &'static str {
    match field {
        "oom_kill" => "Processes killed because memory ran out.",
        "pgfault" => "Page faults, those that needed no disk included.",
        "pgmajfault" => "Page faults that had to wait for a disk.",
        "pgpgin" => "KiB read from disks.",
        "pgpgout" => "KiB written to disks.",
        "pswpin" => "Pages read from swap.",
        "pswpout" => "Pages written to swap.",
        _ => "A field of /proc/vmstat.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{check, config};

    #[test]
    fn the_fields_of_the_filter_are_shown() {
        let text =
            "nr_free_pages 1\npgpgin 2\npgpgout 3\npswpin 4\npswpout 5\npgfault 6\npgmajfault 7\noom_kill 8\nx\n";
        let page = "node_vmstat_pgpgin 2\nnode_vmstat_pgpgout 3\nnode_vmstat_pswpin 4\nnode_vmstat_pswpout 5\n\
            node_vmstat_pgfault 6\nnode_vmstat_pgmajfault 7\nnode_vmstat_oom_kill 8\n";
        let mut vmstat = Vmstat::new(&config());
        let run = |out: &mut Batch, faults: &mut Faults| {
            report(text, &mut vmstat.fields, &mut vmstat.name, out, faults);
        };
        check(run, page, Some("vmstat: cannot make sense of \"x\""));
    }

    #[test]
    fn what_goes_over_the_limit_is_a_fault() {
        let text: String = (0..FIELDS_MAX + 2).map(|n| format!("pgpg{n} 1\n")).collect();
        let all: Vec<_> = fields(&text, &mut Filter::default()).collect();
        assert_eq!(all.iter().flatten().count(), FIELDS_MAX);
        assert_eq!(all.into_iter().filter_map(Result::err).count(), 1);
    }
}
