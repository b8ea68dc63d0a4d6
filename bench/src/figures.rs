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

/// The figures of `bench lines`, in the order in which they are printed.
pub const LINES: &[Known] = &[
    known("connections", "connections that put without waiting for each reply"),
    known("window", "lines of a connection that may be unanswered"),
    known("keys", "keys that are put"),
    known("puts", "puts in the figures per second"),
    known("puts_per_second", "puts acknowledged per second, each synced before"),
    known("put_cpu_us", "aggregator's CPU per put"),
    known("put_generator_cpu_us", "generator's CPU per put, on the same cores"),
    known("points_per_sync", "points that shared a sync"),
    known("syncs_per_second", "syncs per second"),
    known("appender_puts_per_second", "the same lines, appended to a file and synced as often: the disk alone"),
    known("puts_rss_peak_mib", "aggregator's peak resident memory"),
    known("puts_per_second_os", "puts acknowledged per second with FLEETGAUGE_DURABILITY=os"),
    known("put_cpu_us_os", "aggregator's CPU per put, so"),
    known("put_generator_cpu_us_os", "generator's CPU per put, so"),
    known("single_puts", "puts of one connection that waits for each reply, and plain syncs"),
    known("put_ms_p50", "one of those puts"),
    known("put_ms_p99", "the same, 99th percentile"),
    known("fdatasync_ms_p50", "64 bytes written into a file that has the room, and synced"),
    known("fdatasync_ms_p99", "the same, 99th percentile"),
    known("fdatasync_append_ms_p50", "64 bytes written at the end of a file that grows, and synced"),
    known("fdatasync_append_ms_p99", "the same, 99th percentile"),
    known("put_over_fdatasync_ms_p50", "what a put takes above the sync in a file that has the room"),
    known("put_over_fdatasync_ms_p99", "the same of the 99th percentiles"),
    known("file_system", "where data and file were"),
    known("date", "when it was measured"),
    known("command", "how"),
    known("commit", "of what"),
    known("version", "version of the bench and the aggregator"),
    known("machine", "where"),
];

/// The figures of `bench history`, in the order in which they are printed.
pub const HISTORY: &[Known] = &[
    known("keys", "keys, and one with many points"),
    known("points_raw", "points put when raw ones were measured"),
    known("long_points", "points of the one key"),
    known("fill_puts_per_second", "puts acknowledged per second while they were put"),
    known("bytes_per_point_raw", "room on the disk per point"),
    known("start_ms_raw", "from its start until it listens"),
    known("rss_idle_mib_raw", "aggregator's resident memory then"),
    known("get_all_seconds_raw", "get * until the last byte"),
    known("get_all_rows_raw", "rows of that, as many as were put"),
    known("get_all_rows_per_second_raw", "rows per second"),
    known("get_all_rss_growth_mib_raw", "peak resident memory meanwhile above that before"),
    known("get_key_ms_p50_raw", "get of the one key until the last byte"),
    known("get_key_ms_p99_raw", "the same, 99th percentile (of few: the slowest)"),
    known("points_sealed", "points that were put when sealed ones were measured"),
    known("sealed_points", "points of those in sealed partitions"),
    known("bytes_per_point_sealed", "room on the disk per sealed point"),
    known("seal_seconds", "time that sealing took"),
    known("start_ms_sealed", "from its start until it listens"),
    known("rss_idle_mib_sealed", "aggregator's resident memory then"),
    known("get_all_seconds_sealed", "get * until the last byte"),
    known("get_all_rows_sealed", "rows of that, as many as were put"),
    known("get_all_rows_per_second_sealed", "rows per second"),
    known("get_all_rss_growth_mib_sealed", "peak resident memory meanwhile above that before"),
    known("get_key_ms_p50_sealed", "get of the one key until the last byte"),
    known("get_key_ms_p99_sealed", "the same, 99th percentile (of few: the slowest)"),
    known("file_system", "where the data was"),
    known("date", "when it was measured"),
    known("command", "how"),
    known("commit", "of what"),
    known("version", "version of the bench and the aggregator"),
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
        let figures = || FLEET.iter().chain(AGENT).chain(LINES).chain(HISTORY);
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
