//! `node_edac_*` from `/sys/devices/system/edac/mc`: errors that the memory's controllers found.
//!
//! A controller (`mc0`) has rows of chips (`csrow0`), and each has channels, which are files of
//! the row (`ch0_ce_count`). `ce` are errors that were put right, `ue` those that could not be.

use std::path::Path;
use std::time::Duration;

use super::Collector;
use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::Roots;
use super::sysfs::{devices, numbered, text, value};

/// Most controllers that are shown, most rows of each, most channels of each row.
const CONTROLLERS_MAX: usize = 256;
const ROWS_MAX: usize = 256;
const CHANNELS_MAX: usize = 64;

/// A family of corrected errors, one of others, and what they are of.
type Pair = [(&'static str, &'static str); 2];
const OF_CONTROLLERS: Pair = [
    ("node_edac_correctable_errors_total", "Errors of memory that were put right."),
    ("node_edac_uncorrectable_errors_total", "Errors of memory that could not be put right."),
];
const OF_ROWS: Pair = [
    ("node_edac_csrow_correctable_errors_total", "Errors of a row of memory that were put right."),
    ("node_edac_csrow_uncorrectable_errors_total", "Errors of a row of memory that could not be put right."),
];
const OF_CHANNELS: Pair = [
    ("node_edac_channel_correctable_errors_total", "Errors of a channel of memory that were put right."),
    ("node_edac_channel_uncorrectable_errors_total", "Errors of a channel of memory that could not be put right."),
];

/// Errors of memory.
#[derive(Debug)]
pub(super) struct Edac;

impl Collector for Edac {
    fn name(&self) -> &'static str {
        "edac"
    }

    fn source(&self) -> &'static str {
        "`/sys/devices/system/edac/mc/`"
    }

    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(60))
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let base = roots.sys.join("devices/system/edac/mc");
        let is_controller = |name: &str| numbered(name, "mc").is_some();
        for name in devices(&base, "controllers of memory", CONTROLLERS_MAX, is_controller, &mut faults) {
            let directory = base.join(&name);
            let controller = ("controller", numbered(&name, "mc").unwrap_or_default());
            report(&directory, ["ce_count", "ue_count"], OF_CONTROLLERS, &[controller], out, &mut faults);
            // Errors of which the controller does not know the row.
            let labels = [controller, ("csrow", "unknown")];
            report(&directory, ["ce_noinfo_count", "ue_noinfo_count"], OF_ROWS, &labels, out, &mut faults);
            let is_row = |name: &str| numbered(name, "csrow").is_some();
            for row in devices(&directory, "rows of memory", ROWS_MAX, is_row, &mut faults) {
                let labels = [controller, ("csrow", numbered(&row, "csrow").unwrap_or_default())];
                report_row(&directory.join(&row), labels, out, &mut faults);
            }
        }
        faults.into_result()
    }
}

fn report_row(directory: &Path, labels: [(&str, &str); 2], out: &mut Batch, faults: &mut Faults) {
    report(directory, ["ce_count", "ue_count"], OF_ROWS, &labels, out, faults);
    for file in devices(directory, "channels of memory", CHANNELS_MAX, |name| channel(name).is_some(), faults) {
        let channel = channel(&file).unwrap_or_default();
        let dimm = text(&directory.join(format!("ch{channel}_dimm_label")), faults);
        let dimm = dimm.map_or_else(|| "unknown".to_owned(), |label| slot(&label));
        let [controller, row] = labels;
        let labels = [controller, row, ("channel", channel), ("dimm_label", &dimm)];
        let files = [&*format!("ch{channel}_ce_count"), &format!("ch{channel}_ue_count")];
        report(directory, files, OF_CHANNELS, &labels, out, faults);
    }
}

/// The number of the channel whose corrected errors a file counts.
fn channel(file: &str) -> Option<&str> {
    numbered(file.strip_suffix("_ce_count")?, "ch")
}

/// What is written on a module's slot, in the form in which node_exporter shows it.
fn slot(label: &str) -> String {
    label.replace('#', "").replace("csrow", "_csrow").replace("channel", "_channel")
}

fn report(
    directory: &Path,
    files: [&str; 2],
    families: Pair,
    labels: &[(&str, &str)],
    out: &mut Batch,
    faults: &mut Faults,
) {
    for (file, (name, help)) in files.into_iter().zip(families) {
        if let Some(count) = value(&directory.join(file), faults) {
            out.counter(name, help, labels, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check_host;

    #[test]
    fn rows_and_channels() {
        let files = [
            ("sys/devices/system/edac/mc/mc0/ce_count", "7\n"),
            ("sys/devices/system/edac/mc/mc0/ue_noinfo_count", "2\n"),
            ("sys/devices/system/edac/mc/mc0/csrow3/ue_count", "many\n"),
            ("sys/devices/system/edac/mc/mc0/csrow3/ch1_ce_count", "4\n"),
            ("sys/devices/system/edac/mc/mc0/csrow3/ch1_dimm_label", "mc#0csrow#3channel#1\n"),
            ("sys/devices/system/edac/mc/mc0/csrow3/ch2_ce_count", "5\n"),
            ("sys/devices/system/edac/mc/power/ce_count", "1\n"),
        ];
        let page = "node_edac_correctable_errors_total{controller=\"0\"} 7\n\
            node_edac_csrow_uncorrectable_errors_total{controller=\"0\",csrow=\"unknown\"} 2\n\
            node_edac_channel_correctable_errors_total{controller=\"0\",csrow=\"3\",channel=\"1\",dimm_label=\"mc0_csrow3_channel1\"} 4\n\
            node_edac_channel_correctable_errors_total{controller=\"0\",csrow=\"3\",channel=\"2\",dimm_label=\"unknown\"} 5\n";
        check_host(Edac, &files, page, Some("csrow3/ue_count: cannot make sense of \"many\""));
    }
}
