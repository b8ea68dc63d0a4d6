//! The client against servers over real connections.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

mod faults;
#[path = "../support/line_server.rs"]
mod line_server;
mod scripted;
mod tokens;
mod uploads;
mod verbs;
