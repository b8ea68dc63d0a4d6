//! Short rounds of every scenario, with fixed seeds. The `chaos` program does the same for longer.

use std::time::Duration;

use tests::chaos::Verdict;
use tests::chaos::hostile::{Hostile, hostile};
use tests::chaos::outage::{Outage, herd, kill9, outage, stall, storm};
use tests::chaos::soak::soak;
use tests::chaos::world::Plan;

const SHORT: Outage = Outage { sims: 4, agents: 2, around: Duration::from_millis(1500), down: Duration::from_secs(9) };

#[track_caller]
#[expect(clippy::print_stdout, reason = "what was done, for --nocapture")]
fn check(verdict: Verdict) {
    match verdict {
        Ok(report) => println!("{report}"),
        Err(error) => panic!("{error}"),
    }
}

/// Rounds with different seeds, side by side: most of their time is waiting.
async fn check_all<F: Future<Output = Verdict> + 'static>(seeds: &[u64], round: impl Fn(Plan) -> F) {
    let side_by_side = tokio::task::LocalSet::new();
    let rounds: Vec<_> = seeds.iter().map(|seed| side_by_side.spawn_local(round(Plan::quick(*seed)))).collect();
    side_by_side.await;
    for round in rounds {
        check(round.await.expect("a round gives a verdict"));
    }
}

#[tokio::test]
async fn an_outage_leaves_no_hole() {
    check_all(&[1, 2], |plan| outage(plan, SHORT)).await;
}

#[tokio::test]
async fn what_was_acknowledged_outlives_kills_of_the_aggregator() {
    check_all(&[1, 2], |plan| kill9(plan, 4, 5, SHORT.down)).await;
}

#[tokio::test]
async fn a_network_that_stands_still_shows_nothing_old_and_costs_nothing() {
    let short = Outage { agents: 1, ..SHORT };
    check_all(&[1, 2], |plan| stall(plan, short)).await;
}

#[tokio::test]
async fn nothing_is_lost_in_a_storm() {
    check_all(&[1, 2], |plan| storm(plan, 4, Duration::from_secs(8))).await;
}

#[tokio::test]
async fn hostile_senders_harm_nobody_else() {
    // How much slower others get is asked by the long form: other tests run beside this one.
    let time = Duration::from_secs(3);
    let program = env!("CARGO_BIN_EXE_chaos").into();
    let params = Hostile { program, sims: 3, silent: 200, time, ratio_max: None, resident_kib_max: 512 << 10 };
    check(hostile(Plan::quick(1), params).await);
}

#[tokio::test]
async fn a_herd_comes_back() {
    let plan = Plan { interval: Duration::from_secs(1), scrape_every: Duration::from_secs(1), ..Plan::quick(1) };
    check(herd(plan, 100, Duration::from_secs(3)).await);
}

#[tokio::test]
async fn agents_come_and_go() {
    check(soak(Plan::quick(1), 6, Duration::from_secs(6), None).await);
}
