//! What one sender may take, and what happens when all of them together take too much.
//!
//! Pure but for [`tick`], which reads how much memory this process takes: what counts, paces and
//! decides is in the modules below, with time and chance passed in. Who is refused, and how it is
//! told, is [`crate::link`]'s matter.

pub mod addresses;
pub mod admission;
pub mod bucket;
pub mod handshakes;
pub mod meter;
pub mod overload;
pub mod refusals;
pub mod senders;

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use protocol::limits::{LABEL_VALUE_BYTES_MAX, LINE_BYTES_MAX, SERIES_LABELS_MAX};

use self::addresses::Addresses;
use self::admission::Admission;
use self::bucket::Bucket;
use self::handshakes::Handshakes;
use self::overload::{Gauge, Level};
use self::refusals::Refusals;
use self::senders::Senders;
use tokio::sync::Semaphore;

use crate::fleet::Moment;
use crate::link::Shared;
use crate::telemetry::Readings;

/// A limit that one sender can go over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Series declared by an agent.
    Series,
    /// What an agent sends.
    BytesPerSecond,
    /// How long a line is.
    LineBytes,
    /// Labels of a series.
    Labels,
    /// How long the value of a label is.
    LabelValue,
    /// Connections of a listener.
    Connections,
    /// Those from one address.
    ConnectionsPerAddress,
    /// Connections that have not said a whole `hello`.
    Handshakes,
    /// Agents let in each second.
    Welcomes,
}

impl Limit {
    /// All of them; those of a single agent first.
    pub const ALL: [Self; 9] = [
        Self::Series,
        Self::BytesPerSecond,
        Self::LineBytes,
        Self::Labels,
        Self::LabelValue,
        Self::Connections,
        Self::ConnectionsPerAddress,
        Self::Handshakes,
        Self::Welcomes,
    ];
    /// How many of them are a single agent's.
    pub const OF_AGENTS: usize = 5;

    /// Its name, as the label `limit` has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Series => "series",
            Self::BytesPerSecond => "bytes_per_second",
            Self::LineBytes => "line_bytes",
            Self::Labels => "labels",
            Self::LabelValue => "label_value",
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_per_address",
            Self::Handshakes => "handshakes",
            Self::Welcomes => "welcomes",
        }
    }
}

/// What the operator allows. docs/settings.md explains each.
#[derive(Debug, Clone)]
pub struct Caps {
    /// Are limits of single senders enforced, or only counted?
    pub enforce: bool,
    /// Bytes that an agent may send each second, in the long run.
    pub bytes_per_second: u64,
    /// Longest line after `welcome`.
    pub line_bytes: usize,
    /// Most labels of a series.
    pub labels: usize,
    /// Longest value of a label.
    pub label_value_bytes: usize,
    /// Most connections of each listener from one address.
    pub per_address: usize,
    /// Most connections that have not said a whole `hello`.
    pub handshakes: usize,
    /// Most connections without a `hello` that wait for a place, and most that are sent away slowly.
    pub patience: usize,
    /// Agents let in each second.
    pub welcomes_per_second: u32,
    /// Memory of this process, in bytes; `None`: no limit.
    pub memory: Option<u64>,
}

impl Default for Caps {
    /// What the protocol allows, and nothing of what a setting adds.
    fn default() -> Self {
        Self {
            enforce: true,
            bytes_per_second: 1 << 40,
            line_bytes: LINE_BYTES_MAX,
            labels: SERIES_LABELS_MAX,
            label_value_bytes: LABEL_VALUE_BYTES_MAX,
            per_address: usize::MAX,
            handshakes: 1 << 20,
            patience: 1 << 20,
            welcomes_per_second: 1_000_000,
            memory: None,
        }
    }
}

/// All limits of one aggregator, and how near to them it is.
#[derive(Debug)]
pub struct Limits {
    /// What is allowed.
    pub caps: Caps,
    /// Connections that have not said a whole `hello`.
    pub handshakes: Arc<Handshakes>,
    /// For newcomers that have to wait.
    pub patience: Semaphore,
    /// For those that are sent away slowly.
    pub dawdling: Semaphore,
    /// Who was refused lately, of those who have no name here.
    pub strangers: Refusals,
    /// Connections of the link, by address.
    pub link_addresses: Arc<Addresses>,
    /// Memory.
    pub overload: Gauge,
    admission: Mutex<Admission>,
    senders: Mutex<Senders>,
    /// The most of each that any agent had, since the start.
    most: [AtomicUsize; 3],
}

impl Limits {
    /// Nobody is there yet.
    #[must_use]
    pub fn new(caps: Caps, now: Instant) -> Self {
        Self {
            handshakes: Arc::new(Handshakes::new(caps.handshakes, caps.enforce)),
            patience: Semaphore::new(caps.patience),
            dawdling: Semaphore::new(caps.patience),
            strangers: Refusals::default(),
            link_addresses: Arc::new(Addresses::new(caps.per_address)),
            overload: Gauge::new(caps.memory),
            admission: Mutex::new(Admission::new(caps.welcomes_per_second, now)),
            senders: Mutex::new(Senders::new(caps.welcomes_per_second)),
            most: Default::default(),
            caps,
        }
    }

