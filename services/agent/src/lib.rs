//! An agent: measures a host, keeps one connection to an aggregator, and pushes.
//!
//! The data goes one way: [`collect`] (one file a reading) → [`measurement`] → [`mailbox`] (the
//! newest one waits; the place of a spool) → `uplink` → the wire. Collecting has threads of its
//! own, because a system call may hang for ever; the uplink is one task. Nothing here is global:
//! several agents run in one process.

mod agent;
pub mod backoff;
pub mod clock;
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "some of it is for the collectors of Linux alone"))]
pub mod collect;
pub mod health;
mod host;
pub mod mailbox;
pub mod measurement;
pub mod settings;
pub mod spool;
pub mod telemetry;
mod uplink;

pub use agent::{Agent, AgentError};
pub use settings::{Settings, Target};
