//! `node_nf_conntrack_*`: the connections that the host's firewall keeps track of, from
//! `/proc/1/net/stat/nf_conntrack` and `/proc/sys/net/netfilter`.
//!
//! Hosts whose firewall needs no tracking have neither file. The number of entries in
//! `/proc/sys` is that of the reader's network namespace, so it is asked only where that is the
//! host's own; elsewhere the limit without the entries is a fault.

use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::{HostSource, Roots, Source};
use super::{Collector, note_fallback, only_number};

/// The counters that are shown: their columns' names, what they are called and what they mean.
const STATS: [(&str, &str, &str); 8] = [
    ("found", "node_nf_conntrack_stat_found", "Entries that were looked up and found."),
    ("invalid", "node_nf_conntrack_stat_invalid", "Packets that cannot be tracked."),
    ("ignore", "node_nf_conntrack_stat_ignore", "Packets that belonged to an entry already."),
    ("insert", "node_nf_conntrack_stat_insert", "Entries added."),
    ("insert_failed", "node_nf_conntrack_stat_insert_failed", "Entries that could not be added."),
    ("drop", "node_nf_conntrack_stat_drop", "Packets dropped because no entry could be made for them."),
    ("early_drop", "node_nf_conntrack_stat_early_drop", "Entries given up for new ones because the table was full."),
    ("search_restart", "node_nf_conntrack_stat_search_restart", "Lookups begun again because the table was resized."),
];

/// The host's table of connections.
#[derive(Debug)]
pub(super) struct Conntrack {
    stat: HostSource,
    count: Source,
    limit: Source,
}

impl Conntrack {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new() -> Self {
        Self {
            stat: HostSource::new("1/net/stat/nf_conntrack", "self/net/stat/nf_conntrack"),
            count: Source::new("sys/net/netfilter/nf_conntrack_count"),
            limit: Source::new("sys/net/netfilter/nf_conntrack_max"),
        }
    }
}

impl Collector for Conntrack {
    fn name(&self) -> &'static str {
        "conntrack"
    }

    fn source(&self) -> &'static str {
        "`/proc/1/net/stat/nf_conntrack`, `/proc/sys/net/netfilter/nf_conntrack_{max,count}`"
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let stat = self.stat.read_if_there(&roots.proc, &mut faults).map(parse);
        let own = stat.is_some() && self.stat.is_own();
        let is_counted = stat.is_some() || !roots.foreign;
        if let Some(stat) = stat {
            if let Some(stat) = faults.check(stat) {
                report(&stat, out);
            }
        } else if !roots.foreign
            && let Some(text) = self.count.read_if_there(&roots.proc, &mut faults)
            && let Some(entries) = faults.check(only_number("nf_conntrack_count", text))
        {
            report_entries(entries, out);
        }
        if let Some(text) = self.limit.read_if_there(&roots.proc, &mut faults)
            && let Some(limit) = faults.check(only_number("nf_conntrack_max", text))
        {
            out.gauge("node_nf_conntrack_entries_limit", "Most connections that can be tracked.", &[], limit);
            if !is_counted {
                let what = "the number of tracked connections is hidden: there is no 1/net/stat/nf_conntrack";
                faults.note(CollectError::hidden(what));
            }
        }
        // A host without any of the files has nothing to say, not even that.
        if out.is_blank() {
            return faults.into_result();
        }
        note_fallback("conntrack", own, roots, faults, out)
    }
}

/// What `nf_conntrack` says.
#[derive(Debug, PartialEq)]
struct Stat {
    entries: f64,
    /// The sums over all CPUs, of the columns that this kernel has.
    sums: [Option<f64>; STATS.len()],
}

/// Reads a head with the columns' names and a line for each CPU in hexadecimal. All CPUs show the
/// same number of entries.
fn parse(text: &str) -> Result<Stat, CollectError> {
    let malformed = |line: &str| CollectError::malformed("net/stat/nf_conntrack", line);
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    let column = |name: &str| head.split_ascii_whitespace().position(|word| word == name);
    let entries_at = column("entries").ok_or_else(|| malformed(head))?;
    let columns = STATS.map(|(name, ..)| column(name));
    let mut entries = None;
    let mut sums = columns.map(|column| column.map(|_| 0.0));
    for line in lines {
        let number = |at: usize| {
            let word = line.split_ascii_whitespace().nth(at);
            word.and_then(|word| u32::from_str_radix(word, 16).ok()).map(f64::from).ok_or_else(|| malformed(line))
        };
        entries = Some(number(entries_at)?);
        for (sum, at) in sums.iter_mut().zip(columns) {
            if let (Some(sum), Some(at)) = (sum, at) {
                *sum += number(at)?;
            }
        }
    }
    entries.map(|entries| Stat { entries, sums }).ok_or_else(|| malformed(text))
}

fn report(stat: &Stat, out: &mut Batch) {
    report_entries(stat.entries, out);
    for ((_, name, help), sum) in STATS.iter().zip(stat.sums) {
        if let Some(sum) = sum {
            out.gauge(name, help, &[], sum);
        }
    }
}

fn report_entries(entries: f64, out: &mut Batch) {
    out.gauge("node_nf_conntrack_entries", "Connections that are tracked now.", &[], entries);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    #[test]
    fn counters_are_added_up_over_the_cpus() {
        let text = "entries  found invalid ignore insert insert_failed drop early_drop\n\
            0000000a  00000001 00000002 3 4 5 6 ffffffff\n0000000a  10 10 10 10 10 10 1\n";
        let page = "node_nf_conntrack_entries 10\n\
            node_nf_conntrack_stat_found 17\n\
            node_nf_conntrack_stat_invalid 18\n\
            node_nf_conntrack_stat_ignore 19\n\
            node_nf_conntrack_stat_insert 20\n\
            node_nf_conntrack_stat_insert_failed 21\n\
            node_nf_conntrack_stat_drop 22\n\
            node_nf_conntrack_stat_early_drop 4294967296\n";
        check(|out, faults| faults.check(parse(text)).iter().for_each(|stat| report(stat, out)), page, None);
    }

    #[test]
    fn the_readers_own_number_of_entries_is_shown_only_where_it_is_the_hosts() {
        let root = tempfile::tempdir().unwrap();
        let at = root.path().join("proc/sys/net/netfilter");
        std::fs::create_dir_all(&at).unwrap();
        std::fs::write(at.join("nf_conntrack_count"), "7\n").unwrap();
        std::fs::write(at.join("nf_conntrack_max"), "99\n").unwrap();
        let limit = "node_nf_conntrack_entries_limit 99\n";
        for (foreign, entries, fault) in
            [(true, "", Some("hidden: the number of tracked")), (false, "node_nf_conntrack_entries 7\n", None)]
        {
            let roots = Roots { foreign, ..Roots::new(Some(root.path())) };
            let page = format!("{entries}{limit}fleetgauge_collector_own_namespace{{collector=\"conntrack\"}} 0\n");
            let run = |out: &mut Batch, faults: &mut Faults| {
                let result = Conntrack::new().read(&roots, out);
                faults.check(result);
            };
            check(run, &page, fault);
        }
    }

    #[test]
    fn what_makes_no_sense_is_a_fault() {
        for bad in ["", "entries found\n", "found drop\n1 2\n", "entries found\n1 2\n1\n", "entries\nxyz\n"] {
            assert_eq!(parse(bad).unwrap_err().kind(), "malformed", "{bad:?}");
        }
    }
}
