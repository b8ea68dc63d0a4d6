//! `node_uname_info`: what kernel the host runs and what it is called.

use super::Collector;
use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::{Roots, attribute};

/// The names that the kernel gives.
#[derive(Debug, Default)]
pub(super) struct Uname;

impl Collector for Uname {
    fn name(&self) -> &'static str {
        "uname"
    }

    fn source(&self) -> &'static str {
        "uname(2), `/etc/hostname`"
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let uname = rustix::system::uname();
        let own = uname.nodename().to_string_lossy();
        let mut faults = Faults::default();
        // Without it the container's name is better than none, but dashboards would take it for the host's.
        let nodename = faults.check(host_name(roots)).flatten().unwrap_or_else(|| own.into_owned());
        let labels = [
            ("sysname", &*uname.sysname().to_string_lossy()),
            ("release", &*uname.release().to_string_lossy()),
            ("version", &*uname.version().to_string_lossy()),
            ("machine", &*uname.machine().to_string_lossy()),
            ("nodename", nodename.as_str()),
            ("domainname", &*uname.domainname().to_string_lossy()),
        ];
        out.gauge("node_uname_info", "The kernel and the host's names; always 1.", &labels, 1.0);
        faults.into_result()
    }
}

/// The name of the host that is looked at from a container. Its own kernel call, and also
/// `/proc/sys/kernel/hostname` of the host's `/proc`, give the container's name. `None`: on the host
/// itself the kernel knows.
///
/// # Errors
/// When there is no name in the host's file.
fn host_name(roots: &Roots) -> Result<Option<String>, CollectError> {
    if !roots.foreign {
        return Ok(None);
    }
    let path = roots.resolve("etc/hostname");
    let text = attribute(&path).map_err(|error| CollectError::at(&path, &error))?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.next().map(|name| Some(name.to_owned())).ok_or_else(|| CollectError::empty("etc/hostname"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_hosts_name_comes_from_its_own_file() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        let roots = Roots::new(Some(root.path()));
        assert!(host_name(&roots).unwrap_err().is_missing());
        assert!(Uname.read(&roots, &mut Batch::new()).is_err(), "the container's name stands there for the host's");
        std::fs::write(root.path().join("etc/hostname"), "# nothing\n").unwrap();
        assert_eq!(host_name(&roots), Err(CollectError::empty("etc/hostname")));
        std::fs::write(root.path().join("etc/hostname"), "# a comment\n\n muninn \n").unwrap();
        assert_eq!(host_name(&roots), Ok(Some("muninn".into())));
        assert_eq!(Uname.read(&roots, &mut Batch::new()), Ok(()));
        assert_eq!(host_name(&Roots::new(None)), Ok(None), "on the host itself the kernel knows");
    }

    #[test]
    fn absolute_links_stay_below_the_root() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("etc")).unwrap();
        std::fs::create_dir_all(root.path().join("static")).unwrap();
        std::fs::write(root.path().join("static/name"), "huginn\n").unwrap();
        std::os::unix::fs::symlink("/static/name", root.path().join("etc/hostname")).unwrap();
        assert_eq!(host_name(&Roots::new(Some(root.path()))), Ok(Some("huginn".into())));
    }
}
