//! `node_selinux_*` from `/sys/fs/selinux/enforce` and `/etc/selinux/config`. Where SELinux is off
//! its file system is not there.

use std::time::Duration;

use super::Collector;
use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::{Roots, attribute};

/// An administrator changes this by hand.
const EVERY: Duration = Duration::from_secs(15);
/// The modes, as numbers.
const ENFORCING: f64 = 1.0;
const PERMISSIVE: f64 = 0.0;
const DISABLED: f64 = -1.0;

/// Whether SELinux is at work.
#[derive(Debug, Default)]
pub(super) struct Selinux;

impl Collector for Selinux {
    fn name(&self) -> &'static str {
        "selinux"
    }

    fn source(&self) -> &'static str {
        "`/sys/fs/selinux/enforce`, `/etc/selinux/config`"
    }

    fn every(&self) -> Option<Duration> {
        Some(EVERY)
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let path = roots.sys.join("fs/selinux/enforce");
        match attribute(&path).map_err(|error| CollectError::at(&path, &error)) {
            Ok(enforce) => {
                let config = roots.resolve("etc/selinux/config");
                let config = attribute(&config).map_err(|error| CollectError::at(&config, &error));
                report(&enforce, faults.check_if_there(config).as_deref(), out, &mut faults);
            }
            // Without any /sys there is nothing to say.
            Err(error) if error.is_missing() => {
                if roots.sys.join("fs").is_dir() {
                    report_enabled(false, out);
                }
            }
            Err(error) => faults.note(error),
        }
        faults.into_result()
    }
}

fn report_enabled(is_enabled: bool, out: &mut Batch) {
    let value = if is_enabled { 1.0 } else { 0.0 };
    out.gauge("node_selinux_enabled", "1 where SELinux is at work.", &[], value);
}

fn report(enforce: &str, config: Option<&str>, out: &mut Batch, faults: &mut Faults) {
    report_enabled(true, out);
    let current = match enforce {
        "0" => Ok(PERMISSIVE),
        "1" => Ok(ENFORCING),
        _ => Err(CollectError::malformed("fs/selinux/enforce", enforce)),
    };
    if let Some(mode) = faults.check(current) {
        out.gauge("node_selinux_current_mode", "SELinux now: 1 enforces, 0 only complains.", &[], mode);
    }
    if let Some(mode) = config.and_then(|text| faults.check(configured(text))) {
        let help = "SELinux after a start of the host: 1 enforces, 0 only complains, -1 is off.";
        out.gauge("node_selinux_config_mode", help, &[], mode);
    }
}

/// What `SELINUX=` in its configuration says.
fn configured(text: &str) -> Result<f64, CollectError> {
    let mode = text.lines().filter_map(|line| line.trim().strip_prefix("SELINUX=")).next_back();
    match mode.map(str::trim) {
        Some("enforcing") => Ok(ENFORCING),
        Some("permissive") => Ok(PERMISSIVE),
        Some("disabled") => Ok(DISABLED),
        other => Err(CollectError::malformed("etc/selinux/config", other.unwrap_or(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    #[test]
    fn modes() {
        let config = "# SELINUX=disabled\nSELINUX=permissive\nSELINUXTYPE=targeted\n";
        let page = "node_selinux_enabled 1\nnode_selinux_current_mode 1\nnode_selinux_config_mode 0\n";
        check(|out, faults| report("1", Some(config), out, faults), page, None);
        let page = "node_selinux_enabled 1\nnode_selinux_current_mode 0\n";
        check(|out, faults| report("0", None, out, faults), page, None);
        check(
            |out, faults| report("0", Some("SELINUX=on"), out, faults),
            page,
            Some("config: cannot make sense of \"on\""),
        );
        check(|out, faults| report("x", None, out, faults), "node_selinux_enabled 1\n", Some("enforce"));
        assert_eq!(configured("SELINUX=disabled"), Ok(DISABLED));
    }
}
