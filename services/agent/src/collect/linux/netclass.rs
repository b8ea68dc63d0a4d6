//! `node_network_*`: what the host's network devices are and the state that they are in, from
//! `/sys/class/net`.
//!
//! A device has more than twenty files, and for some the kernel asks the hardware. So only four are
//! read at every push, those in which a change of state shows, or that it is another device by the
//! same name. Four more, which a person changes, are read every 15 s. All are when one of these has
//! changed, when a device came or went, and once a minute.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Collector;
use super::attr::{Attr, Scratch};
use super::batch::Batch;
use super::config::Config;
use super::error::{CollectError, Faults};
use super::files::{Roots, listed};
use super::filter::Filter;
use super::sysfs;

/// How often everything is read where nothing seems to have changed.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often the files are read in which a change of settings shows.
const GLANCE_EVERY: Duration = Duration::from_secs(15);
/// Most devices that are shown.
const DEVICES_MAX: usize = 1000;
/// The files in which a change of state shows, or that a device was made anew.
const WATCHED: [&str; 4] = ["operstate", "flags", "carrier_changes", "ifindex"];
/// The files in which a change of settings shows.
const GLANCED: [&str; 4] = ["address", "duplex", "mtu", "speed"];
/// A megabit per second in bytes per second.
const MEGABIT: f64 = 125_000.0;
/// How old kernels write a speed that they do not know; new ones write -1.
const SPEED_UNKNOWN: i64 = 4_294_967_295;
/// The bit of a device that is switched on.
const FLAG_UP: i64 = 1;

/// The files with a number, what their metrics are called and mean.
const NUMBERS: [(&str, &str, &str); 17] = [
    (
        "addr_assign_type",
        "node_network_address_assign_type",
        "Where the address comes from: 0 hardware, 1 random, 2 another device, 3 set.",
    ),
    ("carrier", "node_network_carrier", "1 where the device has a link."),
    ("carrier_changes", "node_network_carrier_changes_total", "How often the link came or went."),
    ("carrier_down_count", "node_network_carrier_down_changes_total", "How often the link went."),
    ("carrier_up_count", "node_network_carrier_up_changes_total", "How often the link came."),
    ("dev_id", "node_network_device_id", "Tells devices with the same address apart."),
    ("dormant", "node_network_dormant", "1 where the link waits for something, such as a login."),
    ("flags", "node_network_flags", "The device's flags, as a number."),
    ("ifindex", "node_network_iface_id", "The device's number."),
    ("iflink", "node_network_iface_link", "The number of the device below, or its own."),
    ("link_mode", "node_network_iface_link_mode", "0 by default, 1 where the link is dormant until it is allowed."),
    ("mtu", "node_network_mtu_bytes", "Longest packet."),
    (
        "name_assign_type",
        "node_network_name_assign_type",
        "Where the name comes from: 1 the kernel by order, 2 by plan, 3 set, 4 renamed.",
    ),
    ("netdev_group", "node_network_net_dev_group", "The group that the device was put in."),
    ("type", "node_network_protocol_type", "The kind of link, as ARP numbers it."),
    ("speed", "node_network_speed_bytes", "Speed in bytes per second; -125000 where it is not known."),
    ("tx_queue_len", "node_network_transmit_queue_length", "How many packets may wait to be sent."),
];

/// What the host's network devices are.
#[derive(Debug)]
pub(super) struct Netclass {
    filter: Filter,
    scratch: Scratch,
    looked: Option<Instant>,
    glanced: Option<Instant>,
    /// What was listed when they were looked at.
    listed: Vec<String>,
    devices: Vec<Device>,
    /// What went wrong then.
    fault: Option<CollectError>,
}

/// A device, as it was looked at.
#[derive(Debug)]
struct Device {
    name: String,
    watched: Vec<Watched>,
    settings: Settings,
    numbers: [Option<i64>; NUMBERS.len()],
    address: String,
    broadcast: String,
    duplex: String,
    alias: String,
    operational: String,
}

/// What stands in the files of [`GLANCED`].
type Settings = [Option<String>; GLANCED.len()];

/// Reads them. What is wrong with one is said when everything is read.
fn settings(at: &Path) -> Settings {
    GLANCED.map(|file| sysfs::text(&at.join(file), &mut Faults::default()))
}

/// A file that is read at every push, and what stood in it.
#[derive(Debug)]
struct Watched {
    attr: Attr,
    was: String,
}

impl Netclass {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new(config: &Config) -> Self {
        Self {
            filter: config.netclass_devices.clone(),
            scratch: Scratch::default(),
            looked: None,
            glanced: None,
            listed: vec![],
            devices: vec![],
            fault: None,
        }
    }

    /// The names of the devices that are shown.
    fn list(&mut self, base: &Path, faults: &mut Faults) -> Option<Vec<String>> {
        let listed = listed(base, "network devices", DEVICES_MAX, |name| self.filter.shows(name), faults);
        faults.check(listed)
    }

