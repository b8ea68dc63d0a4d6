//! `fleetgauge put`, `get`, `import`, `export`, `agents` and `explain` as their users meet them.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "test code")]

mod agents;
mod binary;
mod folder;
mod import_export;
mod import_wrong;
#[path = "../../../crates/client/tests/support/line_server.rs"]
mod line_server;
mod put_get;
