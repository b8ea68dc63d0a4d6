//! `node_dmi_info` from `/sys/class/dmi/id`: what the firmware says of the machine. Boards without
//! such firmware have no such directory.

use std::io;
use std::time::Duration;

use super::Collector;
use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::{Roots, attribute};

/// The firmware says the same until the machine starts anew.
const EVERY: Duration = Duration::from_secs(3600);
/// The labels; the files have the same names, but for that of the vendor.
const LABELS: [&str; 20] = [
    "bios_date",
    "bios_release",
    "bios_vendor",
    "bios_version",
    "board_asset_tag",
    "board_name",
    "board_serial",
    "board_vendor",
    "board_version",
    "chassis_asset_tag",
    "chassis_serial",
    "chassis_vendor",
    "chassis_version",
    "product_family",
    "product_name",
    "product_serial",
    "product_sku",
    "product_uuid",
    "product_version",
    "system_vendor",
];

/// The machine's make.
#[derive(Debug, Default)]
pub(super) struct Dmi;

impl Collector for Dmi {
    fn name(&self) -> &'static str {
        "dmi"
    }

    fn source(&self) -> &'static str {
        "`/sys/class/dmi/id/`"
    }

    fn every(&self) -> Option<Duration> {
        Some(EVERY)
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let base = roots.sys.join("class/dmi/id");
        let read = |label: &'static str| {
            let path = base.join(if label == "system_vendor" { "sys_vendor" } else { label });
            match attribute(&path) {
                Ok(text) => Some((label, text.trim_start().to_owned())),
                // Only root may read serial numbers.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
                Err(error) => faults.check_if_there(Err(CollectError::at(&path, &error))),
            }
        };
        let texts: Vec<(&str, String)> = LABELS.into_iter().filter_map(read).collect();
        let labels: Vec<(&str, &str)> = texts.iter().map(|(label, text)| (*label, text.as_str())).collect();
        if !labels.is_empty() {
            out.gauge("node_dmi_info", "The machine, as its firmware describes it; always 1.", &labels, 1.0);
        }
        faults.into_result()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    #[test]
    fn what_can_be_read_is_reported() {
        let root = tempfile::tempdir().unwrap();
        let id = root.path().join("sys/class/dmi/id");
        std::fs::create_dir_all(id.join("bios_date")).unwrap();
        std::fs::write(id.join("sys_vendor"), "  Maker \n").unwrap();
        std::fs::write(id.join("board_name"), "\n").unwrap();
        std::fs::write(id.join("chassis_type"), "3\n").unwrap();
        let run = |out: &mut Batch, faults: &mut Faults| {
            let result = Dmi.read(&Roots::new(Some(root.path())), out);
            faults.check(result);
        };
        check(
            run,
            "node_dmi_info{board_name=\"\",system_vendor=\"Maker\"} 1\n",
            Some("dmi/id/bios_date: Is a directory"),
        );
    }
}
