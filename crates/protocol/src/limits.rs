//! The limits of the link. Going over one costs the sender, never anyone else.
//!
//! Limits on text are in bytes. An aggregator may lower what it grants in its `welcome`
//! (series and sets per agent); the others are part of the protocol.

use std::time::Duration;

/// Longest line, newline included. 64 KiB hold a vector of about 4,000 fresh values.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// Longest line before `welcome`, newline included: a stranger may not make us buffer more.
pub const HELLO_BYTES_MAX: usize = 4 * 1024;

/// Longest agent name: that of a DNS name.
pub const AGENT_NAME_BYTES_MAX: usize = 253;
/// Longest session id.
pub const SESSION_BYTES_MAX: usize = 64;
/// Longest name of a metric family, and of a set.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest label name.
pub const LABEL_NAME_BYTES_MAX: usize = 128;
/// Longest label value.
pub const LABEL_VALUE_BYTES_MAX: usize = 1024;
/// Longest HELP text.
pub const HELP_BYTES_MAX: usize = 1024;
/// Longest unit.
pub const UNIT_BYTES_MAX: usize = 64;
/// Most labels on one series, without those that the aggregator adds.
pub const SERIES_LABELS_MAX: usize = 32;
/// Most bytes of all label names and values of one series together. JSON may write a byte as six
/// (`\u0001`): 48 KiB, which with a family's head still fits in one line.
pub const SERIES_LABEL_BYTES_MAX: usize = 8 * 1024;
/// Most labels that an agent gives to all its series.
pub const AGENT_LABELS_MAX: usize = 16;
/// Most entries of `hello.info`.
pub const INFO_MAX: usize = 16;
/// Most features in a `hello`.
pub const FEATURES_MAX: usize = 32;

/// Most series that an agent may have declared at one time, unless the aggregator grants less.
pub const SERIES_PER_AGENT_MAX: usize = 100_000;
/// Bytes of declared names and labels that an agent has for each series granted to it, counted as
/// [`crate::cost`] does. Ordinary series take 60 to 150, families a good 1,000 more.
pub const TEXT_BYTES_PER_SERIES: usize = 256;
/// What it has at least, however few series it is granted: an ordinary host's families take half of it.
pub const TEXT_BYTES_MIN: usize = 1 << 20;
/// Most sets that an agent may have declared at one time.
pub const SETS_PER_AGENT_MAX: usize = 1_024;
/// Live pushes that may wait for their ack.
pub const LIVE_UNACKED_MAX: u32 = 2;
/// Late pushes that may wait for their ack: at ten times the speed of measuring every 5 s, some
/// eight seconds of them.
pub const LATE_UNACKED_MAX: u32 = 16;
/// Why an agent may have lost samples, in `push.lost`; any other word counts as `other`.
/// `spool_full`: the oldest gave way; `spool_damaged`: a file or record could not be read;
/// `spool_failed`: it could not be written; `refused`: the aggregator's limits have no room for it;
/// `stopped`: no spool outlived the process.
pub const LOST_REASONS: [&str; 6] = ["spool_full", "spool_damaged", "spool_failed", "refused", "stopped", "other"];

/// Shortest push interval; a `hello` that asks for less gets this.
pub const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Longest push interval; a `hello` that asks for more gets this.
pub const INTERVAL_MAX: Duration = Duration::from_secs(600);
/// With an interval over this the agent pings while it is idle, this often.
pub const PING_FROM_INTERVAL: Duration = Duration::from_secs(10);
/// A connection must have said a whole `hello` by then.
pub const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// A line must be whole this long after its first byte: 64 KiB in 10 s is 6.5 kB/s.
pub const LINE_WITHIN: Duration = Duration::from_secs(10);
/// An incumbent whose name is asked for has this long to answer a ping.
pub const INCUMBENT_WITHIN: Duration = Duration::from_secs(1);

/// How many bytes of declared names and labels an agent has to which so many series are granted.
#[must_use]
pub fn text_bytes_max(series: usize) -> usize {
    series.saturating_mul(TEXT_BYTES_PER_SERIES).max(TEXT_BYTES_MIN)
}

/// How long a connection may be silent before it is ended: three intervals, at least 3 s.
#[must_use]
pub fn silence_after(interval: Duration) -> Duration {
    (interval * 3).max(Duration::from_secs(3))
}

/// How long series stay after their connection closed without `bye`: one interval, at most 5 s.
#[must_use]
pub fn grace_after_close(interval: Duration) -> Duration {
    interval.min(Duration::from_secs(5))
}

/// From this age on a sample is late: two intervals, at least 1 s (so that a scheduling hiccup
/// at a short interval does not take an agent off the page).
#[must_use]
pub fn late_after(interval: Duration) -> Duration {
    (interval * 2).max(Duration::from_secs(1))
}

/// The interval that is used for what a `hello` asks for.
#[must_use]
pub fn clamp_interval(interval: Duration) -> Duration {
    interval.clamp(INTERVAL_MIN, INTERVAL_MAX)
}
