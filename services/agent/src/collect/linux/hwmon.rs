//! `node_hwmon_*` from `/sys/class/hwmon`: temperatures, fans, voltages and what else chips sense.
//!
//! A sensor's files are called by its kind, its number and an attribute: `temp1_input`. The kernel
//! describes the common ones (`Documentation/hwmon/sysfs-interface.rst`); drivers have others
//! beside them, which are shown as they are. A chip is called by its device, because the `hwmonN`
//! of a chip depends on the order in which drivers were loaded.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::Collector;
use super::batch::Batch;
use super::config::Config;
use super::error::{CollectError, Faults};
use super::files::Roots;
use super::filter::Filter;
use super::sysfs::{devices, line, signed};

/// Kinds of sensors; other files of a chip are none.
const KINDS: [&str; 14] = [
    "vrm",
    "beep_enable",
    "update_interval",
    "in",
    "cpu",
    "fan",
    "pwm",
    "temp",
    "curr",
    "power",
    "energy",
    "humidity",
    "intrusion",
    "freq",
];
/// Most chips that are shown.
const CHIPS_MAX: usize = 1024;
/// Most attributes of a chip that are shown.
const ATTRIBUTES_MAX: usize = 1024;

const MILLI: f64 = 1e3;
const MICRO: f64 = 1e6;

/// What the host's sensors say.
#[derive(Debug)]
pub(super) struct Hwmon {
    chips: Filter,
}

impl Hwmon {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new(config: &Config) -> Self {
        Self { chips: config.hwmon_chips.clone() }
    }
}

impl Collector for Hwmon {
    fn name(&self) -> &'static str {
        "hwmon"
    }

    fn source(&self) -> &'static str {
        "`/sys/class/hwmon/`"
    }

    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(15))
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let base = roots.sys.join("class/hwmon");
        for directory in devices(&base, "chips", CHIPS_MAX, |_| true, &mut faults) {
            let directory = base.join(directory);
            // Drivers older than Linux 3.15 have their files at the device.
            let places = [directory.join("device"), directory];
            let [_, directory] = &places;
            let name = places.iter().rev().find_map(|place| line(&place.join("name"), &mut faults));
            let name = name.map(|name| clean(&name)).unwrap_or_default();
            let chip = chip(directory, &name);
            if !self.chips.shows(&chip) {
                continue;
            }
            if !name.is_empty() {
                let help = "The name of the chip that each device has; always 1.";
                out.gauge("node_hwmon_chip_names", help, &[("chip", &chip), ("chip_name", &name)], 1.0);
            }
            report(&chip, &sensors(&places, &mut faults), out);
        }
        faults.into_result()
    }
}

/// What a name consists of in the names of metrics: small letters, digits, `:` and `_`.
fn clean(name: &str) -> String {
    let one = |byte: u8| match byte.to_ascii_lowercase() {
        kept @ (b'a'..=b'z' | b'0'..=b'9' | b':' | b'_') => char::from(kept),
        _ => '_',
    };
    name.trim().chars().map(|char| u8::try_from(char).map_or('_', one)).collect::<String>().trim_matches('_').to_owned()
}

/// What a chip is called: by its device and what that is on, such as `platform_coretemp_0`; else
/// by its own name; else by its number.
fn chip(directory: &Path, name: &str) -> String {
    let parts = |path: &Path| -> Vec<String> {
        path.iter().rev().take(2).map(|part| clean(&part.to_string_lossy())).filter(|part| !part.is_empty()).collect()
    };
    if let Ok(device) = fs::canonicalize(directory.join("device")) {
        let mut parts = parts(&device);
        parts.reverse();
        if !parts.is_empty() {
            return parts.join("_");
        }
    }
    if !name.is_empty() {
        return name.to_owned();
    }
    let number = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    parts(&number).into_iter().next().unwrap_or_default()
}

/// What a chip's sensors say: by kind and number, then by attribute.
type Sensors = BTreeMap<(&'static str, u32), BTreeMap<String, String>>;

/// The kind of the sensor, its number and the attribute of which a file tells.
fn split(file: &str) -> Option<(&'static str, u32, &str)> {
    let at = file.find(|char: char| char.is_ascii_digit()).unwrap_or(file.len());
    let (kind, rest) = file.split_at_checked(at)?;
    let kind = KINDS.into_iter().find(|known| *known == kind)?;
    let (number, rest) = rest.split_at_checked(rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len()))?;
    let number = if number.is_empty() { 0 } else { number.parse().ok()? };
    if rest.is_empty() {
        return Some((kind, number, ""));
    }
    rest.strip_prefix('_').filter(|attribute| !attribute.is_empty()).map(|attribute| (kind, number, attribute))
}

