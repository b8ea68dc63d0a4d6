//! How long it takes from pushing a value until it is seen, while everyone else pushes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{Target, blocking};
use crate::agent::Agent;
use crate::args::Plan;
use crate::fleet::{Fleet, Watch};
use crate::http::Client;
use crate::load::{Load, uniform};
use crate::shape::Shape;
use crate::{Error, Result, page};

/// Agents whose pushes are followed, in turn.
const FOLLOWED: usize = 10;
/// A push that is not seen by then never will be.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
/// Longest pause between two followed pushes, so that they fall anywhere between the others.
const PAUSE_MS_MAX: u64 = 20;
/// The number that the first followed push carries.
const FIRST: u32 = 1_000_000_000;
/// More rounds than the others will need.
const ROUNDS: usize = 1 << 20;

/// Milliseconds from the first byte of a push to the end of the answer that shows it, for each of
/// the plan's probes. Each answer must show one push, never parts of two.
///
/// # Errors
/// When an agent breaks, a page shows half a push, or a push is not seen in time.
pub async fn visible(fleet: &mut Fleet, load: &Load, shape: &Shape, plan: &Plan, target: Target) -> Result<Vec<f64>> {
    let mut followed = fleet.split_off(FOLLOWED);
    let watch = Arc::new(Watch::default());
    let probing = async {
        let seen = follow(&mut followed, shape, plan, target).await;
        watch.stop();
        seen
    };
    let others = fleet.push_spread(load, plan.interval, ROUNDS, Arc::clone(&watch));
    let ((), seen) = tokio::try_join!(others, probing)?;
    fleet.put_back(followed);
    Ok(seen)
}

async fn follow(agents: &mut [Agent], shape: &Shape, plan: &Plan, target: Target) -> Result<Vec<f64>> {
    let mut random = fastrand::Rng::with_seed(plan.seed);
    let mut client = blocking(move || Client::connect(target.http)).await?;
    let mut seen = Vec::new();
    for (probe, number) in (0..plan.probes as usize).zip(FIRST..) {
        sleep(Duration::from_millis(random.u64(0..=PAUSE_MS_MAX))).await;
        let at = probe % agents.len().max(1);
        let Some(agent) = agents.get_mut(at) else { break };
        let lines = uniform(shape, number);
        let path = format!("/metrics?agent={}", agent.name());
        let pushed = Instant::now();
        agent.push(lines).await?;
        // The first push of a followed agent finds its own, realistic values on the page.
        let whole = probe >= agents.len();
        let looking = blocking(move || until_seen(&mut client, &path, number, whole, pushed).map(|ms| (client, ms)));
        let (kept, ms) = looking.await?;
        client = kept;
        seen.push(ms);
        if let Some(agent) = agents.get_mut(at) {
            agent.wait_for_acks(0).await?;
        }
    }
    Ok(seen)
}

/// Asks again and again until the page shows `number`.
fn until_seen(
    client: &mut Client<std::net::TcpStream>,
    path: &str,
    number: u32,
    whole: bool,
    pushed: Instant,
) -> Result<f64> {
    let wanted = format!(" {number}\n");
    loop {
        let page = client.get_page(path, false)?;
        let elapsed = pushed.elapsed();
        if memchr::memmem::find(&page, wanted.as_bytes()).is_some() {
            // Now all of them must be there.
            page::single_value(&page)?;
            return Ok(elapsed.as_secs_f64() * 1e3);
        }
        if whole {
            page::single_value(&page)?;
        }
        if elapsed > SEEN_WITHIN {
            return Err(Error::Page(format!("{path} does not show a push of {elapsed:?} ago")));
        }
    }
}
