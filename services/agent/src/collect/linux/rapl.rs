//! `node_rapl_*_joules_total` from `/sys/class/powercap`: energy that parts of the processor use.
//!
//! Since Linux 5.10 the kernel shows these counters to root alone, because from their fine steps
//! one can guess what others compute. An agent is not meant to be root, so what is hidden from it
//! is no fault: there are no series then. Who wants them gives the agent `CAP_DAC_READ_SEARCH`.

use std::collections::HashMap;
use std::time::Duration;

use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::Roots;
use super::sysfs::{devices, line_for_root, text};
use super::{Collector, whole};

/// Most zones that are shown.
const ZONES_MAX: usize = 1024;
/// The kernel counts in millionths of a joule.
const MICRO: f64 = 1e6;

/// How much energy the processors use.
#[derive(Debug)]
pub(super) struct Rapl;

impl Collector for Rapl {
    fn name(&self) -> &'static str {
        "rapl"
    }

    fn source(&self) -> &'static str {
        "`/sys/class/powercap/*/energy_uj`"
    }

    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(15))
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let base = roots.sys.join("class/powercap");
        let mut seen = HashMap::new();
        for zone in devices(&base, "zones of energy", ZONES_MAX, |_| true, &mut faults) {
            // What has no name is no zone, but what zones belong to.
            let Some(name) = text(&base.join(&zone).join("name"), &mut faults) else { continue };
            let (name, index) = called(&name, &mut seen);
            let file = base.join(&zone).join("energy_uj");
            let Some(energy) = line_for_root(&file, &mut faults) else { continue };
            match whole(energy.trim()) {
                Some(energy) => report(&zone, &name, &index, energy / MICRO, out),
                None => faults.note(CollectError::malformed(&file.display().to_string(), &energy)),
            }
        }
        faults.into_result()
    }
}

/// What a zone's metric is called by, and which of its name it is: of `package-1` the second
/// `package`; where the name has no number, zones are counted.
fn called(name: &str, seen: &mut HashMap<String, u64>) -> (String, String) {
    let numbered = name.split_once('-').and_then(|(stem, index)| Some((stem, index.parse::<u64>().ok()?)));
    let (stem, index) = numbered.unwrap_or_else(|| (name, seen.get(name).copied().unwrap_or(0)));
    seen.insert(stem.to_owned(), index.saturating_add(1));
    let fit = |char: char| if char.is_ascii_alphanumeric() || char == '_' { char } else { '_' };
    (stem.chars().map(fit).collect(), index.to_string())
}

fn report(zone: &str, name: &str, index: &str, joules: f64, out: &mut Batch) {
    // As the host itself would call it, wherever its files are seen from here.
    let path = format!("/sys/class/powercap/{zone}");
    let help = "Energy used by a part of the processor; it begins anew at some size that the part has.";
    out.counter(&format!("node_rapl_{name}_joules_total"), help, &[("index", index), ("path", &path)], joules);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check_host;

    #[test]
    fn zones_are_numbered_or_counted() {
        let mut seen = HashMap::new();
        let mut run = |name| called(name, &mut seen);
        for (name, stem, index) in [
            ("package-1", "package", "1"),
            ("core", "core", "0"),
            ("core", "core", "1"),
            ("package-0-die-1", "package_0_die_1", "0"),
            ("psys \"x\"", "psys__x_", "0"),
        ] {
            assert_eq!(run(name), (stem.to_owned(), index.to_owned()));
        }
    }

    #[test]
    fn what_is_no_zone_is_passed_by() {
        let files = [
            ("sys/class/powercap/intel-rapl/enabled", "1\n"),
            ("sys/class/powercap/intel-rapl:0/name", "package-0\n"),
            ("sys/class/powercap/intel-rapl:0/energy_uj", "2500000\n"),
            ("sys/class/powercap/intel-rapl:0:0/name", "core\n"),
            ("sys/class/powercap/intel-rapl:0:1/name", "dram\n"),
            ("sys/class/powercap/intel-rapl:0:1/energy_uj", "-1\n"),
        ];
        let page = "node_rapl_package_joules_total{index=\"0\",path=\"/sys/class/powercap/intel-rapl:0\"} 2.5\n";
        check_host(Rapl, &files, page, Some("energy_uj: cannot make sense of \"-1\""));
    }
}
