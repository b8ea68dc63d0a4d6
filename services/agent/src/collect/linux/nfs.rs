//! `node_nfs_*`: what the host asked of NFS servers, from `/proc/1/net/rpc/nfs`.
//!
//! `/proc/net/rpc` would show the network of whoever reads it: in a container its own.
//!
//! A line is a word and numbers; those of a version of the protocol begin with how many follow,
//! one for each procedure in the order of the kernel's own table. Later kernels only add to its
//! end. Procedures without a name here are not shown.

use std::time::Duration;

use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::{HostSource, Roots};
use super::{Collector, note_fallback, whole};

/// The procedures of version 2.
pub(super) const V2: &[&str] = &[
    "Null", "GetAttr", "SetAttr", "Root", "Lookup", "ReadLink", "Read", "WrCache", "Write", "Create", "Remove",
    "Rename", "Link", "SymLink", "MkDir", "RmDir", "ReadDir", "FsStat",
];
/// The procedures of version 3.
pub(super) const V3: &[&str] = &[
    "Null",
    "GetAttr",
    "SetAttr",
    "Lookup",
    "Access",
    "ReadLink",
    "Read",
    "Write",
    "Create",
    "MkDir",
    "SymLink",
    "MkNod",
    "Remove",
    "RmDir",
    "Rename",
    "Link",
    "ReadDir",
    "ReadDirPlus",
    "FsStat",
    "FsInfo",
    "PathConf",
    "Commit",
];
/// What a client of version 4 asks for, as since Linux 3.13.
const V4: &[&str] = &[
    "Null",
    "Read",
    "Write",
    "Commit",
    "Open",
    "OpenConfirm",
    "OpenNoattr",
    "OpenDowngrade",
    "Close",
    "Setattr",
    "FsInfo",
    "Renew",
    "SetClientID",
    "SetClientIDConfirm",
    "Lock",
    "Lockt",
    "Locku",
    "Access",
    "Getattr",
    "Lookup",
    "LookupRoot",
    "Remove",
    "Rename",
    "Link",
    "Symlink",
    "Create",
    "Pathconf",
    "StatFs",
    "ReadLink",
    "ReadDir",
    "ServerCaps",
    "DelegReturn",
    "GetACL",
    "SetACL",
    "FsLocations",
    "ReleaseLockowner",
    "Secinfo",
    "FsidPresent",
    "ExchangeID",
    "CreateSession",
    "DestroySession",
    "Sequence",
    "GetLeaseTime",
    "ReclaimComplete",
    "GetDeviceInfo",
    "LayoutGet",
    "LayoutCommit",
    "LayoutReturn",
    "SecinfoNoName",
    "TestStateID",
    "FreeStateID",
    "GetDeviceList",
    "BindConnToSession",
    "DestroyClientID",
    "Seek",
    "Allocate",
    "DeAllocate",
    "LayoutStats",
    "Clone",
];
const REQUESTS: (&str, &str) = ("node_nfs_requests_total", "Procedures that this host called on NFS servers.");

/// The host as a client of NFS.
#[derive(Debug)]
pub(super) struct Nfs {
    file: HostSource,
}

impl Nfs {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new() -> Self {
        Self { file: HostSource::new("1/net/rpc/nfs", "self/net/rpc/nfs") }
    }
}

impl Collector for Nfs {
    fn name(&self) -> &'static str {
        "nfs"
    }

    fn source(&self) -> &'static str {
        "`/proc/1/net/rpc/nfs`"
    }

    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(15))
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let Some(text) = self.file.read_if_there(&roots.proc, &mut faults) else { return faults.into_result() };
        report(text, out, &mut faults);
        note_fallback("nfs", self.file.is_own(), roots, faults, out)
    }
}

fn report(text: &str, out: &mut Batch, faults: &mut Faults) {
    for line in text.lines() {
        let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
        let done = match key {
            "net" => report_net(rest, out),
            "rpc" => report_rpc(rest, out),
            "proc2" => report_calls(REQUESTS, "2", V2, rest, out),
            "proc3" => report_calls(REQUESTS, "3", V3, rest, out),
            "proc4" => report_calls(REQUESTS, "4", V4, rest, out),
            _ => continue,
        };
        if done.is_none() {
            faults.note(CollectError::malformed("net/rpc/nfs", line));
        }
    }
}

