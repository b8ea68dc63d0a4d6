//! What scrapes cost the agents: ingest back to back with and without a scrape every second, in
//! alternating windows, so that whatever else the machine does meets both alike.
//!
//! All values of one push are one number here, and every scraped page is checked for half pushes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::ingest::rate;
use super::{Target, blocking};
use crate::args::Plan;
use crate::fleet::{Fleet, Watch};
use crate::http::Client;
use crate::load::Load;
use crate::shape::Shape;
use crate::stats::median;
use crate::{Result, page};

/// The first number that is pushed, and how many there are before they repeat: an agent would
/// have to be 64 pushes behind on the page for two of them to look like one.
const FIRST: u32 = 2_000_000_000;
const NUMBERS: u32 = 64;
/// A scrape starts every second.
const PERIOD: Duration = Duration::from_secs(1);

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slowdown {
    /// Median over the pairs of windows: 1 − rate while scraped / rate without.
    pub share: f64,
    /// Median of the rate while scraped.
    pub samples_per_second: f64,
    /// Pages that were scraped meanwhile and showed no half push.
    pub pages: usize,
}

/// Measures pairs of windows.
///
/// # Errors
/// When an agent breaks, or a page shows half a push.
pub async fn slowdown(fleet: &mut Fleet, shape: &Shape, plan: &Plan, target: Target) -> Result<Slowdown> {
    let load = Load::uniform(shape, FIRST, NUMBERS);
    // From here on every value on the page is one of those numbers.
    fleet.push_once(&load).await?;
    let watch = Arc::new(Watch::default());
    let windows = async {
        let found = windows(&watch, plan, target).await;
        watch.stop();
        found
    };
    let ((), found) = tokio::try_join!(fleet.push_flood(&load, Arc::clone(&watch)), windows)?;
    Ok(found)
}

async fn windows(watch: &Watch, plan: &Plan, target: Target) -> Result<Slowdown> {
    let (mut shares, mut rates, mut pages) = (Vec::new(), Vec::new(), 0);
    for pair in 0..plan.pairs {
        // Every other pair the other way round, against drift.
        let (quiet, scraped) = if pair % 2 == 0 {
            let quiet = quiet(watch, plan).await;
            (quiet, scraped(watch, plan, target).await?)
        } else {
            let scraped = scraped(watch, plan, target).await?;
            (quiet(watch, plan).await, scraped)
        };
        pages += scraped.1;
        rates.push(scraped.0);
        shares.push(1.0 - scraped.0 / quiet.max(1.0));
    }
    let middle = |values: &[f64]| median(values).unwrap_or(f64::NAN);
    Ok(Slowdown { share: middle(&shares), samples_per_second: middle(&rates), pages })
}

async fn quiet(watch: &Watch, plan: &Plan) -> f64 {
    settle(plan).await;
    rate(watch, plan.series(), plan.window).await
}

/// The rate while scraped, and how many pages were read and found whole.
async fn scraped(watch: &Watch, plan: &Plan, target: Target) -> Result<(f64, usize)> {
    settle(plan).await;
    let (window, http) = (plan.window, target.http);
    let scraping = tokio::spawn(blocking(move || scrape_for(http, window)));
    let rate = rate(watch, plan.series(), window).await;
    let pages = scraping.await??;
    let count = pages.len();
    // Checking takes as long as scraping, so it waits until the window is over.
    let (agents, series) = (plan.agents(), plan.series());
    blocking(move || {
        pages.iter().try_for_each(|body| page::inflate(body, |page| page::check_whole(page, agents, series)))
    })
    .await?;
    Ok((rate, count))
}

/// Lets what the window before it left behind run out.
async fn settle(plan: &Plan) {
    sleep(plan.window / 10).await;
}

/// Scrapes at the start of the window and every second in it; keeps the bodies as they came.
fn scrape_for(http: SocketAddr, window: Duration) -> Result<Vec<Vec<u8>>> {
    let mut client = Client::connect(http)?;
    let began = Instant::now();
    let mut pages = Vec::new();
    let mut at = Duration::ZERO;
    while at < window {
        std::thread::sleep(at.saturating_sub(began.elapsed()));
        pages.push(client.get_page("/metrics", true)?);
        at += PERIOD;
    }
    Ok(pages)
}
