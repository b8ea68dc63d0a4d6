//! Every metric of the aggregator, in one table. docs/metrics.md is held against it by a test.

use super::limits;

/// A metric of the aggregator: name, type, help, labels.
#[derive(Debug)]
pub struct Metric {
    /// The family's name.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The HELP text.
    pub help: &'static str,
    /// Its label names.
    pub labels: &'static [&'static str],
}

pub(super) const fn metric(
    name: &'static str,
    kind: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind, help, labels }
}

pub(super) const BUILD: Metric =
    metric("fleetgauge_build_info", "gauge", &["version"], "Always 1; the version of this aggregator.");
pub(super) const CONNECTED: Metric =
    metric("fleetgauge_agents_connected", "gauge", &[], "Agents whose series are on the page.");
pub(super) const KNOWN: Metric =
    metric("fleetgauge_agents_known", "gauge", &[], "Agents that the page speaks of, tombstones included.");
pub(super) const SERIES: Metric = metric("fleetgauge_series", "gauge", &[], "Series of agents on the page.");
pub(super) const DECLARED: Metric =
    metric("fleetgauge_series_declared", "gauge", &[], "Series declared by connected agents.");
pub(super) const DECLARED_LIMIT: Metric = metric(
    "fleetgauge_series_declared_limit",
    "gauge",
    &[],
    "Most series that may be declared, FLEETGAUGE_MAX_SERIES.",
);
pub(super) const TEXT: Metric =
    metric("fleetgauge_declared_bytes", "gauge", &[], "Memory charged for declared names and labels.");
pub(super) const TEXT_LIMIT: Metric =
    metric("fleetgauge_declared_limit_bytes", "gauge", &[], "Most of that, FLEETGAUGE_MAX_DECLARED.");
pub(super) const FAMILIES: Metric =
    metric("fleetgauge_families", "gauge", &[], "Metric families that are claimed, the aggregator's own included.");
pub(super) const CONNECTIONS: Metric =
    metric("fleetgauge_link_connections", "gauge", &[], "Open connections of the link.");
pub(super) const CONNECTIONS_LIMIT: Metric = metric(
    "fleetgauge_link_connections_limit",
    "gauge",
    &[],
    "Most open connections of the link, FLEETGAUGE_MAX_CONNECTIONS.",
);
pub(super) const ACCEPTED: Metric =
    metric("fleetgauge_link_connections_total", "counter", &[], "Connections accepted on the link.");
pub(super) const ACCEPT_ERRORS: Metric = metric(
    "fleetgauge_accept_errors_total",
    "counter",
    &["listener"],
    "Connections that the system could not give us.",
);
pub(super) const CLOSED: Metric =
    metric("fleetgauge_link_closed_total", "counter", &["reason"], "Connections of the link that ended, by how.");
pub(super) const REFUSED: Metric = metric(
    "fleetgauge_link_refused_total",
    "counter",
    &["code"],
    "Connections of the link refused, by code of the refusal.",
);
pub(super) const RECEIVED: Metric =
    metric("fleetgauge_link_received_bytes_total", "counter", &[], "Bytes received on the link.");
pub(super) const FRAMES: Metric =
    metric("fleetgauge_link_frames_total", "counter", &["frame"], "Frames received on the link.");
pub(super) const BUFFERED: Metric = metric(
    "fleetgauge_link_buffer_bytes",
    "gauge",
    &[],
    "Bytes taken from the common room for lines that are not whole yet.",
);
pub(super) const BUFFERED_LIMIT: Metric =
    metric("fleetgauge_link_buffer_limit_bytes", "gauge", &[], "That room, FLEETGAUGE_RECEIVE_BUFFER.");
pub(super) const PUSHES: Metric = metric("fleetgauge_pushes_total", "counter", &["stream"], "Whole pushes received.");
pub(super) const SAMPLES: Metric =
    metric("fleetgauge_samples_received_total", "counter", &[], "Samples in whole pushes.");
pub(super) const VISIBLE: Metric =
    metric("fleetgauge_samples_visible_total", "counter", &[], "Samples that went on the page.");
pub(super) const DUPLICATE: Metric =
    metric("fleetgauge_samples_duplicate_total", "counter", &[], "Samples of pushes that were safe already.");
pub(super) const DROPPED: Metric =
    metric("fleetgauge_samples_dropped_total", "counter", &["reason"], "Samples dropped, by reason.");
pub(super) const STORED: Metric =
    metric("fleetgauge_samples_stored_total", "counter", &[], "Late samples whose vital signs are in the history.");
