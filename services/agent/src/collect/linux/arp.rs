//! `node_arp_entries`: the host's neighbours in IPv4 by device, from `/proc/1/net/arp`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::batch::Batch;
use super::config::Config;
use super::error::{CollectError, Faults};
use super::files::Roots;
use super::filter::{Filter, NAME_BYTES_MAX};
use super::lines::HostLines;
use super::{Collector, note_fallback};

/// A router has tens of thousands of neighbours; they need not be counted at every push.
const EVERY: Duration = Duration::from_secs(15);
/// Most neighbours that are counted.
const NEIGHBOURS_MAX: usize = 100_000;
/// Most devices that are shown.
const DEVICES_MAX: usize = 1000;

/// The host's neighbours.
#[derive(Debug)]
pub(super) struct Arp {
    file: HostLines,
    filter: Filter,
    /// How many there are by device.
    counts: BTreeMap<String, u32>,
}

impl Arp {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new(config: &Config) -> Self {
        let file = HostLines::new("1/net/arp", "self/net/arp", "IP address");
        Self { file, filter: config.arp_devices.clone(), counts: BTreeMap::new() }
    }
}

impl Collector for Arp {
    fn name(&self) -> &'static str {
        "arp"
    }

    fn source(&self) -> &'static str {
        "`/proc/1/net/arp`"
    }

    fn every(&self) -> Option<Duration> {
        Some(EVERY)
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        self.counts.clear();
        let mut too_many = false;
        let read = self.file.each(&roots.proc, NEIGHBOURS_MAX, &mut faults, |line| {
            too_many |= !count(device(line)?, &mut self.filter, &mut self.counts);
            Some(())
        });
        faults.check(read);
        if too_many {
            faults.note(CollectError::TooMany { what: "network devices", max: DEVICES_MAX });
        }
        report(&self.counts, out);
        note_fallback("arp", self.file.is_own(), roots, faults, out)
    }
}

/// The device of a line: `IP address, HW type, Flags, HW address, Mask, Device`.
fn device(line: &str) -> Option<&str> {
    let mut words = line.split_ascii_whitespace().skip(5);
    words.next().filter(|device| device.len() <= NAME_BYTES_MAX && words.next().is_none())
}

/// Counts one more of a device, if it is shown. `false`: there are too many.
fn count(device: &str, filter: &mut Filter, counts: &mut BTreeMap<String, u32>) -> bool {
    if let Some(count) = counts.get_mut(device) {
        *count += 1;
    } else if filter.shows(device) {
        if counts.len() >= DEVICES_MAX {
            return false;
        }
        counts.insert(device.to_owned(), 1);
    }
    true
}

fn report(counts: &BTreeMap<String, u32>, out: &mut Batch) {
    for (device, count) in counts {
        let help = "Neighbours that the host has in its ARP table, by device.";
        out.gauge("node_arp_entries", help, &[("device", device)], f64::from(*count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{check, config};

    #[test]
    fn devices_are_found() {
        let line = "192.0.2.1        0x1         0x2         02:fc:00:00:00:05     *        eth0\n";
        assert_eq!(device(line), Some("eth0"));
        assert_eq!(device("192.0.2.1 0x1 0x2 02:fc:00:00:00:05 *\n"), None);
        assert_eq!(device(&line.replace("eth0", "eth0 x")), None);
        assert_eq!(device(&line.replace("eth0", &"x".repeat(NAME_BYTES_MAX + 1))), None);
    }

    #[test]
    fn neighbours_are_counted_by_device() {
        let (mut filter, mut counts) = (config().arp_devices, BTreeMap::new());
        for device in ["eth0", "q\"\\", "veth1", "eth0"] {
            assert!(count(device, &mut filter, &mut counts));
        }
        let page = "node_arp_entries{device=\"eth0\"} 2\nnode_arp_entries{device=\"q\\\"\\\\\"} 1\n";
        check(|out, _| report(&counts, out), page, None);
    }

    #[test]
    fn devices_over_the_limit_are_noticed() {
        let (mut filter, mut counts) = (Filter::default(), BTreeMap::new());
        assert!((0..DEVICES_MAX).all(|n| count(&format!("eth{n}"), &mut filter, &mut counts)));
        assert!(!count("one more", &mut filter, &mut counts));
        assert!(count("eth7", &mut filter, &mut counts));
    }
}
