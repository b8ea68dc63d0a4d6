//! `node_sockstat_*`: the host's sockets in use and the memory that they take, from
//! `/proc/1/net/{sockstat,sockstat6}`.

use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::{HostSource, Roots};
use super::{Collector, note_fallback, whole};

const HELP: &str = "The kernel's figure of this name in /proc/net/sockstat or sockstat6.";

/// The host's sockets.
#[derive(Debug)]
pub(super) struct Sockstat {
    v4: HostSource,
    v6: HostSource,
    page_bytes: f64,
    /// The name of the figure at hand.
    name: String,
}

impl Sockstat {
    /// Reads nothing yet.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a page has some kilobytes")]
    pub(super) fn new() -> Self {
        Self {
            v4: HostSource::new("1/net/sockstat", "self/net/sockstat"),
            v6: HostSource::new("1/net/sockstat6", "self/net/sockstat6"),
            page_bytes: rustix::param::page_size() as f64,
            name: String::new(),
        }
    }
}

impl Collector for Sockstat {
    fn name(&self) -> &'static str {
        "sockstat"
    }

    fn source(&self) -> &'static str {
        "`/proc/1/net/sockstat`, `/proc/1/net/sockstat6`"
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        if let Some(text) = self.v4.read(&roots.proc, &mut faults) {
            report(text, self.page_bytes, &mut self.name, out, &mut faults);
        }
        // A host may have no IPv6.
        if let Some(text) = self.v6.read_if_there(&roots.proc, &mut faults) {
            report(text, self.page_bytes, &mut self.name, out, &mut faults);
        }
        note_fallback("sockstat", self.v4.is_own(), roots, faults, out)
    }
}

/// Lines `TCP: inuse 5 orphan 0 mem 7`. Memory of this name is in pages.
fn report(text: &str, page_bytes: f64, name: &mut String, out: &mut Batch, faults: &mut Faults) {
    for line in text.lines() {
        let Some((protocol, figures)) = line.split_once(':') else {
            faults.note(CollectError::malformed("net/sockstat", line));
            continue;
        };
        let mut words = figures.split_ascii_whitespace();
        while let Some(figure) = words.next() {
            let Some(value) = words.next().and_then(whole) else {
                faults.note(CollectError::malformed("net/sockstat", line));
                continue;
            };
            name.clear();
            for part in ["node_sockstat_", protocol, "_", figure] {
                name.push_str(part);
            }
            out.gauge(name, HELP, &[], value);
            if figure == "mem" {
                name.push_str("_bytes");
                out.gauge(name, "Memory that the sockets of this protocol take.", &[], value * page_bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    #[test]
    fn figures_have_the_kernels_names() {
        let text =
            "sockets: used 42\nTCP: inuse 1 orphan x tw 1166 mem 194\nwords\nFRAG6: inuse 0 memory 7\nUDP: mem\n";
        check(
            |out, faults| report(text, 16384.0, &mut String::new(), out, faults),
            "node_sockstat_sockets_used 42\nnode_sockstat_TCP_inuse 1\nnode_sockstat_TCP_tw 1166\n\
             node_sockstat_TCP_mem 194\nnode_sockstat_TCP_mem_bytes 3178496\n\
             node_sockstat_FRAG6_inuse 0\nnode_sockstat_FRAG6_memory 7\n",
            Some("net/sockstat: cannot make sense of \"TCP: inuse 1 orphan x tw 1166 mem 194\""),
        );
    }
}