    /// Has something changed, as far as a glance shows?
    fn is_news(&mut self, base: &Path, listed: &[String]) -> bool {
        let mut watched = self.devices.iter_mut().flat_map(|device| &mut device.watched);
        self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY)
            || self.listed != listed
            || watched.any(|watched| watched.has_changed(&mut self.scratch))
            || self.is_set_otherwise(base)
    }

    /// Has a person changed a device, since it was looked at? That is asked for now and then only.
    fn is_set_otherwise(&mut self, base: &Path) -> bool {
        if self.glanced.is_some_and(|glanced| glanced.elapsed() < GLANCE_EVERY) {
            return false;
        }
        self.glanced = Some(Instant::now());
        self.devices.iter().any(|device| device.settings != settings(&base.join(&device.name)))
    }

    fn look(&mut self, base: &Path, listed: Vec<String>) {
        let mut faults = Faults::default();
        // Files that stayed open are closed before others are opened.
        self.devices.clear();
        for name in &listed {
            self.devices.extend(Device::look(&base.join(name), name, &mut self.scratch, &mut faults));
        }
        self.fault = faults.into_result().err();
        self.listed = listed;
        self.looked = Some(Instant::now());
        self.glanced = self.looked;
    }
}

impl Collector for Netclass {
    fn name(&self) -> &'static str {
        "netclass"
    }

    fn source(&self) -> &'static str {
        "`/sys/class/net/*/`"
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let base = roots.sys.join("class/net");
        if let Some(listed) = self.list(&base, &mut faults) {
            if self.is_news(&base, &listed) {
                self.look(&base, listed);
            }
            for device in &self.devices {
                device.report(out);
            }
            if let Some(fault) = &self.fault {
                faults.note(fault.clone());
            }
        }
        faults.into_result()
    }
}

impl Watched {
    /// `None`: it cannot be read, and so not change.
    fn new(path: PathBuf, scratch: &mut Scratch) -> Option<Self> {
        let mut attr = Attr::new(path);
        let was = attr.read(scratch).ok()?.into_owned();
        Some(Self { attr, was })
    }

    fn has_changed(&mut self, scratch: &mut Scratch) -> bool {
        self.attr.read(scratch).map_or(true, |text| text != self.was)
    }
}

impl Device {
    /// Reads everything about a device. `None`: it is none, or it is gone.
    fn look(at: &Path, name: &str, scratch: &mut Scratch, faults: &mut Faults) -> Option<Self> {
        // First, so that no change is missed between this and the next glance.
        let watched = WATCHED.iter().filter_map(|file| Watched::new(at.join(file), scratch)).collect();
        let operational = sysfs::text(&at.join("operstate"), faults)?;
        let settings = settings(at);
        let numbers = NUMBERS.map(|(file, ..)| {
            let path = at.join(file);
            let text = sysfs::text(&path, faults)?;
            let malformed = || CollectError::malformed(&path.display().to_string(), &text);
            faults.check(number(&text).ok_or_else(malformed))
        });
        let mut text = |file: &str| sysfs::text(&at.join(file), faults).unwrap_or_default();
        Some(Self {
            name: name.to_owned(),
            watched,
            settings,
            numbers,
            address: text("address"),
            broadcast: text("broadcast"),
            duplex: text("duplex"),
            alias: text("ifalias"),
            operational,
        })
    }

    /// Is it switched on? That is in its flags.
    fn administrative(&self) -> &'static str {
        let flags = NUMBERS.iter().zip(self.numbers).find(|((file, ..), _)| *file == "flags");
        match flags.and_then(|(_, value)| value) {
            None => "unknown",
            Some(flags) if flags & FLAG_UP == 0 => "down",
            Some(_) => "up",
        }
    }

    fn report(&self, out: &mut Batch) {
        let device = ("device", self.name.as_str());
        let up = if self.operational == "up" { 1.0 } else { 0.0 };
        out.gauge("node_network_up", "1 where the device's state is up.", &[device], up);
        let labels = [
            device,
            ("address", &self.address),
            ("broadcast", &self.broadcast),
            ("duplex", &self.duplex),
            ("operstate", &self.operational),
            ("adminstate", self.administrative()),
            ("ifalias", &self.alias),
        ];
        out.gauge("node_network_info", "What a device is; always 1.", &labels, 1.0);
        for ((file, name, help), value) in NUMBERS.iter().zip(self.numbers) {
            let Some(value) = value else { continue };
            #[expect(clippy::cast_precision_loss, reason = "samples are f64; counters beyond 2^53 are rounded")]
            let value = if *file == "speed" { speed(value) } else { value as f64 };
            if name.ends_with("_total") {
                out.counter(name, help, &[device], value);
            } else {
                out.gauge(name, help, &[device], value);
            }
        }
    }
}

/// Megabits per second as bytes per second.
#[expect(clippy::cast_precision_loss, reason = "no device has 2^53 megabits per second")]
fn speed(megabits: i64) -> f64 {
    let megabits = if megabits == SPEED_UNKNOWN { -1 } else { megabits };
    megabits as f64 * MEGABIT
}

/// A whole number, in hexadecimal with `0x`.
fn number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
#[path = "netclass_tests.rs"]
mod tests;
