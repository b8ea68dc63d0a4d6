//! `fleetgauge put`, `get`, `import`, `export`, `agents`, `explain` and `forget` as their users meet them.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "test code")]

mod access;
mod agents;
mod binary;
mod folder;
mod import_export;
mod import_wrong;
#[cfg(feature = "tls")]
mod keys;
#[path = "../../../crates/client/tests/support/line_server.rs"]
mod line_server;
mod put_get;
#[cfg(feature = "tls")]
mod tls;