fn report_net(rest: &str, out: &mut Batch) -> Option<()> {
    let [_, udp, tcp, connections] = numbers(rest)?;
    for (protocol, packets) in [("udp", udp), ("tcp", tcp)] {
        out.counter(
            "node_nfs_packets_total",
            "Packets exchanged with NFS servers.",
            &[("protocol", protocol)],
            packets,
        );
    }
    out.counter("node_nfs_connections_total", "TCP connections to NFS servers.", &[], connections);
    Some(())
}

fn report_rpc(rest: &str, out: &mut Batch) -> Option<()> {
    let [calls, retransmissions, refreshes] = numbers(rest)?;
    out.counter("node_nfs_rpcs_total", "Remote calls to NFS servers.", &[], calls);
    let help = "Remote calls that were sent again.";
    out.counter("node_nfs_rpc_retransmissions_total", help, &[], retransmissions);
    let help = "How often the credentials of remote calls were renewed.";
    out.counter("node_nfs_rpc_authentication_refreshes_total", help, &[], refreshes);
    Some(())
}

/// The first numbers of a line. `None` if there are fewer, or something else among them.
pub(super) fn numbers<const N: usize>(rest: &str) -> Option<[f64; N]> {
    let mut numbers = [0.0; N];
    let mut words = rest.split_ascii_whitespace();
    for number in &mut numbers {
        *number = words.next().and_then(whole)?;
    }
    Some(numbers)
}

/// Shows the calls of each procedure that has a name, from a line that says how many follow.
/// `None` if it does not hold what it says; what came before that is shown.
pub(super) fn report_calls(
    (family, help): (&str, &str),
    proto: &str,
    names: &[&str],
    rest: &str,
    out: &mut Batch,
) -> Option<()> {
    let mut words = rest.split_ascii_whitespace();
    let count: usize = words.next()?.parse().ok()?;
    if words.clone().count() != count {
        return None;
    }
    for (name, word) in names.iter().zip(words) {
        let calls = whole(word)?;
        if !name.is_empty() {
            out.counter(family, help, &[("proto", proto), ("method", name)], calls);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    #[test]
    fn lines() {
        let text = "net 70 11 59 3\nrpc 500 2 498\nproc4 4 1 20 30 40\nproc5 1 1\n";
        check(
            |out, faults| report(text, out, faults),
            "node_nfs_packets_total{protocol=\"udp\"} 11\n\
             node_nfs_packets_total{protocol=\"tcp\"} 59\n\
             node_nfs_connections_total 3\n\
             node_nfs_rpcs_total 500\n\
             node_nfs_rpc_retransmissions_total 2\n\
             node_nfs_rpc_authentication_refreshes_total 498\n\
             node_nfs_requests_total{proto=\"4\",method=\"Null\"} 1\n\
             node_nfs_requests_total{proto=\"4\",method=\"Read\"} 20\n\
             node_nfs_requests_total{proto=\"4\",method=\"Write\"} 30\n\
             node_nfs_requests_total{proto=\"4\",method=\"Commit\"} 40\n",
            None,
        );
    }

    #[test]
    fn broken_lines() {
        check(|out, faults| report("net 1 2 3\n", out, faults), "", Some("\"net 1 2 3\""));
        check(|out, faults| report("proc2 3 1 2\n", out, faults), "", Some("\"proc2 3 1 2\""));
        check(
            |out, faults| report("rpc\nproc3 3 1 x 2\n", out, faults),
            "node_nfs_requests_total{proto=\"3\",method=\"Null\"} 1\n",
            Some("\"rpc\""),
        );
    }

    #[test]
    fn tables_are_whole() {
        assert_eq!((V2.len(), V3.len(), V4.len()), (18, 22, 59));
    }
}
