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
//! [`hub`] is an aggregator, [`host`] an agent, [`cable`] a connection that can be cut or go
//! silent, [`prometheus`] a real Prometheus. All of them listen on free ports, nothing waits for
//! a fixed time: [`wait`] polls until something is seen, or fails and says what was not.

pub mod cable;
pub mod host;
pub mod http;
pub mod hub;
pub mod page;
pub mod peers;
pub mod process;
pub mod prometheus;
pub mod wait;

pub use cable::Cable;
pub use host::Host;
pub use hub::Hub;
pub use page::Page;
pub use prometheus::Prometheus;

/// Where the repository is, for tests that hold its files against its code.
#[must_use]
pub fn root() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package stands in the repository")
}
