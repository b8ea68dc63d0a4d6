//! `node_nvme_*` from `/sys/class/nvme`: controllers of NVMe disks and their namespaces.

use std::path::Path;
use std::time::Duration;

use super::Collector;
use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::Roots;
use super::sysfs::{devices, numbered, text, value};

/// Most controllers that are shown.
const CONTROLLERS_MAX: usize = 1024;
/// Most namespaces of a controller that are shown.
const NAMESPACES_MAX: usize = 1024;
/// The kernel tells sizes of disks in sectors of 512 bytes, whatever the disk's own are.
const SECTOR: f64 = 512.0;

/// The host's NVMe disks.
#[derive(Debug)]
pub(super) struct Nvme;

impl Collector for Nvme {
    fn name(&self) -> &'static str {
        "nvme"
    }

    fn source(&self) -> &'static str {
        "`/sys/class/nvme/`"
    }

    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(60))
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let base = roots.sys.join("class/nvme");
        let is_controller = |name: &str| numbered(name, "nvme").is_some();
        for device in devices(&base, "NVMe controllers", CONTROLLERS_MAX, is_controller, &mut faults) {
            let directory = base.join(&device);
            report(&device, &directory, out, &mut faults);
            let is_namespace = |name: &str| namespace(name, &device).is_some();
            for name in devices(&directory, "NVMe namespaces", NAMESPACES_MAX, is_namespace, &mut faults) {
                let id = namespace(&name, &device).unwrap_or_default();
                report_namespace(&device, id, &directory.join(&name), out, &mut faults);
            }
        }
        faults.into_result()
    }
}

/// The number of a namespace of this controller: the `1` of `nvme0n1`, or of `nvme0c3n1` where
/// the controller is one of several ways to it.
fn namespace<'a>(name: &'a str, controller: &str) -> Option<&'a str> {
    let rest = name.strip_prefix(controller)?;
    let rest = rest.strip_prefix('c').map_or(rest, |rest| rest.trim_start_matches(|char: char| char.is_ascii_digit()));
    numbered(rest, "n")
}

fn report(device: &str, directory: &Path, out: &mut Batch, faults: &mut Faults) {
    let [firmware, model, serial, state, id] = ["firmware_rev", "model", "serial", "state", "cntlid"]
        .map(|file| text(&directory.join(file), faults).unwrap_or_default());
    let labels = [
        ("device", device),
        ("firmware_revision", &firmware),
        ("model", &model),
        ("serial", &serial),
        ("state", &state),
        ("cntlid", &id),
    ];
    out.gauge("node_nvme_info", "What an NVMe controller is and how it does; always 1.", &labels, 1.0);
}

fn report_namespace(device: &str, id: &str, directory: &Path, out: &mut Batch, faults: &mut Faults) {
    let labels = [("device", device), ("nsid", id)];
    let [own, above] = labels;
    let state = text(&directory.join("ana_state"), faults).unwrap_or_else(|| "unknown".to_owned());
    let help = "A namespace of an NVMe controller; always 1. How it is reached, where there are several ways.";
    out.gauge("node_nvme_namespace_info", help, &[own, above, ("ana_state", &state)], 1.0);
    if let Some(sectors) = value(&directory.join("size"), faults) {
        let help = "Size of a namespace.";
        out.gauge("node_nvme_namespace_size_bytes", help, &labels, sectors * SECTOR);
        out.gauge("node_nvme_namespace_capacity_bytes", "The same as its size.", &labels, sectors * SECTOR);
    }
    let Some(block) = value(&directory.join("queue/logical_block_size"), faults) else { return };
    let help = "Size of a block that a namespace is read and written by.";
    out.gauge("node_nvme_namespace_logical_block_size_bytes", help, &labels, block);
    // Linux 6.8 and later ask the disk for it.
    if let Some(blocks) = value(&directory.join("nuse"), faults) {
        out.gauge("node_nvme_namespace_used_bytes", "How much of a namespace is in use.", &labels, blocks * block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_of_a_controller() {
        for (name, id) in [
            ("nvme1n1", Some("1")),
            ("nvme1n12", Some("12")),
            ("nvme1c3n2", Some("2")),
            ("nvme1n1p1", None),
            ("nvme10n1", None),
            ("nvme1", None),
            ("hwmon3", None),
        ] {
            assert_eq!(namespace(name, "nvme1"), id, "{name}");
        }
    }
}
