//! `node_bonding_*`: the devices that others are bonded into, and how many of those have a link,
//! from `/sys/class/net`.

use std::path::Path;

use super::Collector;
use super::batch::Batch;
use super::error::{CollectError, Faults, at_most};
use super::files::{Roots, attribute};

/// Most bonding devices that are shown, and most devices that are counted in one.
const DEVICES_MAX: usize = 1000;
/// Where a master keeps what it knows of a slave: since kernel 3.14 with the second name too.
const LINKS: [&str; 2] = ["lower_", "slave_"];

/// The host's bonding devices.
#[derive(Debug)]
pub(super) struct Bonding;

impl Collector for Bonding {
    fn name(&self) -> &'static str {
        "bonding"
    }

    fn source(&self) -> &'static str {
        "`/sys/class/net/bonding_masters`, `/sys/class/net/*/bonding/slaves`, `/sys/class/net/*/lower_*/bonding_slave/mii_status`"
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let base = roots.sys.join("class/net");
        let path = base.join("bonding_masters");
        let masters = attribute(&path).map_err(|error| CollectError::at(&path, &error));
        // A host without the kernel's module has no such file.
        let masters = faults.check_if_there(masters).unwrap_or_default();
        for master in devices(&masters) {
            let Some(master) = faults.check(master) else { continue };
            if let Some(bond) = look(&base.join(master), &mut faults) {
                report(master, &bond, out);
            }
        }
        faults.into_result()
    }
}

/// The names of devices in a list with blanks.
fn devices(list: &str) -> impl Iterator<Item = Result<&str, CollectError>> {
    // A name becomes part of a path.
    let name = |name: &str| !name.contains('/') && !name.starts_with('.');
    let names = list.split_ascii_whitespace();
    let names =
        names.map(move |word| if name(word) { Ok(word) } else { Err(CollectError::malformed("bonding", word)) });
    at_most(DEVICES_MAX, "bonded devices", names)
}

/// A bonding device.
#[derive(Debug, PartialEq, Eq)]
struct Bond {
    slaves: u32,
    /// How many of them have a link. `None`: of one it is not known, be it that the kernel is too
    /// old or that it is just leaving.
    active: Option<u32>,
}

/// Asks the directory of a master.
fn look(master: &Path, faults: &mut Faults) -> Option<Bond> {
    let path = master.join("bonding/slaves");
    let slaves = attribute(&path).map_err(|error| CollectError::at(&path, &error));
    let slaves = faults.check(slaves)?;
    let mut bond = Bond { slaves: 0, active: Some(0) };
    for slave in devices(&slaves) {
        let Some(slave) = faults.check(slave) else { continue };
        bond.slaves += 1;
        let active = has_link(master, slave, faults).map(u32::from);
        bond.active = bond.active.zip(active).map(|(sum, one)| sum + one);
    }
    Some(bond)
}

/// Does a slave have a link? `None`: its master does not say.
fn has_link(master: &Path, slave: &str, faults: &mut Faults) -> Option<bool> {
    LINKS.iter().find_map(|link| {
        let path = master.join(format!("{link}{slave}")).join("bonding_slave/mii_status");
        let status = attribute(&path).map_err(|error| CollectError::at(&path, &error));
        faults.check_if_there(status).map(|status| status == "up")
    })
}

fn report(master: &str, bond: &Bond, out: &mut Batch) {
    let labels = [("master", master)];
    let help = "Devices that are bonded into this one.";
    out.gauge("node_bonding_slaves", help, &labels, f64::from(bond.slaves));
    if let Some(active) = bond.active {
        let help = "Devices with a link among those that are bonded into this one.";
        out.gauge("node_bonding_active", help, &labels, f64::from(active));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bond(slaves: &str, links: &[(&str, &str)]) -> (Option<Bond>, Option<String>) {
        let master = tempfile::tempdir().unwrap();
        std::fs::create_dir(master.path().join("bonding")).unwrap();
        std::fs::write(master.path().join("bonding/slaves"), slaves).unwrap();
        for (link, status) in links {
            let directory = master.path().join(link).join("bonding_slave");
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join("mii_status"), status).unwrap();
        }
        let mut faults = Faults::default();
        let bond = look(master.path(), &mut faults);
        (bond, faults.into_result().err().map(|error| error.to_string()))
    }

    #[test]
    fn slaves_are_counted() {
        let links = [("lower_a", "up\n"), ("lower_b", "down\n"), ("slave_c", "up\n"), ("lower_d", "going back\n")];
        assert_eq!(bond("a b c d\n", &links), (Some(Bond { slaves: 4, active: Some(2) }), None));
        assert_eq!(bond("\n", &[]), (Some(Bond { slaves: 0, active: Some(0) }), None));
        assert_eq!(bond("a x\n", &links), (Some(Bond { slaves: 2, active: None }), None));
    }

    #[test]
    fn names_stay_in_their_directory() {
        let (bond, fault) = bond("a ../../b\n", &[("lower_a", "up\n")]);
        assert_eq!(bond, Some(Bond { slaves: 1, active: Some(1) }));
        assert_eq!(fault.as_deref(), Some("bonding: cannot make sense of \"../../b\""));
    }

    #[test]
    fn more_masters_than_a_page_of_memory_holds_are_a_fault() {
        let root = tempfile::tempdir().unwrap();
        let class = root.path().join("sys/class/net");
        std::fs::create_dir_all(&class).unwrap();
        std::fs::write(class.join("bonding_masters"), "++more++\n").unwrap();
        let error = Bonding.read(&Roots::new(Some(root.path())), &mut Batch::new()).unwrap_err();
        assert!(error.is_missing() && error.to_string().contains("++more++"), "{error}");
    }
}