pub(super) const FORWARDED: Metric =
    metric("fleetgauge_samples_forwarded_total", "counter", &[], "Late samples written remotely.");
pub(super) const PENDING: Metric = metric(
    "fleetgauge_samples_pending",
    "gauge",
    &[],
    "Late samples of which it is not decided yet what becomes of them.",
);
pub(super) const REMOTE_REQUESTS: Metric = metric(
    "fleetgauge_remote_write_requests_total",
    "counter",
    &["outcome"],
    "Requests of remote write: written, refused (then split, or dropped), or to be tried again.",
);
pub(super) const REMOTE_SAMPLES: Metric = metric(
    "fleetgauge_remote_write_samples_total",
    "counter",
    &["outcome"],
    "Samples and ends of series given to remote write, by what became of them.",
);
pub(super) const REMOTE_SECONDS: Metric =
    metric("fleetgauge_remote_write_duration_seconds", "histogram", &[], "Time until a request was answered.");
pub(super) const REMOTE_SUCCESS: Metric = metric(
    "fleetgauge_remote_write_last_success_timestamp_seconds",
    "gauge",
    &[],
    "When a request was last written, Unix time; 0: never.",
);
pub(super) const REMOTE_BUFFER: Metric =
    metric("fleetgauge_remote_write_buffer_bytes", "gauge", &[], "Room taken by what waits for its remote write.");
pub(super) const REMOTE_BUFFER_LIMIT: Metric = metric(
    "fleetgauge_remote_write_buffer_limit_bytes",
    "gauge",
    &[],
    "That room, FLEETGAUGE_REMOTE_WRITE_BUFFER; 0: remote write is off.",
);
pub(super) const RETYPED: Metric = metric(
    "fleetgauge_type_conflicts_total",
    "counter",
    &[],
    "Families that appeared under another type than their agent gave them.",
);
pub(super) const REQUESTS: Metric =
    metric("fleetgauge_http_requests_total", "counter", &["path", "code"], "HTTP requests, by path and status code.");
pub(super) const HTTP_CONNECTIONS: Metric =
    metric("fleetgauge_http_connections", "gauge", &[], "Open HTTP connections.");
pub(super) const HTTP_REFUSED: Metric = metric(
    "fleetgauge_http_connections_refused_total",
    "counter",
    &[],
    "HTTP connections closed at once because too many were open.",
);
pub(super) const SCRAPE_SECONDS: Metric =
    metric("fleetgauge_scrape_duration_seconds", "histogram", &[], "Time from a request for a page to its last byte.");
pub(super) const SCRAPE_BYTES: Metric =
    metric("fleetgauge_scrape_size_bytes", "histogram", &[], "Size of pages as sent.");
pub(super) const SCRAPES_ABORTED: Metric = metric(
    "fleetgauge_scrapes_aborted_total",
    "counter",
    &["reason"],
    "Pages that were not sent whole: no slot free, too slow, or the client left.",
);
pub(super) const KNOWN_FILE_ERRORS: Metric = metric(
    "fleetgauge_known_agents_write_errors_total",
    "counter",
    &[],
    "Times that the list of known agents could not be written.",
);

pub(super) const HISTORY_UP: Metric = metric(
    "fleetgauge_history_up",
    "gauge",
    &[],
    "1: points are taken; 0: the history cannot store any now, or there is no data directory.",
);
pub(super) const HISTORY_DURABILITY: Metric = metric(
    "fleetgauge_history_durability",
    "gauge",
    &["mode"],
    "1: this is FLEETGAUGE_DURABILITY; sync: points are on the disk before they are acknowledged, os: they may not be.",
);
pub(super) const HISTORY_POINTS: Metric = metric(
    "fleetgauge_history_points_total",
    "counter",
    &["space"],
    "Points stored, by what they are: put by programs, or vital signs of agents.",
);
pub(super) const HISTORY_REFUSED: Metric = metric(
    "fleetgauge_history_refused_points_total",
    "counter",
    &["reason"],
    "Points that were not stored, by reason. A put was answered with an error; vital signs are lost, and the agent stays on the page.",
);
pub(super) const HISTORY_SYNCS: Metric = metric(
    "fleetgauge_history_syncs_total",
    "counter",
    &[],
    "Syncs to the disk before points were acknowledged, each for all that waited.",
);
pub(super) const HISTORY_COMMIT_SECONDS: Metric = metric(
    "fleetgauge_history_commit_duration_seconds",
    "histogram",
    &[],
    "Time to store and sync one batch of points.",
);
pub(super) const HISTORY_DAMAGE: Metric = metric(
    "fleetgauge_history_damage_total",
    "counter",
    &["what"],
    "Damage met on disk: partitions set aside, blocks passed over, journals cut at their end.",
);
pub(super) const HISTORY_PARTITIONS: Metric =
    metric("fleetgauge_history_partitions", "gauge", &["state"], "Partitions of the history, raw or sealed.");
