//! `node_ipvs_*`: the kernel's load balancer, from `/proc/1/net/ip_vs_stats` and `ip_vs`.
//!
//! `/proc/net` would show the network of whoever reads it: in a container its own. Both files write
//! addresses, ports, marks and totals in hexadecimal, connections and weights in decimal.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::batch::Batch;
use super::error::{CollectError, Faults, at_most};
use super::files::{HostSource, Roots};
use super::{Collector, note_fallback, whole};

/// The totals, in the order of the third line of `ip_vs_stats`.
const TOTALS: [(&str, &str); 5] = [
    ("node_ipvs_connections_total", "Connections taken."),
    ("node_ipvs_incoming_packets_total", "Packets of clients."),
    ("node_ipvs_outgoing_packets_total", "Packets for clients."),
    ("node_ipvs_incoming_bytes_total", "Bytes of clients."),
    ("node_ipvs_outgoing_bytes_total", "Bytes for clients."),
];
/// Most servers behind all services that are shown.
const BACKENDS_MAX: usize = 4096;

/// The services that the host spreads over others.
#[derive(Debug)]
pub(super) struct Ipvs {
    stats: HostSource,
    services: HostSource,
}

impl Ipvs {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new() -> Self {
        Self {
            stats: HostSource::new("1/net/ip_vs_stats", "self/net/ip_vs_stats"),
            services: HostSource::new("1/net/ip_vs", "self/net/ip_vs"),
        }
    }
}

impl Collector for Ipvs {
    fn name(&self) -> &'static str {
        "ipvs"
    }

    fn source(&self) -> &'static str {
        "`/proc/1/net/ip_vs_stats`, `/proc/1/net/ip_vs`"
    }

    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(15))
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let Some(text) = self.stats.read_if_there(&roots.proc, &mut faults) else { return faults.into_result() };
        report_totals(text, out, &mut faults);
        if let Some(text) = self.services.read_if_there(&roots.proc, &mut faults) {
            for backend in backends(text) {
                if let Some(backend) = faults.check(backend) {
                    report_backend(&backend, out);
                }
            }
        }
        note_fallback("ipvs", self.stats.is_own(), roots, faults, out)
    }
}

fn report_totals(text: &str, out: &mut Batch, faults: &mut Faults) {
    let line = text.lines().nth(2).unwrap_or_default();
    let mut words = line.split_ascii_whitespace();
    for (name, help) in TOTALS {
        match words.next().and_then(total) {
            Some(value) => out.counter(name, help, &[], value),
            None => return faults.note(CollectError::malformed("net/ip_vs_stats", line)),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "samples are f64; counters beyond 2^53 are rounded")]
fn total(word: &str) -> Option<f64> {
    u64::from_str_radix(word, 16).ok().map(|number| number as f64)
}

/// What clients connect to.
#[derive(Debug, Clone, Default)]
struct Service<'a> {
    proto: &'a str,
    /// Empty, with port 0, of a service that is known by a mark of the firewall.
    address: String,
    port: u16,
    mark: &'a str,
}

/// A server behind a service.
#[derive(Debug)]
struct Backend<'a> {
    service: Service<'a>,
    address: IpAddr,
    port: u16,
    weight: f64,
    active: f64,
    inactive: f64,
}

/// The lines of `ip_vs`: of a service, and after it those of its servers.
fn backends(text: &str) -> impl Iterator<Item = Result<Backend<'_>, CollectError>> {
    let mut service = None;
    let backends = text.lines().filter_map(move |line| {
        let malformed = || Some(Err(CollectError::malformed("net/ip_vs", line)));
        let mut words = line.split_ascii_whitespace();
        let (first, second) = (words.next()?, words.next().unwrap_or_default());
        match first {
            // The head.
            "IP" | "Prot" => None,
            "->" if second == "RemoteAddress:Port" => None,
            "->" => match backend(service.as_ref()?, second, words) {
                Some(backend) => Some(Ok(backend)),
                None => malformed(),
            },
            proto => {
                service = parse_service(proto, second);
                // The servers of a service that makes no sense are nobody's.
                if service.is_none() { malformed() } else { None }
            }
        }
    });
    at_most(BACKENDS_MAX, "servers of IPVS", backends)
}

fn parse_service<'a>(proto: &'a str, address: &'a str) -> Option<Service<'a>> {
    if proto == "FWM" {
        return (!address.is_empty()).then(|| Service { proto, mark: address, ..Service::default() });
    }
    let (address, port) = parse_address(address)?;
    Some(Service { proto, address: address.to_string(), port, mark: "" })
}

fn backend<'a>(service: &Service<'a>, address: &str, mut words: impl Iterator<Item = &'a str>) -> Option<Backend<'a>> {
    let (address, port) = parse_address(address)?;
    let _how_it_is_reached = words.next()?;
    let mut number = || words.next().and_then(whole);
    let (weight, active, inactive) = (number()?, number()?, number()?);
    Some(Backend { service: service.clone(), address, port, weight, active, inactive })
}

