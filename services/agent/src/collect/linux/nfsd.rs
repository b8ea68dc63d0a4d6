//! `node_nfsd_*`: what the host did as an NFS server, from `/proc/1/net/rpc/nfsd`.
//!
//! Its lines are like those of the client (see `nfs`). Which of them there are depends on the
//! kernel: newer ones have no cache of read-ahead, and version 2 can be left out of them.

use std::time::Duration;

use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::{HostSource, Roots};
use super::nfs::{V2, V3, numbers, report_calls};
use super::{Collector, note_fallback};

/// The operations of version 4 by their numbers in the protocol. Those without a name here are
/// not shown: there are none with the first three numbers, and the others are only steps of a call.
const V4: &[&str] = &[
    "",
    "",
    "",
    "Access",
    "Close",
    "Commit",
    "Create",
    "DelegPurge",
    "DelegReturn",
    "GetAttr",
    "GetFH",
    "Link",
    "Lock",
    "Lockt",
    "Locku",
    "Lookup",
    "LookupRoot",
    "Nverify",
    "Open",
    "OpenAttr",
    "OpenConfirm",
    "OpenDgrd",
    "PutFH",
    "",
    "",
    "Read",
    "ReadDir",
    "ReadLink",
    "Remove",
    "Rename",
    "Renew",
    "RestoreFH",
    "SaveFH",
    "SecInfo",
    "SetAttr",
    "",
    "",
    "Verify",
    "Write",
    "RelLockOwner",
];
const REQUESTS: (&str, &str) = ("node_nfsd_requests_total", "Procedures that clients called on this NFS server.");

/// The host as an NFS server.
#[derive(Debug)]
pub(super) struct Nfsd {
    file: HostSource,
}

impl Nfsd {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new() -> Self {
        Self { file: HostSource::new("1/net/rpc/nfsd", "self/net/rpc/nfsd") }
    }
}

impl Collector for Nfsd {
    fn name(&self) -> &'static str {
        "nfsd"
    }

    fn source(&self) -> &'static str {
        "`/proc/1/net/rpc/nfsd`"
    }

    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(15))
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let Some(text) = self.file.read_if_there(&roots.proc, &mut faults) else { return faults.into_result() };
        report(text, out, &mut faults);
        note_fallback("nfsd", self.file.is_own(), roots, faults, out)
    }
}

fn report(text: &str, out: &mut Batch, faults: &mut Faults) {
    for line in text.lines() {
        let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
        let done = match key {
            "proc2" => report_calls(REQUESTS, "2", &unnamed_null(V2), rest, out),
            "proc3" => report_calls(REQUESTS, "3", &unnamed_null(V3), rest, out),
            "proc4ops" => report_calls(REQUESTS, "4", V4, rest, out),
            // Attributes asked of a client that holds a write delegation: a line with one number.
            "wdeleg_getattr" => numbers(rest).map(|[calls]| {
                out.counter(REQUESTS.0, REQUESTS.1, &[("proto", "4"), ("method", "WdelegGetattr")], calls);
            }),
            _ => report_server(key, rest, out),
        };
        if done.is_none() {
            faults.note(CollectError::malformed("net/rpc/nfsd", line));
        }
    }
}

