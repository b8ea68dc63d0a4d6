//! `node_tcp_connection_states`: the host's TCP sockets by state, from `/proc/1/net/{tcp,tcp6}`.
//!
//! The kernel walks through its whole table of connections for each of the two files, some
//! milliseconds even where it is empty, so they are read at times only. Of more than
//! [`SOCKETS_MAX`] sockets in a file the first are counted, and that is a fault.

use std::time::Duration;

use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::Roots;
use super::lines::HostLines;
use super::sockets::{HEAD, SOCKETS_MAX, Socket};
use super::{Collector, note_fallback};

/// The kernel walks its whole table of connections for each of the two files: 5 ms and more.
const EVERY: Duration = Duration::from_secs(120);
/// The states by the kernel's number, which begins at 1. Half-open connections it shows as
/// `syn_recv`, whatever it keeps them as.
const STATES: [&str; 11] = [
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
];
/// The number of `listen`.
const LISTEN: usize = 10;

/// The host's TCP sockets.
#[derive(Debug)]
pub(super) struct Tcpstat {
    v4: HostLines,
    v6: HostLines,
}

/// What was counted.
#[derive(Debug, Default)]
struct Counts {
    states: [u32; STATES.len()],
    tx_bytes: u64,
    rx_bytes: u64,
}

impl Tcpstat {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new() -> Self {
        Self {
            v4: HostLines::new("1/net/tcp", "self/net/tcp", HEAD),
            v6: HostLines::new("1/net/tcp6", "self/net/tcp6", HEAD),
        }
    }
}

impl Collector for Tcpstat {
    fn name(&self) -> &'static str {
        "tcpstat"
    }

    fn source(&self) -> &'static str {
        "`/proc/1/net/tcp`, `/proc/1/net/tcp6`"
    }

    fn every(&self) -> Option<Duration> {
        Some(EVERY)
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let mut counts = Counts::default();
        let v4 = self.v4.each(&roots.proc, SOCKETS_MAX, &mut faults, |line| counts.add(line));
        let v6 = self.v6.each(&roots.proc, SOCKETS_MAX, &mut faults, |line| counts.add(line));
        // A sum without the sockets of one file would be a wrong one.
        let is_whole = v6.as_ref().map_or_else(CollectError::is_missing, |()| true);
        faults.check_if_there(v6);
        if faults.check(v4).is_some() && is_whole {
            report(&counts, out);
        }
        note_fallback("tcpstat", self.v4.is_own(), roots, faults, out)
    }
}

impl Counts {
    fn add(&mut self, line: &str) -> Option<()> {
        let socket = Socket::parse(line)?;
        *self.states.get_mut(socket.state.checked_sub(1)?)? += 1;
        // A socket that listens has no bytes in its queues.
        if socket.state != LISTEN {
            self.tx_bytes += u64::from(socket.tx);
            self.rx_bytes += u64::from(socket.rx);
        }
        Some(())
    }
}

fn report(counts: &Counts, out: &mut Batch) {
    #[expect(clippy::cast_precision_loss, reason = "2^53 bytes do not wait in queues")]
    let bytes = [("rx_queued_bytes", counts.rx_bytes as f64), ("tx_queued_bytes", counts.tx_bytes as f64)];
    let states = STATES.into_iter().zip(counts.states.map(f64::from));
    for (state, value) in states.chain(bytes) {
        let help = "TCP sockets in each state, and the bytes that wait in their queues.";
        out.gauge("node_tcp_connection_states", help, &[("state", state)], value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    #[test]
    fn sockets_are_counted_by_state_and_their_queues_added_up() {
        let lines = [
            "0: 00000000:0016 00000000:0000 0A 00000080:00000007",
            "1: 0100007F:0016 0100007F:C350 01 00000010:0000000F",
            "2: 0100007F:0016 0100007F:C351 01 00000001:FFFFFFFF",
            "3: 0100007F:0016 0100007F:C352 06 00000000:00000000",
        ];
        let mut counts = Counts::default();
        for line in lines {
            counts.add(line).unwrap();
        }
        for bad in ["4: 0:0 0:0 00 0:0", "4: 0:0 0:0 0C 0:0", "4: 0:0 0:0 FFFFFFFF 0:0", "words"] {
            assert_eq!(counts.add(bad), None);
        }
        let state = |name: &str, value: u64| format!("node_tcp_connection_states{{state=\"{name}\"}} {value}\n");
        let page = [
            ("established", 2),
            ("syn_sent", 0),
            ("syn_recv", 0),
            ("fin_wait1", 0),
            ("fin_wait2", 0),
            ("time_wait", 1),
            ("close", 0),
            ("close_wait", 0),
            ("last_ack", 0),
            ("listen", 1),
            ("closing", 0),
            ("rx_queued_bytes", 15 + 0xffff_ffff),
            ("tx_queued_bytes", 17),
        ];
        check(|out, _| report(&counts, out), &page.map(|(name, value)| state(name, value)).concat(), None);
    }
}
