//! `node_uname_info`: what kernel the host runs and what it is called.

use super::Collector;
use super::batch::Batch;
use super::error::CollectError;
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
        let nodename = host_name(roots).unwrap_or_else(|| own.into_owned());
        let labels = [
            ("sysname", &*uname.sysname().to_string_lossy()),
            ("release", &*uname.release().to_string_lossy()),
            ("version", &*uname.version().to_string_lossy()),
            ("machine", &*uname.machine().to_string_lossy()),
            ("nodename", nodename.as_str()),
            ("domainname", &*uname.domainname().to_string_lossy()),
        ];
        out.gauge("node_uname_info", "The kernel and the host's names; always 1.", &labels, 1.0);
        Ok(())
    }
}

/// The name of the host that is looked at from a container. Its own kernel call, and also
/// `/proc/sys/kernel/hostname` of the host's `/proc`, give the container's name.
fn host_name(roots: &Roots) -> Option<String> {
    let text = roots.foreign.then(|| attribute(&roots.resolve("etc/hostname")).ok()).flatten()?;
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_hosts_name_comes_from_its_own_file() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        let roots = Roots::new(Some(root.path()));
        assert_eq!(host_name(&roots), None);
        std::fs::write(root.path().join("etc/hostname"), "# a comment\n\n muninn \n").unwrap();
        assert_eq!(host_name(&roots), Some("muninn".into()));
        assert_eq!(host_name(&Roots::new(None)), None, "on the host itself the kernel knows");
    }

    #[test]
    fn absolute_links_stay_below_the_root() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("etc")).unwrap();
        std::fs::create_dir_all(root.path().join("static")).unwrap();
        std::fs::write(root.path().join("static/name"), "huginn\n").unwrap();
        std::os::unix::fs::symlink("/static/name", root.path().join("etc/hostname")).unwrap();
        assert_eq!(host_name(&Roots::new(Some(root.path()))), Some("huginn".into()));
    }
}
