//! Two gzip scrapes at once, as Prometheus comes in pairs: the moment at which an aggregator needs
//! the most memory. And whether both encodings are the same page.

use super::scrape::timed;
use super::{Target, blocking};
use crate::http::Client;
use crate::page::{contents, inflate};
use crate::{Error, Result};

/// Scrapes the page twice at the same time, with gzip.
///
/// # Errors
/// When either scrape fails.
pub async fn scrape_twice_at_once(target: Target) -> Result<()> {
    let one = || blocking(move || timed(&mut Client::connect(target.http)?, true));
    tokio::try_join!(one(), one())?;
    Ok(())
}

/// Checks that gzip holds one member with the same samples as plain, `samples` of them.
///
/// # Errors
/// When it does not.
pub async fn check_encodings(target: Target, samples: usize) -> Result<()> {
    blocking(move || {
        let mut client = Client::connect(target.http)?;
        let plain = contents(&mut client.get_page("/metrics", false)?.as_slice())?;
        let gzip = inflate(&client.get_page("/metrics", true)?, contents)?;
        if plain == gzip && plain.samples == samples as u64 {
            return Ok(());
        }
        Err(Error::Page(format!("plain shows {plain:?}, gzip {gzip:?}, pushed were {samples} samples")))
    })
    .await
}
