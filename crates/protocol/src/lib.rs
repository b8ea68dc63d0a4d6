//! The two protocols of FleetGauge as bytes: the agent link, version 1, and the put/get lines.
//!
//! `docs/protocol.md` is the normative text; this crate is its Rust form, used by both ends.
//! Everything here is a pure function of its input: nothing in this crate ever opens a socket,
//! reads a clock, touches a file or starts a task.
//!
//! Reading order: [`limits`] (what is too much), [`names`] (what may be called what), [`frame`]
//! (the messages), [`values`] (a vector of samples), [`codec`] (messages to bytes and back),
//! [`declare`] (is a declaration fit for a page), [`split`] (long declarations and vectors over
//! several lines), [`cost`] (what a declaration takes). [`lines`] is put and get, all of it.

pub mod codec;
pub mod cost;
pub mod declare;
pub mod frame;
pub mod labels;
pub mod limits;
pub mod lines;
pub mod names;
pub mod split;
pub mod values;

pub use codec::{DecodeError, LineDecoder, encode};
pub use frame::{ToAgent, ToAggregator};
pub use labels::Labels;
pub use names::AgentName;
pub use values::{ABSENT, is_absent};

/// The only version of the link so far.
pub const VERSION: u32 = 1;