/// Reads the sensors in these directories; a later one's files count more.
fn sensors(places: &[impl AsRef<Path>], faults: &mut Faults) -> Sensors {
    let mut sensors = Sensors::new();
    for place in places {
        let place = place.as_ref();
        for file in devices(place, "attributes of a chip", ATTRIBUTES_MAX, |name| split(name).is_some(), faults) {
            if let (Some((kind, number, attribute)), Some(text)) = (split(&file), line(&place.join(&file), faults)) {
                sensors.entry((kind, number)).or_default().insert(attribute.to_owned(), text);
            }
        }
    }
    sensors
}

fn report(chip: &str, sensors: &Sensors, out: &mut Batch) {
    let chip = ("chip", chip);
    for ((kind, number), attributes) in sensors {
        let own = format!("{kind}{number}");
        let label = attributes.get("label").map(String::as_str);
        if let Some(label) = label.filter(|label| !label.is_empty()) {
            let labels = [chip, ("sensor", &own), ("label", label)];
            out.gauge("node_hwmon_sensor_label", "What is written on a sensor; always 1.", &labels, 1.0);
        }
        // Clocks alone go by what is written on them.
        let called = label.filter(|_| *kind == "freq").map(clean).filter(|label| !label.is_empty());
        let labels = [chip, ("sensor", called.as_deref().unwrap_or(&own))];
        let has_bare = attributes.contains_key("");
        for (attribute, text) in attributes.iter().filter(|(attribute, _)| *attribute != "label") {
            // Serial numbers and the like are no measurements.
            let Some(number) = signed(text.trim()) else { continue };
            let (name, scale) = metric(kind, attribute, has_bare);
            let shown = if attribute.is_empty() { "value" } else { attribute };
            let help = format!("Attribute {shown} of sensors of the kind {kind}, in the unit that the name ends with.");
            if *kind == "energy" {
                out.counter(&name, &help, &labels, number / scale);
            } else {
                out.gauge(&name, &help, &labels, number / scale);
            }
        }
    }
}

