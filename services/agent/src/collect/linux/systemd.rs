//! `node_systemd_*`: the host's units, as its systemd tells over D-Bus.

use std::collections::BTreeMap;
use std::time::Duration;

use super::batch::Batch;
use super::config::Config;
use super::error::{CollectError, Faults};
use super::files::Roots;
use super::filter::Filter;
use super::systemd_bus::{self, Answers, Details, Unit};
use super::{Collector, number};

/// Each unit that is shown costs systemd an answer or three.
const EVERY: Duration = Duration::from_secs(15);
/// How long all answers of one reading may take together.
const PATIENCE: Duration = Duration::from_secs(3);
/// Most units that are shown.
pub(super) const UNITS_MAX: usize = 2000;
/// The states that every unit has a series for.
const STATES: [&str; 5] = ["active", "activating", "deactivating", "failed", "inactive"];

/// The host's units.
#[derive(Debug)]
pub(super) struct Systemd {
    filter: Filter,
}

impl Systemd {
    /// Asks nothing yet.
    #[must_use]
    pub(super) fn new(config: &Config) -> Self {
        Self { filter: config.systemd_units.clone() }
    }
}

impl Collector for Systemd {
    fn name(&self) -> &'static str {
        "systemd"
    }

    fn source(&self) -> &'static str {
        "`/run/dbus/system_bus_socket` (an agent built with the feature `systemd`)"
    }

    fn every(&self) -> Option<Duration> {
        Some(EVERY)
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        if let Some(answers) = systemd_bus::ask(roots, PATIENCE, |name| self.filter.shows(name))? {
            report(&answers, &mut faults, out);
        }
        faults.into_result()
    }
}

fn report(answers: &Answers, faults: &mut Faults, out: &mut Batch) {
    let Answers { version, state, virtualization, units, .. } = answers;
    let help = "The version of systemd, as far as it is a number.";
    match version_number(version) {
        Some(number) => out.gauge("node_systemd_version", help, &[("version", version)], number),
        None => faults.note(CollectError::malformed("the version of systemd", version)),
    }
    let kind = if virtualization.is_empty() { "none" } else { virtualization };
    let help = "What the host is virtualized by, if it is; always 1.";
    out.gauge("node_systemd_virtualization_info", help, &[("virtualization_type", kind)], 1.0);
    let flag = |yes: bool| if yes { 1.0 } else { 0.0 };
    let help = "1 if the host runs with no unit failed and none waited for.";
    out.gauge("node_systemd_system_running", help, &[], flag(state == "running"));
    let mut counts: BTreeMap<&str, u32> = STATES.iter().map(|state| (*state, 0)).collect();
    for (state, count) in &answers.counts {
        *counts.entry(state).or_insert(0) += count;
    }
    for (state, count) in counts {
        out.gauge("node_systemd_units", "Units that systemd knows, by state.", &[("state", state)], count.into());
    }
    if answers.is_cut {
        faults.note(CollectError::TooMany { what: "units of systemd", max: UNITS_MAX });
    }
    units.iter().for_each(|unit| report_unit(unit, out));
}

fn report_unit(unit: &Unit, out: &mut Batch) {
    let Unit { name, state, details, .. } = unit;
    let kind = if let Details::Service { kind, .. } = details { kind } else { "" };
    for known in STATES {
        let labels = [("name", name.as_str()), ("state", known), ("type", kind)];
        let help = "1 for the state that a unit is in.";
        out.gauge("node_systemd_unit_state", help, &labels, if state == known { 1.0 } else { 0.0 });
    }
    let labels = [("name", name.as_str())];
    match *details {
        Details::None => {}
        Details::Service { restarts, .. } => {
            let help = "Times that systemd started a service again by itself.";
            if let Some(count) = restarts {
                out.counter("node_systemd_service_restart_total", help, &labels, count.into());
            }
        }
        Details::Socket { accepted, connections, refused } => {
            let help = "Connections that a socket unit has taken.";
            if let Some(count) = accepted {
                out.counter("node_systemd_socket_accepted_connections_total", help, &labels, count.into());
            }
            if let Some(count) = connections {
                let help = "Connections of a socket unit that are open.";
                out.gauge("node_systemd_socket_current_connections", help, &labels, count.into());
            }
            if let Some(count) = refused {
                let help = "Connections that a socket unit has refused since it started.";
                out.gauge("node_systemd_socket_refused_connections_total", help, &labels, count.into());
            }
        }
        Details::Timer { last } => {
            let help = "When a timer went off last; 0: never.";
            if let Some(last) = last {
                #[expect(clippy::cast_precision_loss, reason = "exact until the year 2255")]
                let seconds = last as f64 / 1e6;
                out.gauge("node_systemd_timer_last_trigger_seconds", help, &labels, seconds);
            }
        }
    }
}

/// The number at the beginning of `257.7-1~deb13u1`: 257.7.
fn version_number(version: &str) -> Option<f64> {
    let end = version.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(version.len());
    let (whole, rest) = version.split_at(end);
    let minor = rest.strip_prefix('.').unwrap_or_default();
    let minor = minor.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
    number(&format!("{whole}.{minor}0"))
}

#[cfg(test)]
#[path = "systemd_tests.rs"]
mod tests;
