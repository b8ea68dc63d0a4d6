//! The figures, one file each. Every step takes connected agents and a running aggregator and
//! leaves both as it found them.

mod ingest;
mod memory;
mod puts;
mod reads;
mod scrape;
mod single;
mod slowdown;
mod visible;

use std::net::SocketAddr;

pub use ingest::{cpu_per_sample, samples_per_second};
pub use memory::{check_encodings, scrape_twice_at_once};
pub use puts::{Flood, flood, own_metric, until_quiet};
pub use reads::{ReadAll, get_all, get_key};
pub(crate) use scrape::timed;
pub use scrape::{Scrapes, scrape, scrape_quiet};
pub use single::{Alternated, alternate};
pub use slowdown::{Slowdown, slowdown};
pub use visible::visible;

use crate::Result;

/// The aggregator that is measured.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Where agents push.
    pub link: SocketAddr,
    /// Where the page is.
    pub http: SocketAddr,
    /// Its process, when it is ours to look at.
    pub pid: Option<u32>,
}

/// Runs what blocks beside the tasks of the generator.
///
/// # Errors
/// What the work says, or that it panicked.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}