/// What the metric of an attribute is called, and how many of the driver's units make one of its.
/// `has_bare`: does the sensor also have a file without an attribute, such as `pwm1`?
fn metric(kind: &str, attribute: &str, has_bare: bool) -> (String, f64) {
    let middle = match attribute {
        "" => String::new(),
        "input" if !has_bare => String::new(),
        _ => format!("_{}", clean(attribute)),
    };
    let (unit, scale) = match (kind, attribute) {
        ("beep_enable", "") => return ("node_hwmon_beep_enabled".to_owned(), 1.0),
        ("vrm", "") => return ("node_hwmon_voltage_regulator_version".to_owned(), 1.0),
        ("update_interval", "") => ("_seconds", MILLI),
        (_, "fault" | "alarm") | ("temp", "type") => ("", 1.0),
        (_, "beep") => ("_enabled", 1.0),
        ("in" | "cpu", _) => ("_volts", MILLI),
        ("temp", _) => ("_celsius", MILLI),
        ("curr", _) => ("_amps", MILLI),
        ("energy", _) => ("_joule_total", MICRO),
        // Drivers count humidity in thousandths of a percent, so that 0.041 is 41 %: so it is
        // known from node_exporter, and so it stays comparable.
        ("power", "accuracy") | ("humidity", _) => ("", MICRO),
        ("power", "average_interval" | "average_interval_min" | "average_interval_max") => ("_seconds", MILLI),
        ("power", _) => ("_watt", MICRO),
        ("freq", "input") => ("_freq_mhz", MICRO),
        ("fan", "input" | "min" | "max" | "target") => ("_rpm", 1.0),
        _ => ("", 1.0),
    };
    (format!("node_hwmon_{kind}{middle}{unit}"), scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{check, check_host, config};

    #[test]
    fn files_of_sensors() {
        for (file, parts) in [
            ("temp1_input", Some(("temp", 1, "input"))),
            ("temp01_crit_alarm", Some(("temp", 1, "crit_alarm"))),
            ("pwm2", Some(("pwm", 2, ""))),
            ("pwm1_auto_point1_temp", Some(("pwm", 1, "auto_point1_temp"))),
            ("beep_enable", Some(("beep_enable", 0, ""))),
            ("power", Some(("power", 0, ""))),
            ("temp1_", None),
            ("temp1x", None),
            ("temp99999999999_input", None),
            ("power_state", None),
            ("uevent", None),
            ("name", None),
            ("", None),
        ] {
            assert_eq!(split(file), parts, "{file}");
        }
    }

    #[test]
    fn metrics_have_their_units() {
        for (file, name, scale) in [
            ("temp1_input", "temp_celsius", MILLI),
            ("temp1_max_alarm", "temp_max_alarm_celsius", MILLI),
            ("temp1_alarm", "temp_alarm", 1.0),
            ("temp1_type", "temp_type", 1.0),
            ("in0_input", "in_volts", MILLI),
            ("in0_beep", "in_beep_enabled", 1.0),
            ("cpu0_vid", "cpu_vid_volts", MILLI),
            ("curr1_max", "curr_max_amps", MILLI),
            ("power1_input", "power_watt", MICRO),
            ("power1_accuracy", "power_accuracy", MICRO),
            ("power1_average_interval_min", "power_average_interval_min_seconds", MILLI),
            ("energy1_input", "energy_joule_total", MICRO),
            ("humidity1_input", "humidity", MICRO),
            ("freq1_input", "freq_freq_mhz", MICRO),
            ("fan1_target", "fan_target_rpm", 1.0),
            ("fan1_Some-thing", "fan_some_thing", 1.0),
            ("pwm1", "pwm", 1.0),
            ("vrm", "voltage_regulator_version", 1.0),
            ("beep_enable", "beep_enabled", 1.0),
            ("update_interval", "update_interval_seconds", MILLI),
        ] {
            let (kind, _, attribute) = split(file).unwrap();
            assert_eq!(metric(kind, attribute, false), (format!("node_hwmon_{name}"), scale), "{file}");
        }
        assert_eq!(metric("in", "input", true).0, "node_hwmon_in_input_volts");
    }

    #[test]
    fn clocks_go_by_their_labels() {
        let attributes = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let sensors = Sensors::from([
            (("freq", 1), attributes(&[("input", "5000000"), ("label", "S clk! ")])),
            (("freq", 2), attributes(&[("input", "6500000")])),
            (("power", 1), attributes(&[("model_number", "X-1"), ("average", "")])),
        ]);
        check(
            |out, _| report("c", &sensors, out),
            "node_hwmon_sensor_label{chip=\"c\",sensor=\"freq1\",label=\"S clk! \"} 1\n\
             node_hwmon_freq_freq_mhz{chip=\"c\",sensor=\"s_clk\"} 5\n\
             node_hwmon_freq_freq_mhz{chip=\"c\",sensor=\"freq2\"} 6.5\n",
            None,
        );
    }

    #[test]
    fn chips_are_called_by_device_or_name_or_number() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("devices/platform/nct6775.656/hwmon/hwmon1");
        fs::create_dir_all(&directory).unwrap();
        assert_eq!(chip(&directory, "own"), "own");
        assert_eq!(chip(&directory, ""), "hwmon1");
        std::os::unix::fs::symlink("../../../nct6775.656", directory.join("device")).unwrap();
        assert_eq!(chip(&directory, "own"), "platform_nct6775_656");
        assert_eq!(clean("_Odd Näme: 1\n"), "odd_n_me:_1");
    }

    #[test]
    fn chips_can_be_left_out() {
        let mut config = config();
        config.hwmon_chips = Filter::new(None, Some(regex_lite::Regex::new("^b").unwrap()));
        let files = [
            ("sys/class/hwmon/hwmon0/name", "a\n"),
            ("sys/class/hwmon/hwmon0/temp1_input", "1500\n"),
            ("sys/class/hwmon/hwmon1/name", "b\n"),
            ("sys/class/hwmon/hwmon1/temp1_input", "2500\n"),
        ];
        let page = "node_hwmon_chip_names{chip=\"a\",chip_name=\"a\"} 1\n\
            node_hwmon_temp_celsius{chip=\"a\",sensor=\"temp1\"} 1.5\n";
        check_host(Hwmon::new(&config), &files, page, None);
    }
}