/// Reads `C0A80016:0CEA` or `[2001:0db8:0000:0000:0000:0000:0000:0001]:0050`.
fn parse_address(word: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = word.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let address = match address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(long) => IpAddr::V6(long.parse::<Ipv6Addr>().ok()?),
        None if address.len() == 8 => IpAddr::V4(Ipv4Addr::from_bits(u32::from_str_radix(address, 16).ok()?)),
        None => return None,
    };
    Some((address, port))
}

fn report_backend(backend: &Backend<'_>, out: &mut Batch) {
    let service = &backend.service;
    let (local_port, address, port) = (service.port.to_string(), backend.address.to_string(), backend.port.to_string());
    let labels = [
        ("local_address", service.address.as_str()),
        ("local_port", &local_port),
        ("remote_address", &address),
        ("remote_port", &port),
        ("proto", service.proto),
        ("local_mark", service.mark),
    ];
    let help = "Connections to a server that are in use.";
    out.gauge("node_ipvs_backend_connections_active", help, &labels, backend.active);
    let help = "Connections to a server that are being closed or wait.";
    out.gauge("node_ipvs_backend_connections_inactive", help, &labels, backend.inactive);
    let help = "The share of connections that a server gets, compared with the others of its service.";
    out.gauge("node_ipvs_backend_weight", help, &labels, backend.weight);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    #[test]
    fn totals_are_hexadecimal() {
        let text = "   Total\n   Conns\n      1A       FF        0               10 FFFFFFFFFFFFFFFF\n\n Conns/s\n";
        check(
            |out, faults| report_totals(text, out, faults),
            "node_ipvs_connections_total 26\n\
             node_ipvs_incoming_packets_total 255\n\
             node_ipvs_outgoing_packets_total 0\n\
             node_ipvs_incoming_bytes_total 16\n\
             node_ipvs_outgoing_bytes_total 18446744073709552000\n",
            None,
        );
        check(
            |out, faults| report_totals("\n\n1 2", out, faults),
            "node_ipvs_connections_total 1\nnode_ipvs_incoming_packets_total 2\n",
            Some("\"1 2\""),
        );
    }

    /// Of each server: its service, its address, weight and connections.
    #[track_caller]
    fn check_backends(text: &str, expected: &[&str], fault: Option<&str>) {
        let mut faults = Faults::default();
        let shown = |b: Backend<'_>| {
            let Service { proto, address, port, mark } = b.service;
            format!("{proto} {address} {port} {mark} {} {} {} {} {}", b.address, b.port, b.weight, b.active, b.inactive)
        };
        let got: Vec<String> = backends(text).filter_map(|b| faults.check(b)).map(shown).collect();
        assert_eq!(got, expected);
        let error = faults.into_result().err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), fault);
    }

    const HEAD: &str = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n";

    #[test]
    fn servers_belong_to_the_service_above_them() {
        let text = HEAD.to_owned()
            + "TCP  0A000001:01BB rr\n  -> 0A000102:1F90      Masq    1      7          9\n\
               FWM  0000002A wlc\n  -> 0A000103:0000      Route   0      0          0\n\
               SCTP [2001:0db8:0000:0000:0000:0000:0000:0001]:0050 sh\n  -> [fe80:0000:0000:0000:0000:0000:0000:00ff]:0051 Tunnel 100 1 2\n";
        let expected = [
            "TCP 10.0.0.1 443  10.0.1.2 8080 1 7 9",
            "FWM  0 0000002A 10.0.1.3 0 0 0 0",
            "SCTP 2001:db8::1 80  fe80::ff 81 100 1 2",
        ];
        check_backends(&text, &expected, None);
        check_backends(HEAD, &[], None);
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let text = "TCP  0A00001:01BB rr\n  -> 0A000102:1F90 Masq 1 7 9\nUDP  0A000001:0035 rr\n  -> 0A000102:1F90 Masq 1 x 9\n  -> 0A000103:1F90 Masq 1 8 9\n";
        check_backends(
            text,
            &["UDP 10.0.0.1 53  10.0.1.3 8080 1 8 9"],
            Some("net/ip_vs: cannot make sense of \"TCP  0A00001:01BB rr\""),
        );
    }

    #[test]
    fn servers_are_bounded() {
        let line = "  -> 0A000102:1F90 Masq 1 7 9\n";
        let text = format!("TCP 0A000001:01BB rr\n{}", line.repeat(BACKENDS_MAX + 3));
        let errors: Vec<_> = backends(&text).filter_map(Result::err).collect();
        assert_eq!(errors, [CollectError::TooMany { what: "servers of IPVS", max: BACKENDS_MAX }]);
    }
}
