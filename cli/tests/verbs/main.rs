//! `fleetgauge put`, `get`, `import` and `export` as their users meet them.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "test code")]

mod binary;
mod import_export;
#[path = "../../../crates/client/tests/support/line_server.rs"]
mod line_server;
mod put_get;
