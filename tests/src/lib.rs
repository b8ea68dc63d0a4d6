//! Actors for tests across services. A test reads like what a user does and sees:
//!
//! ```no_run
//! # async fn example() {
//! let hub = tests::Hub::start().await;
//! let huginn = hub.agent("huginn").start();
//! hub.scrape_until("huginn is there", |page| page.up("huginn") == Some(1.0)).await;
//! huginn.kill().await;
//! hub.scrape_until("huginn is gone", |page| page.up("huginn") == Some(0.0)).await;
//! # }
//! ```
//!
//! [`hub`] is an aggregator, [`host`] an agent, [`fault`] a network that can be cut, go silent
//! or worse, [`prometheus`] a real Prometheus, [`service`] a real process, [`sim`] an agent whose truth is
//! known, [`chaos`] what is made of them. All of them listen on free ports, nothing waits for
//! a fixed time: [`wait`] polls until something is seen, or fails and says what was not.

pub mod chaos;
pub mod fault;
pub mod host;
pub mod http;
pub mod hub;
pub mod node_exporter;
pub mod page;
pub mod peers;
pub mod process;
pub mod prometheus;
pub mod remote_write;
pub mod service;
pub mod sim;
pub mod wait;

pub use fault::Cable;
pub use host::Host;
pub use hub::Hub;
pub use page::Page;
pub use prometheus::Prometheus;

/// Where the repository is, for tests that hold its files against its code.
#[must_use]
pub fn root() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package stands in the repository")
}

/// A document that is made of what the code says: it must be the file, or with `UPDATE_GOLDEN=1`
/// becomes it.
///
/// # Panics
/// When it is not.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "asked for by whoever runs the tests")]
pub fn check_document(file: &str, expected: &str) {
    let path = root().join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, expected).expect("the document can be written");
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(found == expected, "{file} is not what the code says (UPDATE_GOLDEN=1 writes it), first: {differs:?}");
}
