//! What scrapes cost the agents: ingest back to back with and without a scrape every second, in
//! alternating windows, so that whatever else the machine does meets both alike.
//!
//! All values of one push are one number here, and every scraped page is checked for half pushes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::ingest::rate_during;
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
#[derive(Debug, Clone, PartialEq)]
pub struct Slowdown {
    /// Median over the pairs of windows: 1 − rate while scraped / rate without.
    pub share: f64,
    /// Median of the rate while scraped.
    pub samples_per_second: f64,
    /// How long each scrape took meanwhile. None of the pages showed half a push.
    pub scrape_ms: Vec<f64>,
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

/// A page that was scraped during a window, as it came, and how long that took.
struct Scraped {
    body: Vec<u8>,
    ms: f64,
}

async fn windows(watch: &Watch, plan: &Plan, target: Target) -> Result<Slowdown> {
    let (mut shares, mut rates, mut scrape_ms) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..plan.pairs {
        // Every other pair the other way round, against drift.
        let (quiet, (scraped, pages)) = if pair % 2 == 0 {
            let quiet = quiet(watch, plan).await;
            (quiet, scraped(watch, plan, target).await?)
        } else {
            let scraped = scraped(watch, plan, target).await?;
            (quiet(watch, plan).await, scraped)
        };
        scrape_ms.extend(pages.iter().map(|page| page.ms));
        check(pages, plan).await?;
        rates.push(scraped);
        shares.push(1.0 - scraped / quiet.max(1.0));
    }
    let middle = |values: &[f64]| median(values).unwrap_or(f64::NAN);
    Ok(Slowdown { share: middle(&shares), samples_per_second: middle(&rates), scrape_ms })
}

async fn quiet(watch: &Watch, plan: &Plan) -> f64 {
    sleep(settling(plan)).await;
    rate_during(watch, plan.series(), sleep(plan.window)).await.0
}

/// The rate while scraped, and the pages. The window lasts until the last of them is read, so that
/// no part of a scrape's work falls outside.
async fn scraped(watch: &Watch, plan: &Plan, target: Target) -> Result<(f64, Vec<Scraped>)> {
    sleep(settling(plan)).await;
    let (window, http) = (plan.window, target.http);
    let scraping = tokio::spawn(blocking(move || scrape_for(http, window)));
    let (rate, ((), pages)) = rate_during(watch, plan.series(), async { tokio::join!(sleep(window), scraping) }).await;
    Ok((rate, pages??))
}

/// Checking takes as long as scraping, so it waits until the windows are over.
async fn check(pages: Vec<Scraped>, plan: &Plan) -> Result<()> {
    let (agents, series) = (plan.agents(), plan.series());
    blocking(move || {
        let whole = |page: &Scraped| page::inflate(&page.body, |text| page::check_whole(text, agents, series));
        pages.iter().try_for_each(whole)
    })
    .await
}

/// What the window before left behind has run out by then.
fn settling(plan: &Plan) -> Duration {
    plan.window / 10
}

/// Scrapes at the start of the window and every second in it, or as often as the aggregator can.
fn scrape_for(http: SocketAddr, window: Duration) -> Result<Vec<Scraped>> {
    let mut client = Client::connect(http)?;
    let began = Instant::now();
    let mut pages = Vec::new();
    let mut at = Duration::ZERO;
    while at < window {
        std::thread::sleep(at.saturating_sub(began.elapsed()));
        let asked = Instant::now();
        let body = client.get_page("/metrics", true)?;
        pages.push(Scraped { body, ms: asked.elapsed().as_secs_f64() * 1e3 });
        at += PERIOD;
    }
    Ok(pages)
}
