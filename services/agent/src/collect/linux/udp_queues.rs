//! `node_udp_queues`: what waits in the queues of the host's UDP sockets, from
//! `/proc/1/net/{udp,udp6}`.
//!
//! A name server has tens of thousands of them, so they are read at times only. Of more than
//! [`SOCKETS_MAX`] in a file the first are counted, and that is a fault.

use std::time::Duration;

use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::Roots;
use super::lines::HostLines;
use super::sockets::{HEAD, SOCKETS_MAX, Socket};
use super::{Collector, note_fallback};

const EVERY: Duration = Duration::from_secs(15);

/// The host's UDP sockets.
#[derive(Debug)]
pub(super) struct UdpQueues {
    v4: HostLines,
    v6: HostLines,
}

/// Bytes that wait.
#[derive(Debug, Default)]
struct Queues {
    tx: u64,
    rx: u64,
}

impl UdpQueues {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new() -> Self {
        Self {
            v4: HostLines::new("1/net/udp", "self/net/udp", HEAD),
            v6: HostLines::new("1/net/udp6", "self/net/udp6", HEAD),
        }
    }
}

impl Collector for UdpQueues {
    fn name(&self) -> &'static str {
        "udp_queues"
    }

    fn source(&self) -> &'static str {
        "`/proc/1/net/udp`, `/proc/1/net/udp6`"
    }

    fn every(&self) -> Option<Duration> {
        Some(EVERY)
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let (mut v4, mut v6) = (Queues::default(), Queues::default());
        let read = self.v4.each(&roots.proc, SOCKETS_MAX, &mut faults, |line| v4.add(line));
        if faults.check(read).is_some() {
            report("v4", &v4, out);
        }
        let read = self.v6.each(&roots.proc, SOCKETS_MAX, &mut faults, |line| v6.add(line));
        if faults.check_if_there(read).is_some() {
            report("v6", &v6, out);
        }
        note_fallback("udp_queues", self.v4.is_own(), roots, faults, out)
    }
}

impl Queues {
    fn add(&mut self, line: &str) -> Option<()> {
        let socket = Socket::parse(line)?;
        self.tx += u64::from(socket.tx);
        self.rx += u64::from(socket.rx);
        Some(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "2^53 bytes do not wait in queues")]
fn report(ip: &str, queues: &Queues, out: &mut Batch) {
    for (queue, bytes) in [("rx", queues.rx), ("tx", queues.tx)] {
        let help = "Bytes that wait in the queues of all UDP sockets, by direction and version of IP.";
        out.gauge("node_udp_queues", help, &[("queue", queue), ("ip", ip)], bytes as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    #[test]
    fn queues_are_added_up() {
        let mut queues = Queues::default();
        queues.add("  32: 00000000:0044 00000000:0000 07 00000000:00015000 00:00000000").unwrap();
        queues.add("  33: 00000000:0035 00000000:0000 07 00000002:00000001 00:00000000").unwrap();
        assert_eq!(queues.add("34: words"), None);
        let page = "node_udp_queues{queue=\"rx\",ip=\"v4\"} 86017\nnode_udp_queues{queue=\"tx\",ip=\"v4\"} 2\n";
        check(|out, _| report("v4", &queues, out), page, None);
    }
}
