//! `node_infiniband_*` from `/sys/class/infiniband`: devices and their ports.
//!
//! Which counters there are depends on the driver. Before Linux 4.5 those with 64 bits were in
//! `counters_ext`: they are the legacy ones.

use std::path::Path;
use std::time::Duration;

use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::Roots;
use super::sysfs::{devices, parsed, text};
use super::{Collector, number, whole};

/// The lanes of a port: data is counted for each of them.
const LANES: f64 = 4.0;
/// Bytes per second of a rate of 1 Gb/sec.
const GIGABIT: f64 = 125_000_000.0;
/// Most devices that are shown, and most ports of one.
const DEVICES_MAX: usize = 256;
const PORTS_MAX: usize = 256;

/// The counters of a port: file, metric, what it means, and by what it is multiplied.
const COUNTERS: &[(&str, &str, &str, f64)] = &[
    ("counters/link_downed", "node_infiniband_link_downed_total", "Links that failed and did not recover.", 1.0),
    (
        "counters/link_error_recovery",
        "node_infiniband_link_error_recovery_total",
        "Links that failed and recovered.",
        1.0,
    ),
    (
        "counters/multicast_rcv_packets",
        "node_infiniband_multicast_packets_received_total",
        "Multicast packets received.",
        1.0,
    ),
    (
        "counters/multicast_xmit_packets",
        "node_infiniband_multicast_packets_transmitted_total",
        "Multicast packets sent.",
        1.0,
    ),
    (
        "counters/port_rcv_constraint_errors",
        "node_infiniband_port_constraint_errors_received_total",
        "Packets received that the port must not take.",
        1.0,
    ),
    (
        "counters/port_xmit_constraint_errors",
        "node_infiniband_port_constraint_errors_transmitted_total",
        "Packets that the port must not send.",
        1.0,
    ),
    ("counters/port_rcv_data", "node_infiniband_port_data_received_bytes_total", "Bytes received.", LANES),
    ("counters/port_xmit_data", "node_infiniband_port_data_transmitted_bytes_total", "Bytes sent.", LANES),
    (
        "counters/port_rcv_discards",
        "node_infiniband_port_discards_received_total",
        "Packets received and dropped, because the port was down or had no room.",
        1.0,
    ),
    (
        "counters/port_xmit_discards",
        "node_infiniband_port_discards_transmitted_total",
        "Packets dropped instead of sent, because the port was down or had no room.",
        1.0,
    ),
    ("counters/port_rcv_errors", "node_infiniband_port_errors_received_total", "Packets received with an error.", 1.0),
    ("counters/port_rcv_packets", "node_infiniband_port_packets_received_total", "Packets received.", 1.0),
    ("counters/port_xmit_packets", "node_infiniband_port_packets_transmitted_total", "Packets sent.", 1.0),
    (
        "counters/port_xmit_wait",
        "node_infiniband_port_transmit_wait_total",
        "Ticks in which the port had data to send and could not.",
        1.0,
    ),
    (
        "counters/unicast_rcv_packets",
        "node_infiniband_unicast_packets_received_total",
        "Unicast packets received.",
        1.0,
    ),
    (
        "counters/unicast_xmit_packets",
        "node_infiniband_unicast_packets_transmitted_total",
        "Unicast packets sent.",
        1.0,
    ),
    (
        "counters_ext/port_multicast_rcv_packets",
        "node_infiniband_legacy_multicast_packets_received_total",
        "Multicast packets received, as older kernels count.",
        1.0,
    ),
    (
        "counters_ext/port_multicast_xmit_packets",
        "node_infiniband_legacy_multicast_packets_transmitted_total",
        "Multicast packets sent, as older kernels count.",
        1.0,
    ),
    (
        "counters_ext/port_rcv_data_64",
        "node_infiniband_legacy_data_received_bytes_total",
        "Bytes received, as older kernels count.",
        LANES,
    ),
    (
        "counters_ext/port_xmit_data_64",
        "node_infiniband_legacy_data_transmitted_bytes_total",
        "Bytes sent, as older kernels count.",
        LANES,
    ),
    (
        "counters_ext/port_rcv_packets_64",
        "node_infiniband_legacy_packets_received_total",
        "Packets received, as older kernels count.",
        1.0,
    ),
    (
        "counters_ext/port_xmit_packets_64",
        "node_infiniband_legacy_packets_transmitted_total",
        "Packets sent, as older kernels count.",
        1.0,
    ),
    (
        "counters_ext/port_unicast_rcv_packets",
        "node_infiniband_legacy_unicast_packets_received_total",
        "Unicast packets received, as older kernels count.",
        1.0,
    ),
    (
        "counters_ext/port_unicast_xmit_packets",
        "node_infiniband_legacy_unicast_packets_transmitted_total",
        "Unicast packets sent, as older kernels count.",
        1.0,
    ),
];

