//! `node_network_*_total` from the host's `/proc/1/net/dev`.
//!
//! `/proc/net/dev` would show the network of whoever reads it: in a container its own.

use std::collections::HashMap;

use super::attr::{Attr, Scratch};
use super::batch::Batch;
use super::config::Config;
use super::error::{CollectError, Faults, at_most};
use super::files::{HostSource, Roots};
use super::filter::{Filter, NAME_BYTES_MAX};
use super::{Collector, note_fallback, whole};

/// The columns of the file, and what their metrics are called and mean.
const COLUMNS: [(&str, &str); 16] = [
    ("node_network_receive_bytes_total", "Bytes received."),
    ("node_network_receive_packets_total", "Packets received."),
    ("node_network_receive_errs_total", "Packets received with an error."),
    ("node_network_receive_drop_total", "Packets received and dropped."),
    ("node_network_receive_fifo_total", "Packets lost because the receive queue was full."),
    ("node_network_receive_frame_total", "Packets received with a framing, length or checksum error."),
    ("node_network_receive_compressed_total", "Compressed packets received."),
    ("node_network_receive_multicast_total", "Multicast packets received."),
    ("node_network_transmit_bytes_total", "Bytes sent."),
    ("node_network_transmit_packets_total", "Packets sent."),
    ("node_network_transmit_errs_total", "Packets that could not be sent."),
    ("node_network_transmit_drop_total", "Packets dropped instead of sent."),
    ("node_network_transmit_fifo_total", "Packets lost because the send queue was full."),
    ("node_network_transmit_colls_total", "Collisions."),
    ("node_network_transmit_carrier_total", "Packets lost with the carrier or in another error of sending."),
    ("node_network_transmit_compressed_total", "Compressed packets sent."),
];
/// Most devices that are shown.
const DEVICES_MAX: usize = 1000;

/// The host's network devices.
#[derive(Debug)]
pub(in crate::collect) struct Netdev {
    file: HostSource,
    filter: Filter,
    /// What no line of the file tells, device by device.
    no_handler: HashMap<String, Attr>,
    scratch: Scratch,
}

impl Netdev {
    /// Reads nothing yet.
    #[must_use]
    pub(in crate::collect) fn new(config: &Config) -> Self {
        let (no_handler, scratch) = (HashMap::new(), Scratch::default());
        Self { file: source(), filter: config.netdev_devices.clone(), no_handler, scratch }
    }
}

impl Collector for Netdev {
    fn name(&self) -> &'static str {
        "netdev"
    }

    fn source(&self) -> &'static str {
        "`/proc/1/net/dev`, `/sys/class/net/*/statistics/rx_nohandler`"
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        if let Some(text) = self.file.read(&roots.proc, &mut faults) {
            let devices: Vec<_> = devices(text, &mut self.filter).filter_map(|line| faults.check(line)).collect();
            report(&devices, out);
            if self.no_handler.len() > devices.len() {
                self.no_handler.retain(|known, _| devices.iter().any(|(device, _)| known == device));
            }
            for (device, _) in &devices {
                report_no_handler(&mut self.no_handler, &mut self.scratch, roots, device, out);
            }
        }
        note_fallback("netdev", self.file.is_own(), roots, faults, out)
    }
}

/// The file with the host's devices.
pub(in crate::collect) fn source() -> HostSource {
    HostSource::new("1/net/dev", "self/net/dev")
}

/// The devices in `/proc/net/dev` that are shown, with their columns.
pub(in crate::collect) fn devices<'a>(
    text: &'a str,
    filter: &mut Filter,
) -> impl Iterator<Item = Result<(&'a str, [f64; 16]), CollectError>> {
    // The two lines of the head have bars between the columns, and no colon.
    let head = text.lines().take(2).filter(|line| line.contains('|') && !line.contains(':')).count();
    let headless = (head < 2).then(|| Err(CollectError::malformed("net/dev", text.lines().next().unwrap_or_default())));
    let devices = text
        .lines()
        .skip(head)
        .map(|line| {
            let malformed = || CollectError::malformed("net/dev", line);
            // A device's name may have colons (an alias), its numbers not.
            let (name, numbers) = line.rsplit_once(':').ok_or_else(malformed)?;
            let mut words = numbers.split_ascii_whitespace();
            let mut columns = [0.0; 16];
            for column in &mut columns {
                *column = words.next().and_then(whole).ok_or_else(malformed)?;
            }
            let name = name.trim_start_matches(' ');
            (name.len() <= NAME_BYTES_MAX).then_some((name, columns)).ok_or_else(malformed)
        })
        .filter(|line| line.as_ref().map_or(true, |(name, _)| filter.shows(name)));
    headless.into_iter().chain(at_most(DEVICES_MAX, "network devices", devices))
}

