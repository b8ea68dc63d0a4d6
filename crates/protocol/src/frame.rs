//! The messages of the link. Each is one line of JSON with one key, the name of the frame.
//!
//! Unknown fields are ignored, unknown frames are not: what a peer may send beyond this version
//! is negotiated as a feature in `hello` and `welcome`.

mod refuse;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::refuse::RefuseCode;
use crate::labels::Labels;
use crate::values::Vector;

/// What an agent says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToAggregator {
    /// The first frame of a connection.
    Hello(Hello),
    /// The answer to a `challenge`.
    Proof(Proof),
    /// What a set consists of, or a part of it.
    Declare(Declare),
    /// A set that will not be used again.
    Retire(Retire),
    /// The head of a push.
    Push(Push),
    /// A set's values in the push that is open, or a part of them.
    Values(Values),
    /// A set that could not be measured in the push that is open.
    Failed(Failed),
    /// The end of a push: only now it takes effect.
    End(End),
    /// Are you there?
    Ping(Ping),
    /// Yes.
    Pong(Ping),
    /// A clean stop: the agent's series go at once.
    Bye(Bye),
}

/// What an aggregator says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToAgent {
    /// Prove that you know the token. May come at any time before `welcome`, also before `hello`.
    Challenge(Challenge),
    /// The agent is in.
    Welcome(Welcome),
    /// The agent is not in, or no longer. The connection closes after it.
    Refuse(Refuse),
    /// All pushes of a stream up to a number are safe.
    Ack(Ack),
    /// Are you there?
    Ping(Ping),
    /// Yes.
    Pong(Ping),
    /// Please go to another aggregator, or come back later. The agent answers with `bye`.
    Goaway(Goaway),
}

/// Who the agent is and what it can do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Lowest and highest version of the link that the agent speaks.
    pub versions: (u32, u32),
    /// Optional parts of the protocol that the agent can do; none is defined yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// The agent's name, see [`crate::AgentName`].
    pub agent: String,
    /// Labels for all of the agent's series. A label of a series wins over one of these.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// What the agent is (`version`, `os`, …): the labels of `fleetgauge_agent_info`.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub info: Labels,
    /// Milliseconds between two live pushes.
    pub interval_ms: u64,
    /// The agent's wall clock, Unix milliseconds.
    pub now_ms: i64,
    /// A clock of the agent that never steps, milliseconds from any start.
    pub mono_ms: u64,
    /// The id of what numbers the pushes: the spool's, or one made at the start of the process.
    pub session: String,
    /// Grows with each process that continues a session.
    pub incarnation: u64,
    /// True: nothing is left of this agent after a clean stop.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ephemeral: bool,
    /// How much longer, in milliseconds, another aggregator may still show this agent's series.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub shown_elsewhere_ms: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The answer to a [`Challenge`]; its contents belong to a feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// Hexadecimal.
    pub hmac: String,
}

/// An ordered set of series: `total` of them, of which this line carries some from `offset` on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Declare {
    /// The set's number: higher than all before it on this connection, so never used again.
    pub set: u64,
    /// What the set stands for (a collector, a scraped target). Of the sets of one name, the page
    /// shows the one that was pushed last.
    pub name: String,
    /// The `job` label of its series, instead of the aggregator's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// How many series of the set were declared by earlier lines.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset: u64,
    /// How many series the whole set has.
    pub total: u64,
    /// The families with their series, in the order of the values.
    pub families: Vec<Family>,
}

/// A metric family and, in this set, its series. A family that is continued on the next line is
/// named again there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Family {
    /// The family's name as it stands in `# TYPE` of the text format: a counter's with `_total`.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: MetricType,
    /// Its HELP text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub help: String,
    /// Its unit, which should be the end of its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// Its series.
    pub series: Vec<Series>,
}

/// The type of a family. Histograms and summaries travel as their flattened series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricType {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// `_bucket` (with `le`), `_sum`, `_count`.
    Histogram,
    /// No suffix (with `quantile`), `_sum`, `_count`.
    Summary,
    /// Not known.
    #[serde(alias = "unknown")]
    Untyped,
}

/// One series of a family.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// What follows the family's name: empty, `_bucket`, `_sum` or `_count`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub suffix: String,
    /// Its labels.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// A set that will not be used again; its series leave the page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Retire {
    /// The set's number.
    pub set: u64,
}

/// One of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// What is measured now.
    Live,
    /// What was measured while the link was down.
    Late,
}

/// The head of a push: one moment's measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Push {
    /// The stream that it belongs to.
    pub stream: Stream,
    /// Its number in the stream, from 1, growing; gaps are allowed.
    pub seq: u64,
    /// When it was measured: the agent's wall clock, Unix milliseconds.
    pub measured_ms: i64,
    /// When it was sent, by the agent's wall clock.
    pub now_ms: i64,
    /// When it was sent, by the agent's clock that never steps.
    pub mono_ms: u64,
    /// How long ago the oldest push that still waits in the agent's spool was measured, in
    /// milliseconds; 0: none waits.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub backlog_ms: u64,
    /// Samples that the agent itself lost so far in this session, by reason, see
    /// [`crate::limits::LOST_REASONS`]. Cumulative, so that a lost frame loses no count.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lost: BTreeMap<String, u64>,
}

/// The values of a set from `offset` on, by position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Values {
    /// The set's number.
    pub set: u64,
    /// How many values of the set came on earlier lines of this push.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset: u64,
    /// The values.
    pub values: Vector,
}

/// A set that failed, or is overdue: its series leave the page, they are never shown frozen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// The set's number.
    pub set: u64,
    /// Why, in words.
    #[serde(default)]
    pub reason: String,
}

/// The end of a push.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// The number of the push that it ends.
    pub seq: u64,
}

/// A sign of life that asks for one; it is answered by a `pong` of the same number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ping {
    /// Any number.
    pub id: u64,
}

/// A clean stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bye {}

/// A nonce for a [`Proof`]; its contents belong to a feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Challenge {
    /// Hexadecimal.
    pub nonce: String,
}

/// What the aggregator grants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version that both now speak.
    pub version: u32,
    /// The features that both now use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// The aggregator's name.
    pub aggregator: String,
    /// The aggregator's wall clock, Unix milliseconds.
    pub now_ms: i64,
    /// What is safe of this session; zero where nothing is known of it.
    pub acked: Acked,
    /// What the agent must keep to.
    pub limits: Limits,
    /// Late samples may come this many times as fast as they were measured.
    pub late_rate: f64,
}

/// The highest safe number of each stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acked {
    /// Of the live stream.
    pub live: u64,
    /// Of the late stream.
    pub late: u64,
}

/// The limits that are granted to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Longest line, newline included.
    pub line_bytes: u64,
    /// Most sets declared at one time.
    pub sets: u64,
    /// Most series declared at one time, in all sets.
    pub series: u64,
    /// Live pushes that may wait for their ack.
    pub live_unacked: u32,
    /// Late pushes that may wait for their ack.
    pub late_unacked: u32,
}

/// No.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refuse {
    /// Why, for a program.
    pub code: RefuseCode,
    /// Why, for a person: what was wrong, and where.
    pub reason: String,
    /// Not before this many milliseconds.
    #[serde(default)]
    pub retry_after_ms: u64,
}

/// A cumulative acknowledgement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ack {
    /// The stream.
    pub stream: Stream,
    /// Its highest safe number.
    pub seq: u64,
}

/// A request to move.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Goaway {
    /// Why, for a person.
    pub reason: String,
    /// Not back here before this many milliseconds.
    #[serde(default)]
    pub retry_after_ms: u64,
}