pub(super) const HISTORY_EXPIRED: Metric = metric(
    "fleetgauge_history_expired_partitions_total",
    "counter",
    &[],
    "Partitions whose time was over, FLEETGAUGE_RETENTION.",
);
pub(super) const HISTORY_BYTES: Metric =
    metric("fleetgauge_history_disk_bytes", "gauge", &[], "Room that the history takes on its disk.");
pub(super) const HISTORY_FREE: Metric =
    metric("fleetgauge_history_disk_free_bytes", "gauge", &[], "Room that is left on that disk.");
pub(super) const HISTORY_OLDEST: Metric = metric(
    "fleetgauge_history_oldest_point_timestamp_seconds",
    "gauge",
    &[],
    "Timestamp of the oldest point of the history, Unix time.",
);
pub(super) const HISTORY_KEYS: Metric =
    metric("fleetgauge_history_keys", "gauge", &["space"], "Keys of the history, put by programs or of vital signs.");
pub(super) const HISTORY_KEYS_LIMIT: Metric =
    metric("fleetgauge_history_keys_limit", "gauge", &[], "Most keys, FLEETGAUGE_MAX_KEYS.");
pub(super) const HISTORY_HIDDEN: Metric = metric(
    "fleetgauge_put_series_hidden",
    "gauge",
    &[],
    "Keys put a short while ago that are not shown as fleetgauge_put: FLEETGAUGE_MAX_PUT_SERIES are, or the name is too long. At least so many: it ends at 100,000.",
);
pub(super) const LINE_CONNECTIONS: Metric =
    metric("fleetgauge_line_connections", "gauge", &[], "Open connections of put/get.");
pub(super) const LINE_CONNECTIONS_LIMIT: Metric = metric(
    "fleetgauge_line_connections_limit",
    "gauge",
    &[],
    "Most open connections of put/get, FLEETGAUGE_MAX_LINE_CONNECTIONS.",
);
pub(super) const LINE_ACCEPTED: Metric =
    metric("fleetgauge_line_connections_total", "counter", &[], "Connections of put/get accepted.");
pub(super) const LINE_CLOSED: Metric =
    metric("fleetgauge_line_closed_total", "counter", &["reason"], "Connections of put/get that ended, by how.");
pub(super) const LINE_RECEIVED: Metric =
    metric("fleetgauge_line_received_bytes_total", "counter", &[], "Bytes received by put/get.");
pub(super) const LINE_COMMANDS: Metric = metric(
    "fleetgauge_line_commands_total",
    "counter",
    &["command"],
    "Commands received by put/get: put, get (of one key), get_all.",
);
pub(super) const LINE_ERRORS: Metric = metric(
    "fleetgauge_line_errors_total",
    "counter",
    &["reason"],
    "Lines of put/get that were answered with an error, by reason.",
);
pub(super) const AUTH_FAILURES: Metric = metric(
    "fleetgauge_auth_failures_total",
    "counter",
    &["listener", "reason"],
    "Attempts without a good token or certificate: missing, wrong, expired, scope (it is for other things), agent (it is for other names), certificate.",
);
pub(super) const TLS_HANDSHAKES: Metric = metric(
    "fleetgauge_tls_handshakes_total",
    "counter",
    &["listener", "result"],
    "TLS handshakes, by result: ok, plain (the client speaks no TLS), timeout, closed, certificate, failed.",
);
pub(super) const TLS_UNDER_WAY: Metric =
    metric("fleetgauge_tls_handshakes_under_way", "gauge", &[], "TLS handshakes that are not over yet.");
pub(super) const TLS_EXPIRY: Metric = metric(
    "fleetgauge_tls_certificate_expiry_timestamp_seconds",
    "gauge",
    &["file"],
    "When the first certificate in a file stops being valid, in Unix time: certificate (what this aggregator shows), client_ca (what signs those of clients).",
);
pub(super) const TOKENS: Metric =
    metric("fleetgauge_tokens", "gauge", &[], "Tokens that hold; 0 where none is asked for.");
