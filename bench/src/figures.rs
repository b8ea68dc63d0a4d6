//! The names and meanings of all figures, a table for each subcommand. Nothing else may name one.

/// One figure. `docs/benchmarks.md` lists the same names; a test holds the two together.
#[derive(Debug)]
pub struct Known {
    /// Its name in JSON, unit last.
    pub name: &'static str,
    /// What it says, in a few words.
    pub meaning: &'static str,
}

const fn known(name: &'static str, meaning: &'static str) -> Known {
    Known { name, meaning }
}

/// The figures of `bench fleet`, in the order in which they are printed.
pub const FLEET: &[Known] = &[
    known("agents", "agents, one connection each"),
    known("series", "series of each agent"),
    known("rounds", "rounds of pushes in the CPU figure"),
    known("interval_ms", "time over which the pushes of a round were spread"),
    known("declare_seconds", "until all agents were connected, declared and shown"),
    known("declare_cpu_us_per_series", "aggregator's CPU per declared series, connecting included"),
    known("ingest_cpu_us_per_sample", "aggregator's CPU per pushed sample, declarations apart"),
    known("samples_per_second", "all agents pushing back to back"),
    known("push_bytes_per_sample", "bytes on the wire per pushed sample"),
    known("scrape_plain_ms_p50", "whole page, plain"),
    known("scrape_plain_ms_p99", "the same, 99th percentile (of few: the slowest)"),
    known("scrape_gzip_ms_p50", "whole page, gzip"),
    known("scrape_gzip_ms_p99", "the same, 99th percentile (of few: the slowest)"),
    known("scrape_plain_cpu_ms", "aggregator's CPU per plain scrape"),
    known("scrape_gzip_cpu_ms", "aggregator's CPU per gzip scrape"),
    known("page_bytes", "the page, plain"),
    known("page_gzip_bytes", "the page, gzip"),
    known("visible_ms_p50", "push sent until seen through ?agent=, all others pushing"),
    known("visible_ms_p99", "the same, 99th percentile"),
    known("samples_per_second_while_scraped", "back to back, a gzip scrape once a second"),
    known("ingest_slowdown_while_scraped", "share of ingest that those scrapes cost"),
    known("scrape_gzip_ms_p50_while_pushing", "one of those scrapes"),
    known("pages_checked", "pages scraped meanwhile, none of which showed half a push"),
    known("aggregator_rss_mib", "aggregator's peak resident memory, two gzip scrapes at once included"),
    known("aggregator_rss_before_scrapes_mib", "its peak before the first scrape"),
    known("aggregator_stop_ms", "from SIGTERM until it ended"),
    known("scrape_plain_ms_p50_at_10000_series", "plain scrape of 10 agents with 1,000 series each"),
    known("scrape_gzip_ms_p50_at_10000_series", "gzip scrape of the same"),
    known("ingest_cpu_us_per_sample_at_10000_series", "aggregator's CPU per sample of the same"),
    known("pushgateway", "the push gateway measured beside it"),
    known("pushgateway_cpu_us_per_sample", "its CPU per pushed sample, consistency check off"),
    known("pushgateway_scrape_plain_ms_p50", "its whole page, plain"),
    known("pushgateway_scrape_gzip_ms_p50", "its whole page, gzip"),
    known("pushgateway_rss_mib", "its peak resident memory, two gzip scrapes at once included"),
    known("ratio_cpu", "push gateway's CPU per sample / aggregator's"),
    known("ratio_scrape_plain", "push gateway's plain scrape / aggregator's"),
    known("ratio_scrape_gzip", "push gateway's gzip scrape / aggregator's"),
    known("ratio_rss", "push gateway's memory / aggregator's"),
    known("date", "when it was measured"),
    known("command", "how"),
    known("commit", "of what"),
    known("version", "version of the bench and the aggregator"),
    known("machine", "where"),
];

/// The figures of `bench agent`, in the order in which they are printed.
pub const AGENT: &[Known] = &[
    known("pushes", "pushes in the figures of the agent, a warm-up before them"),
    known("push_interval_ms", "time between two of them, and between two scrapes"),
    known("scrapes", "scrapes of node_exporter in its figures, plain and gzip each"),
    known("pushes_every_5s", "pushes and scrapes in the figures at the agent's default interval"),
    known("agent_cpu_ms_per_push", "agent's CPU per push, at that short interval"),
    known("agent_cpu_ms_per_push_every_5s", "the same at the default interval, as it is deployed"),
    known("agent_wakeups_per_push_every_5s", "times that a thread of it went to sleep, per push"),
    known("agent_bytes_per_push", "bytes on the wire per push"),
    known("agent_pushes_dropped", "measurements that were never acknowledged"),
    known("agent_rss_mib", "its resident memory after the pushes"),
    known("agent_rss_peak_mib", "the most that it ever was"),
    known("agent_threads", "its threads after the pushes"),
    known("agent_binary_bytes", "its release binary, stripped"),
    known("agent_families", "families on its page"),
    known("agent_series", "series on its page"),
    known("agent_node_families", "families of them that are called node_"),
    known("agent_node_series", "series of those"),
    known("node_exporter", "the node_exporter measured beside it"),
    known("node_exporter_cpu_ms_per_plain_scrape", "its CPU per plain scrape, at the short interval"),
    known("node_exporter_cpu_ms_per_gzip_scrape", "its CPU per gzip scrape, as Prometheus asks, at the short interval"),
    known("node_exporter_cpu_ms_per_gzip_scrape_every_5s", "the same every 5 s"),
    known("node_exporter_wakeups_per_scrape_every_5s", "times that a thread of it went to sleep, per gzip scrape"),
    known("node_exporter_bytes_per_gzip_scrape", "bytes of its page, gzip"),
    known("node_exporter_rss_mib", "its resident memory after the scrapes"),
    known("node_exporter_rss_peak_mib", "the most that it ever was"),
    known("node_exporter_threads", "its threads after the scrapes"),
    known("node_exporter_binary_bytes", "its binary"),
    known("node_exporter_families", "families on its page"),
    known("node_exporter_series", "series on its page"),
    known("node_exporter_node_families", "families of them that are called node_"),
    known("node_exporter_node_series", "series of those"),
    known("ratio_cpu_plain", "node_exporter's CPU per plain scrape / agent's per push"),
    known("ratio_cpu_gzip", "node_exporter's CPU per gzip scrape / agent's per push"),
    known("ratio_cpu_gzip_every_5s", "the same, both every 5 s"),
    known("ratio_bytes", "node_exporter's gzip page / agent's push"),
    known("ratio_memory", "node_exporter's memory / agent's"),
    known("ratio_memory_peak", "node_exporter's peak memory / agent's"),
    known("ratio_binary", "node_exporter's binary / agent's"),
    known("common_families", "node_exporter's node_ and process_ families that the agent's page has too"),
    known("missing_families", "those that it lacks"),
    known("date", "when it was measured"),
    known("command", "how"),
    known("commit", "of what"),
    known("version", "version of the bench and the agent"),
    known("machine", "where"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_every_figure() {
        let docs = std::fs::read_to_string(crate::process::workspace().join("docs/benchmarks.md")).unwrap();
        let listed: Vec<&str> =
            docs.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name)).collect();
        let figures = || FLEET.iter().chain(AGENT);
        for known in figures() {
            assert!(listed.contains(&known.name), "docs/benchmarks.md does not explain {}", known.name);
        }
        for name in listed {
            assert!(
                figures().any(|known| known.name == name),
                "docs/benchmarks.md explains {name}, which is no figure"
            );
        }
    }
}
