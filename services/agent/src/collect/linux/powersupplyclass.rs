//! `node_power_supply_*` from `/sys/class/power_supply`: batteries, chargers and mains.
//!
//! The kernel counts in millionths (of a volt, an ampere, a watt hour) and in tenths of a degree;
//! the metrics are in whole ones. `Documentation/ABI/testing/sysfs-class-power` describes the files.

use std::path::Path;
use std::time::Duration;

use super::Collector;
use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::Roots;
use super::sysfs::{devices, text, value};

/// Most supplies that are shown.
const SUPPLIES_MAX: usize = 256;

const ONE: f64 = 1.0;
const TENTH: f64 = 10.0;
const MICRO: f64 = 1e6;

/// A file, its metric, how many of the kernel's units make one of the metric's, and what it is.
#[rustfmt::skip]
const NUMBERS: [(&str, &str, f64, &str); 49] = [
    ("authentic", "node_power_supply_authentic", ONE, "1 for a battery that is known to be genuine."),
    ("calibrate", "node_power_supply_calibrate", ONE, "1 while a battery is calibrated."),
    ("capacity", "node_power_supply_capacity", ONE, "How full a battery is, in percent."),
    ("capacity_alert_max", "node_power_supply_capacity_alert_max", ONE, "Percentage over which a battery raises an alert."),
    ("capacity_alert_min", "node_power_supply_capacity_alert_min", ONE, "Percentage under which a battery raises an alert."),
    ("charge_control_limit", "node_power_supply_charge_control_limit", MICRO, "Level of charging that is chosen, in millionths of a level."),
    ("charge_control_limit_max", "node_power_supply_charge_control_limit_max", MICRO, "Highest level of charging, in millionths of a level."),
    ("charge_counter", "node_power_supply_charge_counter", MICRO, "Charge counted since some moment, ampere hours; it may be negative."),
    ("charge_empty", "node_power_supply_charge_empty", MICRO, "Charge of the battery when empty, ampere hours."),
    ("charge_empty_design", "node_power_supply_charge_empty_design", MICRO, "Charge that it was made to have when empty, ampere hours."),
    ("charge_full", "node_power_supply_charge_full", MICRO, "Charge of the battery when full, ampere hours."),
    ("charge_full_design", "node_power_supply_charge_full_design", MICRO, "Charge that it was made to have when full, ampere hours."),
    ("charge_now", "node_power_supply_charge_ampere", MICRO, "Charge of the battery now, ampere hours."),
    ("charge_term_current", "node_power_supply_charge_term_current", MICRO, "Current at which charging ends, amperes."),
    ("constant_charge_current", "node_power_supply_constant_charge_current", MICRO, "Current of charging, as set, amperes."),
    ("constant_charge_current_max", "node_power_supply_constant_charge_current_max", MICRO, "Highest current of charging, amperes."),
    ("constant_charge_voltage", "node_power_supply_constant_charge_voltage", MICRO, "Voltage of charging, as set, volts."),
    ("constant_charge_voltage_max", "node_power_supply_constant_charge_voltage_max", MICRO, "Highest voltage of charging, volts."),
    ("current_boot", "node_power_supply_current_boot", MICRO, "Current at the start of the host, amperes."),
    ("current_max", "node_power_supply_current_max", MICRO, "Highest current, amperes."),
    ("current_now", "node_power_supply_current_ampere", MICRO, "Current now, amperes; what flows out of a battery may be negative."),
    ("cycle_count", "node_power_supply_cyclecount", ONE, "How often a battery was charged, in full charges."),
    ("energy_empty", "node_power_supply_energy_empty", MICRO, "Energy of the battery when empty, watt hours."),
    ("energy_empty_design", "node_power_supply_energy_empty_design", MICRO, "Energy that it was made to have when empty, watt hours."),
    ("energy_full", "node_power_supply_energy_full", MICRO, "Energy of the battery when full, watt hours."),
    ("energy_full_design", "node_power_supply_energy_full_design", MICRO, "Energy that it was made to have when full, watt hours."),
    ("energy_now", "node_power_supply_energy_watthour", MICRO, "Energy of the battery now, watt hours."),
    ("input_current_limit", "node_power_supply_input_current_limit", MICRO, "Highest current that is taken in, amperes."),
    ("online", "node_power_supply_online", ONE, "0 where nothing is plugged in, 1 at a fixed voltage, 2 at one that was agreed on."),
    ("power_now", "node_power_supply_power_watt", MICRO, "Power now, watts."),
    ("precharge_current", "node_power_supply_precharge_current", MICRO, "Current at which the charging of an empty battery begins, amperes."),
    ("present", "node_power_supply_present", ONE, "1 where there is a battery."),
    ("temp", "node_power_supply_temp_celsius", TENTH, "Temperature, degrees Celsius."),
    ("temp_alert_max", "node_power_supply_temp_alert_max_celsius", TENTH, "Temperature over which an alert is raised, degrees Celsius."),
    ("temp_alert_min", "node_power_supply_temp_alert_min_celsius", TENTH, "Temperature under which an alert is raised, degrees Celsius."),
    ("temp_ambient", "node_power_supply_temp_ambient_celsius", TENTH, "Temperature around it, degrees Celsius."),
    ("temp_ambient_max", "node_power_supply_temp_ambient_max_celsius", TENTH, "Highest temperature around it, degrees Celsius."),
    ("temp_ambient_min", "node_power_supply_temp_ambient_min_celsius", TENTH, "Lowest temperature around it, degrees Celsius."),
    ("temp_max", "node_power_supply_temp_max_celsius", TENTH, "Highest temperature it may have, degrees Celsius."),
    ("temp_min", "node_power_supply_temp_min_celsius", TENTH, "Lowest temperature it may have, degrees Celsius."),
    ("time_to_empty_now", "node_power_supply_time_to_empty_seconds", ONE, "Time until the battery is empty."),
    ("time_to_full_now", "node_power_supply_time_to_full_seconds", ONE, "Time until the battery is full."),
    ("voltage_boot", "node_power_supply_voltage_boot", MICRO, "Voltage at the start of the host, volts."),
    ("voltage_max", "node_power_supply_voltage_max", MICRO, "Highest voltage, volts."),
    ("voltage_max_design", "node_power_supply_voltage_max_design", MICRO, "Highest voltage that it was made for, volts."),
    ("voltage_min", "node_power_supply_voltage_min", MICRO, "Lowest voltage, volts."),
    ("voltage_min_design", "node_power_supply_voltage_min_design", MICRO, "Lowest voltage that it was made for, volts."),
    ("voltage_now", "node_power_supply_voltage_volt", MICRO, "Voltage now, volts."),
    ("voltage_ocv", "node_power_supply_voltage_ocv", MICRO, "Voltage without a load, volts."),
];
/// Files whose text is a label of `node_power_supply_info`.
const TEXTS: [&str; 11] = [
    "capacity_level",
    "charge_type",
    "health",
    "manufacturer",
    "model_name",
    "scope",
    "serial_number",
    "status",
    "technology",
    "type",
    "usb_type",
];