pub(super) const CREDENTIALS_UP: Metric = metric(
    "fleetgauge_credentials_up",
    "gauge",
    &["what"],
    "Whether the files of tokens or certificates can be used; with 0 what they said before holds.",
);
pub(super) const CREDENTIALS_FAILED: Metric = metric(
    "fleetgauge_credentials_read_failures_total",
    "counter",
    &["what"],
    "Looks at the files of tokens or certificates that failed, one a second.",
);
pub(super) const HISTORY_UNSYNCED_ACKS: Metric = metric(
    "fleetgauge_history_unsynced_acks_total",
    "counter",
    &[],
    "Live pushes acknowledged although their vital signs were not stored within a second, or not at all.",
);
pub(super) const HISTORY_READS_ABORTED: Metric = metric(
    "fleetgauge_history_reads_aborted_total",
    "counter",
    &["reason"],
    "Answers of /api/v1/history and /api/v1/keys that were not sent whole: no slot free, too slow, the client left, or the history could not be read.",
);

/// Every metric that [`super::Telemetry`] makes itself. (`process_*` come on top, on Linux.)
pub const TABLE: &[&Metric] = &[
    &BUILD,
    &CONNECTED,
    &KNOWN,
    &SERIES,
    &DECLARED,
    &DECLARED_LIMIT,
    &TEXT,
    &TEXT_LIMIT,
    &FAMILIES,
    &CONNECTIONS,
    &CONNECTIONS_LIMIT,
    &ACCEPTED,
    &ACCEPT_ERRORS,
    &CLOSED,
    &REFUSED,
    &RECEIVED,
    &FRAMES,
    &BUFFERED,
    &BUFFERED_LIMIT,
    &PUSHES,
    &SAMPLES,
    &VISIBLE,
    &DUPLICATE,
    &DROPPED,
    &STORED,
    &FORWARDED,
    &PENDING,
    &REMOTE_REQUESTS,
    &REMOTE_SAMPLES,
    &REMOTE_SECONDS,
    &REMOTE_SUCCESS,
    &REMOTE_BUFFER,
    &REMOTE_BUFFER_LIMIT,
    &RETYPED,
    &REQUESTS,
    &HTTP_CONNECTIONS,
    &HTTP_REFUSED,
    &SCRAPE_SECONDS,
    &SCRAPE_BYTES,
    &SCRAPES_ABORTED,
    &KNOWN_FILE_ERRORS,
    &HISTORY_UP,
    &HISTORY_DURABILITY,
    &HISTORY_POINTS,
    &HISTORY_REFUSED,
    &HISTORY_SYNCS,
    &HISTORY_COMMIT_SECONDS,
    &HISTORY_DAMAGE,
    &HISTORY_PARTITIONS,
    &HISTORY_EXPIRED,
    &HISTORY_BYTES,
    &HISTORY_FREE,
    &HISTORY_OLDEST,
    &HISTORY_KEYS,
    &HISTORY_KEYS_LIMIT,
    &HISTORY_HIDDEN,
    &LINE_CONNECTIONS,
    &LINE_CONNECTIONS_LIMIT,
    &LINE_ACCEPTED,
    &LINE_CLOSED,
    &LINE_RECEIVED,
    &LINE_COMMANDS,
    &LINE_ERRORS,
    &HISTORY_UNSYNCED_ACKS,
    &HISTORY_READS_ABORTED,
    &limits::EXCEEDED,
    &limits::ENFORCED,
    &limits::PER_ADDRESS,
    &limits::PER_ADDRESS_LIMIT,
    &limits::HANDSHAKES,
    &limits::HANDSHAKES_LIMIT,
    &limits::HANDSHAKES_OF_ONE,
    &limits::HANDSHAKES_OF_ONE_LIMIT,
    &limits::LABELS,
    &limits::LABELS_LIMIT,
    &limits::LABEL_VALUE,
    &limits::LABEL_VALUE_LIMIT,
    &limits::LINE,
    &limits::LINE_LIMIT,
    &limits::WELCOMES,
    &limits::WELCOMES_LIMIT,
    &limits::MEMORY,
    &limits::MEMORY_LIMIT,
    &limits::OVERLOAD,
    &limits::OVERLOAD_REFUSED,
    &limits::SHED,
    &AUTH_FAILURES,
    &TLS_HANDSHAKES,
    &TLS_UNDER_WAY,
    &TLS_EXPIRY,
    &TOKENS,
    &CREDENTIALS_UP,
    &CREDENTIALS_FAILED,
];