/// The InfiniBand devices of the host.
#[derive(Debug)]
pub(super) struct Infiniband;

impl Collector for Infiniband {
    fn name(&self) -> &'static str {
        "infiniband"
    }

    fn source(&self) -> &'static str {
        "`/sys/class/infiniband/`"
    }

    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(15))
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let base = roots.sys.join("class/infiniband");
        for device in devices(&base, "InfiniBand devices", DEVICES_MAX, |_| true, &mut faults) {
            let at = base.join(&device);
            read_info(&at, &device, out, &mut faults);
            let ports = at.join("ports");
            let is_port = |name: &str| name.parse::<u32>().is_ok();
            for port in devices(&ports, "ports of an InfiniBand device", PORTS_MAX, is_port, &mut faults) {
                read_port(&ports.join(&port), &[("device", &device), ("port", &port)], out, &mut faults);
            }
        }
        faults.into_result()
    }
}

fn read_info(at: &Path, device: &str, out: &mut Batch, faults: &mut Faults) {
    let mut of = |file: &str| text(&at.join(file), faults).unwrap_or_default();
    let (board, firmware, kind) = (of("board_id"), of("fw_ver"), of("hca_type"));
    let labels = [("device", device), ("board_id", &board), ("firmware_version", &firmware), ("hca_type", &kind)];
    out.gauge("node_infiniband_info", "A device, its board and its firmware; always 1.", &labels, 1.0);
}

fn read_port(at: &Path, labels: &[(&str, &str)], out: &mut Batch, faults: &mut Faults) {
    let states = [
        (
            "state",
            "node_infiniband_state_id",
            "State of a port: 1 down, 2 init, 3 armed, 4 active, 5 active but deferred.",
        ),
        (
            "phys_state",
            "node_infiniband_physical_state_id",
            "State of a port's link: 1 sleep, 2 polling, 3 disabled, 4 training, 5 up, 6 recovering, 7 test.",
        ),
    ];
    for (file, name, help) in states {
        if let Some(id) = parsed(&at.join(file), faults, parse_state) {
            out.gauge(name, help, labels, id);
        }
    }
    if let Some(rate) = parsed(&at.join("rate"), faults, parse_rate) {
        let help = "The most that a port can carry, in bytes per second.";
        out.gauge("node_infiniband_rate_bytes_per_second", help, labels, rate);
    }
    for (file, name, help, factor) in COUNTERS {
        if let Some(count) = read_counter(&at.join(file), faults) {
            out.counter(name, help, labels, count * factor);
        }
    }
}

/// A counter. `None` too where a driver says in words that it does not count.
fn read_counter(path: &Path, faults: &mut Faults) -> Option<f64> {
    let text = text(path, faults).filter(|text| !text.starts_with("N/A"))?;
    let count = whole(&text);
    if count.is_none() {
        faults.note(CollectError::malformed(&path.display().to_string(), &text));
    }
    count
}

/// Reads `4: ACTIVE`.
fn parse_state(text: &str) -> Option<f64> {
    text.split_once(':').and_then(|(id, _)| whole(id))
}

/// Reads `100 Gb/sec (4X EDR)` as bytes per second.
fn parse_rate(text: &str) -> Option<f64> {
    let (rate, unit) = text.split_once(' ')?;
    unit.starts_with("Gb/sec").then_some(number(rate)? * GIGABIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_and_rates() {
        for (text, id) in [("4: ACTIVE", Some(4.0)), ("5: LinkUp", Some(5.0)), ("ACTIVE", None), ("x: y", None)] {
            assert_eq!(parse_state(text), id, "{text}");
        }
        let rates = [("100 Gb/sec (4X EDR)", Some(12.5e9)), ("2.5 Gb/sec (1X SDR)", Some(312.5e6))];
        for (text, rate) in rates.into_iter().chain([("10 Mb/sec", None), ("x Gb/sec", None), ("", None)]) {
            assert_eq!(parse_rate(text), rate, "{text}");
        }
    }

    #[test]
    fn a_counter_that_is_not_there_is_no_fault() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("port_xmit_wait");
        let mut faults = Faults::default();
        for (text, count) in [("7\n", Some(7.0)), ("N/A (no PMA)\n", None)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_counter(&path, &mut faults), count);
        }
        assert_eq!(faults.into_result(), Ok(()));
        let mut faults = Faults::default();
        std::fs::write(&path, "many\n").unwrap();
        assert_eq!(read_counter(&path, &mut faults), None);
        assert!(faults.into_result().is_err());
    }
}
