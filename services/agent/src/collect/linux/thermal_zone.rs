//! `node_thermal_zone_temp` and `node_cooling_device_*` from `/sys/class/thermal`.

use std::time::Duration;

use super::Collector;
use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::Roots;
use super::sysfs::{devices, numbered, text, value};

/// Most zones, and most cooling devices, that are shown.
const DEVICES_MAX: usize = 4096;
/// The kernel counts in thousandths of a degree.
const MILLI: f64 = 1000.0;

/// Where it is how warm, and what is done about it.
#[derive(Debug)]
pub(super) struct ThermalZone;

impl Collector for ThermalZone {
    fn name(&self) -> &'static str {
        "thermal_zone"
    }

    fn source(&self) -> &'static str {
        "`/sys/class/thermal/`"
    }

    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(15))
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let base = roots.sys.join("class/thermal");
        let is_zone = |name: &str| numbered(name, "thermal_zone").is_some();
        for name in devices(&base, "thermal zones", DEVICES_MAX, is_zone, &mut faults) {
            let directory = base.join(&name);
            // A sensor that is switched off has no temperature.
            if let Some(temperature) = value(&directory.join("temp"), &mut faults) {
                let kind = text(&directory.join("type"), &mut faults).unwrap_or_default();
                let zone = numbered(&name, "thermal_zone").unwrap_or_default();
                let help = "Temperature of a thermal zone, degrees Celsius.";
                out.gauge("node_thermal_zone_temp", help, &[("zone", zone), ("type", &kind)], temperature / MILLI);
            }
        }
        let is_cooler = |name: &str| numbered(name, "cooling_device").is_some();
        for name in devices(&base, "cooling devices", DEVICES_MAX, is_cooler, &mut faults) {
            let directory = base.join(&name);
            let kind = text(&directory.join("type"), &mut faults).unwrap_or_default();
            let labels = [("name", numbered(&name, "cooling_device").unwrap_or_default()), ("type", &kind)];
            for (file, family, help) in [
                ("cur_state", "node_cooling_device_cur_state", "How much a cooling device does now; 0 is nothing."),
                ("max_state", "node_cooling_device_max_state", "How much a cooling device can do."),
            ] {
                if let Some(state) = value(&directory.join(file), &mut faults) {
                    out.gauge(family, help, &labels, state);
                }
            }
        }
        faults.into_result()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check_host;

    #[test]
    fn what_a_sensor_does_not_say_is_not_there() {
        let files = [
            ("sys/class/thermal/thermal_zone0/type", "acpitz\n"),
            ("sys/class/thermal/thermal_zone0/temp", "-3500\n"),
            ("sys/class/thermal/thermal_zone1/type", "off\n"),
            ("sys/class/thermal/thermal_zone2/type", "broken\n"),
            ("sys/class/thermal/thermal_zone2/temp", "hot\n"),
            ("sys/class/thermal/cooling_device10/type", "Fan\n"),
            ("sys/class/thermal/cooling_device10/max_state", "4\n"),
        ];
        let page = "node_thermal_zone_temp{zone=\"0\",type=\"acpitz\"} -3.5\n\
            node_cooling_device_max_state{name=\"10\",type=\"Fan\"} 4\n";
        check_host(ThermalZone, &files, page, Some("thermal_zone2/temp: cannot make sense of \"hot\""));
    }
}