/// What the host gets its power from.
#[derive(Debug)]
pub(super) struct PowerSupplyClass;

impl Collector for PowerSupplyClass {
    fn name(&self) -> &'static str {
        "powersupplyclass"
    }

    fn source(&self) -> &'static str {
        "`/sys/class/power_supply/`"
    }

    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(15))
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let base = roots.sys.join("class/power_supply");
        for name in devices(&base, "power supplies", SUPPLIES_MAX, |_| true, &mut faults) {
            report(&name, &base.join(&name), out, &mut faults);
        }
        faults.into_result()
    }
}

fn report(name: &str, directory: &Path, out: &mut Batch, faults: &mut Faults) {
    let supply = ("power_supply", name);
    for (file, family, scale, help) in NUMBERS {
        if let Some(value) = value(&directory.join(file), faults) {
            out.gauge(family, help, &[supply], value / scale);
        }
    }
    let texts = TEXTS.map(|file| text(&directory.join(file), faults).unwrap_or_default());
    // Labels without a value are left out.
    let labels = TEXTS.into_iter().zip(texts.iter().map(String::as_str)).filter(|(_, text)| !text.is_empty());
    let labels: Vec<(&str, &str)> = [supply].into_iter().chain(labels).collect();
    out.gauge("node_power_supply_info", "What a power supply is and how it does; always 1.", &labels, 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check_host;

    #[test]
    fn units_and_labels() {
        let files = [
            ("sys/class/power_supply/BAT\"0/voltage_now", "11660000\n"),
            ("sys/class/power_supply/BAT\"0/temp", "-15\n"),
            ("sys/class/power_supply/BAT\"0/capacity", "81\n"),
            ("sys/class/power_supply/BAT\"0/present", "yes\n"),
            ("sys/class/power_supply/BAT\"0/status", "Not charging\n"),
            ("sys/class/power_supply/BAT\"0/serial_number", " \n"),
        ];
        let page = "node_power_supply_capacity{power_supply=\"BAT\\\"0\"} 81\n\
            node_power_supply_temp_celsius{power_supply=\"BAT\\\"0\"} -1.5\n\
            node_power_supply_voltage_volt{power_supply=\"BAT\\\"0\"} 11.66\n\
            node_power_supply_info{power_supply=\"BAT\\\"0\",status=\"Not charging\"} 1\n";
        check_host(PowerSupplyClass, &files, page, Some("present: cannot make sense of \"yes\""));
    }
}