/// The procedures of a version, of which a server does not show the one that does nothing.
fn unnamed_null(names: &[&'static str]) -> Vec<&'static str> {
    std::iter::once("").chain(names.iter().skip(1).copied()).collect()
}

/// The lines that are not about procedures. `None` if one does not hold what it should.
fn report_server(key: &str, rest: &str, out: &mut Batch) -> Option<()> {
    match key {
        "rc" => {
            let [hits, misses, uncached] = numbers(rest)?;
            let help = "Requests that were answered before and got the same answer again.";
            out.counter("node_nfsd_reply_cache_hits_total", help, &[], hits);
            let help = "Requests whose answers are kept in case they are asked again.";
            out.counter("node_nfsd_reply_cache_misses_total", help, &[], misses);
            let help = "Requests whose answers need not be kept.";
            out.counter("node_nfsd_reply_cache_nocache_total", help, &[], uncached);
        }
        "fh" => {
            let [stale] = numbers(rest)?;
            let help = "Requests with a handle of a file that is no longer there.";
            out.counter("node_nfsd_file_handles_stale_total", help, &[], stale);
        }
        "io" => {
            let [read, written] = numbers(rest)?;
            out.counter("node_nfsd_disk_bytes_read_total", "Bytes read for clients.", &[], read);
            out.counter("node_nfsd_disk_bytes_written_total", "Bytes written for clients.", &[], written);
        }
        "th" => {
            let [threads] = numbers(rest)?;
            out.gauge("node_nfsd_server_threads", "Threads of the NFS server.", &[], threads);
        }
        "ra" => {
            // The size, how often a block was found in each tenth of it, how often in none.
            let [size, _, _, _, _, _, _, _, _, _, _, missed] = numbers(rest)?;
            out.gauge(
                "node_nfsd_read_ahead_cache_size_blocks",
                "Size of the cache of read-ahead, in blocks.",
                &[],
                size,
            );
            let help = "Blocks that were not found in the cache of read-ahead.";
            out.counter("node_nfsd_read_ahead_cache_not_found_total", help, &[], missed);
        }
        "net" => {
            let [_, udp, tcp, connections] = numbers(rest)?;
            for (proto, packets) in [("udp", udp), ("tcp", tcp)] {
                out.counter("node_nfsd_packets_total", "Packets exchanged with clients.", &[("proto", proto)], packets);
            }
            out.counter("node_nfsd_connections_total", "TCP connections of clients.", &[], connections);
        }
        "rpc" => {
            let [calls, _, format, auth, client] = numbers(rest)?;
            for (error, count) in [("fmt", format), ("auth", auth), ("cInt", client)] {
                out.counter(
                    "node_nfsd_rpc_errors_total",
                    "Remote calls refused, by reason.",
                    &[("error", error)],
                    count,
                );
            }
            out.counter("node_nfsd_server_rpcs_total", "Remote calls of clients.", &[], calls);
        }
        _ => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    #[test]
    fn lines_of_an_old_server() {
        let text = "rc 1 2 3\nfh 4 0 0 0 0\nio 5 6\nth 8 0 0.000\nra 32 0 0 0 0 0 0 0 0 0 0 7\nnet 30 10 20 9\nrpc 99 6 1 2 3\n";
        check(
            |out, faults| report(text, out, faults),
            "node_nfsd_reply_cache_hits_total 1\n\
             node_nfsd_reply_cache_misses_total 2\n\
             node_nfsd_reply_cache_nocache_total 3\n\
             node_nfsd_file_handles_stale_total 4\n\
             node_nfsd_disk_bytes_read_total 5\n\
             node_nfsd_disk_bytes_written_total 6\n\
             node_nfsd_server_threads 8\n\
             node_nfsd_read_ahead_cache_size_blocks 32\n\
             node_nfsd_read_ahead_cache_not_found_total 7\n\
             node_nfsd_packets_total{proto=\"udp\"} 10\n\
             node_nfsd_packets_total{proto=\"tcp\"} 20\n\
             node_nfsd_connections_total 9\n\
             node_nfsd_rpc_errors_total{error=\"fmt\"} 1\n\
             node_nfsd_rpc_errors_total{error=\"auth\"} 2\n\
             node_nfsd_rpc_errors_total{error=\"cInt\"} 3\n\
             node_nfsd_server_rpcs_total 99\n",
            None,
        );
    }

    #[test]
    fn procedures() {
        let text = "proc2 3 7 8 9\nproc4 2 1 5\nproc4ops 5 0 0 0 11 12\nwdeleg_getattr 16\nra 32\nproc3 x\n";
        check(
            |out, faults| report(text, out, faults),
            "node_nfsd_requests_total{proto=\"2\",method=\"GetAttr\"} 8\n\
             node_nfsd_requests_total{proto=\"2\",method=\"SetAttr\"} 9\n\
             node_nfsd_requests_total{proto=\"4\",method=\"Access\"} 11\n\
             node_nfsd_requests_total{proto=\"4\",method=\"Close\"} 12\n\
             node_nfsd_requests_total{proto=\"4\",method=\"WdelegGetattr\"} 16\n",
            Some("\"ra 32\""),
        );
        assert_eq!(V4.len(), 40);
    }
}
