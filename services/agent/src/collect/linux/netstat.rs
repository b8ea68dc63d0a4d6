//! `node_netstat_*`: the counters of the host's network protocols, from
//! `/proc/1/net/{netstat,snmp,snmp6}`.
//!
//! Their names are made of the kernel's own, so a new kernel's new counters need no change here.

use super::batch::Batch;
use super::config::Config;
use super::error::{CollectError, Faults};
use super::files::{HostSource, Roots};
use super::filter::Filter;
use super::{Collector, note_fallback};

/// How every name begins; a field such as `Tcp_InSegs` follows.
const PREFIX: &str = "node_netstat_";
const HELP: &str = "The kernel's counter of this name, in /proc/net/netstat, snmp or snmp6.";

/// The host's network protocols.
#[derive(Debug)]
pub(super) struct Netstat {
    netstat: HostSource,
    snmp: HostSource,
    snmp6: HostSource,
    fields: Fields,
}

impl Netstat {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new(config: &Config) -> Self {
        Self {
            netstat: HostSource::new("1/net/netstat", "self/net/netstat"),
            snmp: HostSource::new("1/net/snmp", "self/net/snmp"),
            snmp6: HostSource::new("1/net/snmp6", "self/net/snmp6"),
            fields: Fields { filter: config.netstat_fields.clone(), name: String::new() },
        }
    }
}

impl Collector for Netstat {
    fn name(&self) -> &'static str {
        "netstat"
    }

    fn source(&self) -> &'static str {
        "`/proc/1/net/netstat`, `/proc/1/net/snmp`, `/proc/1/net/snmp6`"
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        for file in [&mut self.netstat, &mut self.snmp] {
            if let Some(text) = file.read(&roots.proc, &mut faults) {
                self.fields.report_pairs(text, out, &mut faults);
            }
        }
        // A host may have no IPv6.
        if let Some(text) = self.snmp6.read_if_there(&roots.proc, &mut faults) {
            self.fields.report_lines(text, out, &mut faults);
        }
        note_fallback("netstat", self.snmp.is_own(), roots, faults, out)
    }
}

/// Which fields are shown, and how.
#[derive(Debug)]
struct Fields {
    filter: Filter,
    /// The name of the field at hand.
    name: String,
}

impl Fields {
    /// Reads `netstat` or `snmp`: pairs of lines, `Tcp: InSegs OutSegs` and `Tcp: 7 8`.
    fn report_pairs(&mut self, text: &str, out: &mut Batch, faults: &mut Faults) {
        let mut lines = text.lines();
        while let Some(names) = lines.next() {
            let values = lines.next().unwrap_or_default();
            let halves = names.split_once(':').zip(values.split_once(':'));
            let Some(((protocol, names), (_, values))) = halves.filter(|((one, _), (other, _))| one == other) else {
                faults.note(CollectError::malformed("net/snmp", names));
                continue;
            };
            let mut values = values.split_ascii_whitespace();
            for name in names.split_ascii_whitespace() {
                self.report(protocol, name, values.next(), out, faults);
            }
        }
    }

    /// Reads `snmp6`: a line for each field, `Udp6InDatagrams 7`.
    fn report_lines(&mut self, text: &str, out: &mut Batch, faults: &mut Faults) {
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let name = words.next().unwrap_or_default();
            match name.find('6').and_then(|six| name.split_at_checked(six + 1)) {
                Some((protocol, name)) => self.report(protocol, name, words.next(), out, faults),
                None => faults.note(CollectError::malformed("net/snmp6", line)),
            }
        }
    }

    fn report(&mut self, protocol: &str, field: &str, value: Option<&str>, out: &mut Batch, faults: &mut Faults) {
        self.name.clear();
        for part in [PREFIX, protocol, "_", field] {
            self.name.push_str(part);
        }
        let is_shown = self.name.strip_prefix(PREFIX).is_some_and(|field| self.filter.shows(field));
        if is_shown {
            match value.and_then(number) {
                Some(value) => out.untyped(&self.name, HELP, &[], value),
                None => faults.note(CollectError::malformed(&self.name, value.unwrap_or_default())),
            }
        }
    }
}

/// A counter, or a setting that may be negative.
#[expect(clippy::cast_precision_loss, reason = "samples are f64; counters beyond 2^53 are rounded")]
fn number(word: &str) -> Option<f64> {
    super::whole(word).or_else(|| word.parse::<i64>().ok().map(|number| number as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{check, config};

    fn fields(filter: Filter) -> Fields {
        Fields { filter, name: String::new() }
    }

    #[test]
    fn pairs_of_lines() {
        let text = "Tcp: MaxConn InSegs OutSegs\nTcp: -1 18446744073709551615 8\nIcmpMsg: InType3\nIcmpMsg: 1\n";
        check(
            |out, faults| fields(Filter::default()).report_pairs(text, out, faults),
            "node_netstat_Tcp_MaxConn -1\nnode_netstat_Tcp_InSegs 18446744073709552000\n\
             node_netstat_Tcp_OutSegs 8\nnode_netstat_IcmpMsg_InType3 1\n",
            None,
        );
        check(
            |out, faults| fields(config().netstat_fields).report_pairs(text, out, faults),
            "node_netstat_Tcp_InSegs 18446744073709552000\nnode_netstat_Tcp_OutSegs 8\n",
            None,
        );
    }

    #[test]
    fn what_makes_no_sense_is_a_fault_and_the_rest_is_read() {
        let text = "Tcp: InSegs\nUdp: 1\nIp: Forwarding DefaultTTL\nIp: x 2\nUdp: InErrors NoPorts\nUdp: 3\nTcp: A\n";
        check(
            |out, faults| fields(Filter::default()).report_pairs(text, out, faults),
            "node_netstat_Ip_DefaultTTL 2\nnode_netstat_Udp_InErrors 3\n",
            Some("net/snmp: cannot make sense of \"Tcp: InSegs\""),
        );
        check(
            |out, faults| fields(Filter::default()).report_pairs("Ip: Forwarding\nIp:\n", out, faults),
            "",
            Some("node_netstat_Ip_Forwarding: cannot make sense of \"\""),
        );
    }

    #[test]
    fn lines_of_version_6() {
        let text =
            "Ip6InReceives                   \t1\nIcmp6InType134\t2\nUdpLite6InErrors 3\nUdp6InErrors\nwords 4\n";
        check(
            |out, faults| fields(Filter::default()).report_lines(text, out, faults),
            "node_netstat_Ip6_InReceives 1\nnode_netstat_Icmp6_InType134 2\nnode_netstat_UdpLite6_InErrors 3\n",
            Some("node_netstat_Udp6_InErrors: cannot make sense of"),
        );
    }
}