    /// A connection's own part of the bytes.
    #[must_use]
    pub fn bucket(&self, now: Instant) -> Bucket {
        Bucket::new(self.caps.bytes_per_second, self.caps.enforce, now)
    }

    /// May another agent from this address be let in now, as far as others from there matter?
    ///
    /// # Errors
    /// How long to stay away.
    pub fn admit_from(&self, from: IpAddr, now: Instant, chance: f64) -> Result<(), Duration> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner).ask(from, now, chance)
    }

    /// An agent that might come in did not.
    pub fn not_admitted(&self) {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner).give_back();
    }

    /// May another agent be let in now? Else when it may ask again; `chance` is a random number
    /// from 0 to 1.
    ///
    /// # Errors
    /// How long to stay away.
    pub fn admit(&self, now: Instant, chance: f64) -> Result<(), Duration> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner).ask(now, chance)
    }

    /// The longest line that is taken from an agent.
    #[must_use]
    pub fn line_bytes(&self) -> usize {
        if self.caps.enforce { self.caps.line_bytes } else { LINE_BYTES_MAX }
    }

    /// How much memory there is for more.
    #[must_use]
    pub fn level(&self) -> Level {
        self.overload.level()
    }

    /// How near to them everything is.
    #[must_use]
    pub fn readings(&self) -> Readings {
        let (caps, [labels, label_value, line]) = (&self.caps, self.most());
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Readings {
            enforced: caps.enforce,
            per_address: (self.link_addresses.most(), caps.per_address),
            handshakes: (self.handshakes.len(), caps.handshakes),
            handshakes_of_one: self.handshakes.of_one_address(),
            labels: (labels, caps.labels),
            label_value: (label_value, caps.label_value_bytes),
            line: (line, caps.line_bytes),
            welcomes_max: caps.welcomes_per_second as usize,
            memory: (bytes(self.overload.bytes()), bytes(caps.memory.unwrap_or_default())),
            overload: self.level() as usize,
        }
    }

    /// Remembers the most of labels, of bytes of a label's value and of a line.
    pub(crate) fn note_most(&self, labels: usize, label_value: usize, line: usize) {
        for (most, seen) in self.most.iter().zip([labels, label_value, line]) {
            // Hardly ever is there more than before, so the common case writes nothing.
            if seen > most.load(Ordering::Relaxed) {
                most.fetch_max(seen, Ordering::Relaxed);
            }
        }
    }

    /// The most labels, bytes of a label's value and bytes of a line so far.
    #[must_use]
    pub fn most(&self) -> [usize; 3] {
        self.most.each_ref().map(|most| most.load(Ordering::Relaxed))
    }
}

impl Default for Limits {
    /// Those of the protocol alone.
    fn default() -> Self {
        Self::new(Caps::default(), crate::link::moment().instant)
    }
}

/// The address by which connections are told apart: of IPv6 the network, since whoever has one
/// address of it has all.
#[must_use]
pub fn sender(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = u128::from(v6) & (u128::MAX << 64);
            IpAddr::V6(network.into())
        }
        v4 => v4,
    }
}

/// Looks at the memory of this process; where there is too little left, the newest agents go.
pub fn tick(shared: &Shared, now: Moment) {
    let limits = &shared.limits;
    if limits.caps.memory.is_none() {
        return;
    }
    let Some(bytes) = lifecycle::memory::resident() else { return };
    let before = limits.level();
    let (connected, newest) = (shared.fleet.connected(), |count| shared.fleet.shed(count));
    let shed = limits.overload.look(bytes, now.instant, connected).map_or(0, newest);
    let level = limits.level();
    shared.telemetry.limits.shed(shed);
    if level != before {
        tracing::warn!(bytes, limit = limits.caps.memory, before = before.as_str(), level = level.as_str(), "memory");
    }
    if shed > 0 {
        tracing::warn!(agents = shed, bytes, "the newest agents are sent away: memory is short");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, expected: &str) {
        assert_eq!(sender(address.parse().unwrap()).to_string(), expected);
    }

    #[test]
    fn who_has_a_network_is_one_sender() {
        check("192.0.2.7", "192.0.2.7");
        check("::ffff:192.0.2.7", "192.0.2.7");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::");
        check("2001:db8:1:2:ffff::1", "2001:db8:1:2::");
    }

    #[test]
    fn limits_have_one_name_each() {
        let names: std::collections::HashSet<_> = Limit::ALL.iter().map(|limit| limit.as_str()).collect();
        assert_eq!(names.len(), Limit::ALL.len());
        for (at, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, at);
        }
    }
}
