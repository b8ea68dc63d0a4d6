//! `node_watchdog_*` from `/sys/class/watchdog`: timers that restart a host which does not reset them.

use std::path::Path;
use std::time::Duration;

use super::Collector;
use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::Roots;
use super::sysfs::{devices, numbered, text, value};

/// Most watchdogs that are shown.
const WATCHDOGS_MAX: usize = 64;

/// A file, its metric and what it is.
const NUMBERS: [(&str, &str, &str); 7] = [
    ("bootstatus", "node_watchdog_bootstatus", "Flags of the last start; 0: the watchdog did not cause it."),
    ("fw_version", "node_watchdog_fw_version", "Version of a watchdog's firmware."),
    ("nowayout", "node_watchdog_nowayout", "1 for a watchdog that cannot be stopped once it runs."),
    ("timeleft", "node_watchdog_timeleft_seconds", "Time until a watchdog restarts the host."),
    ("timeout", "node_watchdog_timeout_seconds", "Time that a watchdog waits before it restarts the host."),
    ("pretimeout", "node_watchdog_pretimeout_seconds", "How long before the restart a watchdog warns."),
    ("access_cs0", "node_watchdog_access_cs0", "1 where the host was started from its second image."),
];

/// The host's watchdogs.
#[derive(Debug)]
pub(super) struct Watchdog;

impl Collector for Watchdog {
    fn name(&self) -> &'static str {
        "watchdog"
    }

    fn source(&self) -> &'static str {
        "`/sys/class/watchdog/`"
    }

    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(15))
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let base = roots.sys.join("class/watchdog");
        let is_watchdog = |name: &str| numbered(name, "watchdog").is_some();
        for name in devices(&base, "watchdogs", WATCHDOGS_MAX, is_watchdog, &mut faults) {
            report(&name, &base.join(&name), out, &mut faults);
        }
        faults.into_result()
    }
}

fn report(name: &str, directory: &Path, out: &mut Batch, faults: &mut Faults) {
    let name = ("name", name);
    for (file, family, help) in NUMBERS {
        if let Some(value) = value(&directory.join(file), faults) {
            out.gauge(family, help, &[name], value);
        }
    }
    let [options, identity, state, status, governor] =
        ["options", "identity", "state", "status", "pretimeout_governor"]
            .map(|file| text(&directory.join(file), faults).unwrap_or_default());
    let labels = [
        name,
        ("options", &options),
        ("identity", &identity),
        ("state", &state),
        ("status", &status),
        ("pretimeout_governor", &governor),
    ];
    out.gauge("node_watchdog_info", "What a watchdog is and how it does; always 1.", &labels, 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check_host;

    #[test]
    fn a_watchdog_need_not_have_everything() {
        let files = [
            ("sys/class/watchdog/watchdog0/timeout", "60\n"),
            ("sys/class/watchdog/watchdog0/bootstatus", "0x1\n"),
            ("sys/class/watchdog/watchdog0/identity", "Software Watchdog\n"),
            ("sys/class/watchdog/other/timeout", "60\n"),
        ];
        let page = "node_watchdog_timeout_seconds{name=\"watchdog0\"} 60\n\
            node_watchdog_info{name=\"watchdog0\",options=\"\",identity=\"Software Watchdog\",state=\"\",status=\"\",pretimeout_governor=\"\"} 1\n";
        check_host(Watchdog, &files, page, Some("bootstatus: cannot make sense of \"0x1\""));
    }
}