fn report(devices: &[(&str, [f64; 16])], out: &mut Batch) {
    for (device, columns) in devices {
        for ((name, help), value) in COLUMNS.iter().zip(columns) {
            out.counter(name, help, &[("device", device)], *value);
        }
    }
}

/// This counter is in no line of the file, only in the device's own directory. A device of
/// another network than the one of `/sys` has none.
fn report_no_handler(
    known: &mut HashMap<String, Attr>,
    scratch: &mut Scratch,
    roots: &Roots,
    device: &str,
    out: &mut Batch,
) {
    if device.contains('/') || device.starts_with('.') {
        return;
    }
    if !known.contains_key(device) {
        let path = roots.sys.join("class/net").join(device).join("statistics/rx_nohandler");
        known.insert(device.to_owned(), Attr::new(path));
    }
    if let Some(count) = known.get_mut(device).and_then(|attr| attr.number(scratch)) {
        let help = "Packets received that no protocol took.";
        out.counter("node_network_receive_nohandler_total", help, &[("device", device)], count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{check, config};

    const HEAD: &str = "Inter-|   Receive    |  Transmit\n face |bytes    packets |bytes\n";

    #[track_caller]
    fn check_devices(lines: &str, expected: &[(&str, f64)]) {
        let text = format!("{HEAD}{lines}");
        let got: Vec<(&str, f64)> =
            devices(&text, &mut config().netdev_devices).flatten().map(|(name, columns)| (name, columns[15])).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn a_head_that_is_missing_and_a_name_that_is_too_long_are_faults() {
        let line = |name: &str| format!("{name}: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n");
        let names = |text: &str| {
            let (mut shown, mut faults) = (vec![], Faults::default());
            for device in devices(text, &mut Filter::default()) {
                shown.extend(faults.check(device).map(|(name, _)| name.to_owned()));
            }
            (shown, faults.into_result().err().map(|error| error.kind()))
        };
        let (eth0, long) = (line("eth0"), line(&"x".repeat(NAME_BYTES_MAX + 1)));
        assert_eq!(names(&format!("{HEAD}{eth0}")), (vec!["eth0".to_owned()], None));
        assert_eq!(names(&eth0), (vec!["eth0".to_owned()], Some("malformed")));
        assert_eq!(names(&format!("{HEAD}{long}{eth0}")), (vec!["eth0".to_owned()], Some("malformed")));
    }

    #[test]
    fn devices_are_found() {
        let numbers = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16";
        check_devices(&format!("    lo: {numbers}\n  eth0:{numbers}\n"), &[("lo", 16.0), ("eth0", 16.0)]);
        check_devices(&format!("eth0:1: {numbers}\n"), &[("eth0:1", 16.0)]);
        check_devices(&format!("vethab12: {numbers}\n0123456789abcde: {numbers}\n"), &[]);
        check_devices(&format!("q\"\\: {numbers}\n"), &[("q\"\\", 16.0)]);
        check_devices("eth0: 1 2 3\n", &[]);
    }

    #[test]
    fn what_goes_over_the_limit_is_a_fault() {
        let some = |count: usize| -> String {
            let lines = (0..count).map(|n| format!("eth{n}: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"));
            HEAD.to_owned() + &lines.collect::<String>()
        };
        assert_eq!(devices(&some(DEVICES_MAX), &mut Filter::default()).find_map(Result::err), None);
        let too_many = some(DEVICES_MAX + 5);
        assert_eq!(devices(&too_many, &mut Filter::default()).flatten().count(), DEVICES_MAX);
        let faults: Vec<String> =
            devices(&too_many, &mut Filter::default()).filter_map(Result::err).map(|error| error.to_string()).collect();
        assert_eq!(faults, ["network devices: more than 1000, the others are not shown"]);
    }

    #[test]
    fn columns_have_their_names() {
        let text = format!("{HEAD} eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\nbroken\n");
        let run = |out: &mut Batch, faults: &mut Faults| {
            let devices: Vec<_> =
                devices(&text, &mut config().netdev_devices).filter_map(|line| faults.check(line)).collect();
            report(&devices, out);
        };
        let page: String =
            COLUMNS.iter().zip(1..).map(|((name, _), n)| format!("{name}{{device=\"eth0\"}} {n}\n")).collect();
        check(run, &page, Some("net/dev: cannot make sense of \"broken\""));
    }
}
