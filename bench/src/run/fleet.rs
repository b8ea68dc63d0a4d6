//! A fleet: start, declare, push, scrape, follow, flood, look at memory, stop.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::aggregator::Aggregator;
use crate::args::{FleetArgs, Plan};
use crate::figures::FLEET;
use crate::fleet::Fleet;
use crate::load::Load;
use crate::measure::{self, Target, blocking};
use crate::proc::{Cpu, Memory};
use crate::process;
use crate::progress::Progress;
use crate::report::Report;
use crate::shape::Shape;
use crate::stats::percentile;
use crate::{Result, pushgateway};

/// Most rounds of values that are made: later ones repeat them. 1,000,000 values take 9 MB.
const ROUNDS_MADE_MAX: u32 = 8;
/// The small fleet, for what a page costs apart from its length.
const SMALL_AGENTS: u32 = 10;
const SMALL_SERIES: u32 = 1_000;
/// The small fleet pushes as often as the large one, once a millisecond: how long a processor
/// sleeps between two pushes shows in their cost.
const SMALL_INTERVAL: Duration = Duration::from_millis(10);
/// Two seconds of that.
const SMALL_ROUNDS: u32 = 200;

/// Runs `bench fleet`.
///
/// # Errors
/// When anything that is to be measured cannot be, or the aggregator does what it must not.
pub async fn fleet(args: &FleetArgs, progress: &Progress) -> Result<Report> {
    let mut report = Report::new(FLEET);
    about(args, &mut report);
    if let Some((link, http)) = args.link.zip(args.http) {
        full(Target { link, http, pid: None }, &args.plan, progress, &mut report).await?;
    } else {
        progress.step("building the aggregator");
        let binary = match args.aggregator.clone() {
            Some(binary) => binary,
            None => blocking(|| process::build("aggregator", true)).await?,
        };
        own(&binary, &args.plan, progress, &mut report).await?;
    }
    if let Some(program) = gateway(args) {
        progress.step("push gateway");
        let shape = Shape::new(args.plan.series(), args.plan.seed);
        pushgateway::measure(&program, &shape, &args.plan, &mut report).await?;
    }
    Ok(report)
}

/// What was asked for.
fn about(args: &FleetArgs, report: &mut Report) {
    let plan = &args.plan;
    report.set("agents", plan.agents);
    report.set("series", plan.series);
    report.set("rounds", plan.rounds);
    report.measured("interval_ms", plan.interval.as_secs_f64() * 1e3);
    super::about(report);
}

/// The push gateway to measure, if any.
fn gateway(args: &FleetArgs) -> Option<PathBuf> {
    match &args.pushgateway {
        Some(path) => Some(path.clone()),
        None if args.no_pushgateway || args.link.is_some() => None,
        None => process::on_path("prometheus-pushgateway"),
    }
}

/// Everything against aggregators of our own: one for the fleet, a fresh one for the small fleet.
async fn own(binary: &Path, plan: &Plan, progress: &Progress, report: &mut Report) -> Result<()> {
    let aggregator = Aggregator::start(binary).await?;
    full(aggregator.target(), plan, progress, report).await?;
    let stopped = aggregator.stop().await?;
    report.measured("aggregator_stop_ms", stopped.as_secs_f64() * 1e3);

    progress.step("10 agents with 1,000 series each");
    let aggregator = Aggregator::start(binary).await?;
    let small = Plan {
        agents: SMALL_AGENTS,
        series: SMALL_SERIES,
        rounds: SMALL_ROUNDS,
        interval: SMALL_INTERVAL,
        ..plan.clone()
    };
    small_fleet(aggregator.target(), &small, report).await?;
    aggregator.stop().await?;
    Ok(())
}

/// All figures of one fleet.
async fn full(target: Target, plan: &Plan, progress: &Progress, report: &mut Report) -> Result<()> {
    let (agents, series) = (plan.agents(), plan.series());
    progress.step("making values");
    let shape = Shape::new(series, plan.seed);
    let made = plan.rounds.clamp(2, ROUNDS_MADE_MAX) as usize;
    let load = Load::realistic(&shape, agents, made, plan.seed);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let bytes = (0..agents).map(|agent| load.lines(agent, 0).len()).sum::<usize>() as f64 / (agents * series) as f64;
    report.measured("push_bytes_per_sample", bytes);

    progress.step("connecting and declaring");
    let mut fleet = declare(target, plan, &shape, &load, report).await?;

    progress.step("pushing, spread over the interval");
    let pace = (plan.rounds as usize, plan.interval);
    if let Some(us) = measure::cpu_per_sample(&mut fleet, &load, series, pace, target).await? {
        report.measured("ingest_cpu_us_per_sample", us);
    }
    if let Some(pid) = target.pid {
        report.measured("aggregator_rss_before_scrapes_mib", Memory::of(pid)?.peak_mib);
    }
    progress.step("scraping");
    scrapes(&mut fleet, &load, plan, target, report).await?;

    progress.step("following pushes until they are seen");
    let seen = measure::visible(&mut fleet, &load, &shape, plan, target).await?;
    report.measured("visible_ms_p50", percentile(&seen, 50).unwrap_or(f64::NAN));
    report.measured("visible_ms_p99", percentile(&seen, 99).unwrap_or(f64::NAN));

    progress.step("pushing back to back");
    report.measured("samples_per_second", measure::samples_per_second(&mut fleet, &load, series, plan.window).await?);
    progress.step("pushing back to back while scraped");
    let found = measure::slowdown(&mut fleet, &shape, plan, target).await?;
    report.measured("ingest_slowdown_while_scraped", found.share);
    report.measured("samples_per_second_while_scraped", found.samples_per_second);
    report.measured("scrape_gzip_ms_p50_while_pushing", percentile(&found.scrape_ms, 50).unwrap_or(f64::NAN));
    report.set("pages_checked", found.scrape_ms.len());

    progress.step("two scrapes at once");
    fleet.push_once(&load).await?;
    measure::scrape_twice_at_once(target).await?;
    if let Some(pid) = target.pid {
        report.measured("aggregator_rss_mib", Memory::of(pid)?.peak_mib);
        measure::check_encodings(target, agents * series).await?;
    }
    fleet.bye().await
}

/// Connects, declares and pushes once, so that every series is on the page.
async fn declare(target: Target, plan: &Plan, shape: &Shape, load: &Load, report: &mut Report) -> Result<Fleet> {
    let before = target.pid.map(Cpu::of).transpose()?;
    let began = Instant::now();
    let mut fleet = Fleet::connect(target.link, plan.agents(), shape.declaration()).await?;
    fleet.push_once(load).await?;
    report.measured("declare_seconds", began.elapsed().as_secs_f64());
    let after = target.pid.map(Cpu::of).transpose()?;
    if let Some((before, after)) = before.zip(after) {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let us = after.ns_since(&before) as f64 / 1e3 / (plan.agents() * plan.series()) as f64;
        report.measured("declare_cpu_us_per_series", us);
    }
    Ok(fleet)
}

async fn scrapes(fleet: &mut Fleet, load: &Load, plan: &Plan, target: Target, report: &mut Report) -> Result<()> {
    let plain = measure::scrape(fleet, load, plan.scrapes, false, target).await?;
    let gzip = measure::scrape(fleet, load, plan.scrapes, true, target).await?;
    for (found, [p50, p99, bytes, cpu]) in [
        (plain, ["scrape_plain_ms_p50", "scrape_plain_ms_p99", "page_bytes", "scrape_plain_cpu_ms"]),
        (gzip, ["scrape_gzip_ms_p50", "scrape_gzip_ms_p99", "page_gzip_bytes", "scrape_gzip_cpu_ms"]),
    ] {
        report.measured(p50, percentile(&found.ms, 50).unwrap_or(f64::NAN));
        report.measured(p99, percentile(&found.ms, 99).unwrap_or(f64::NAN));
        report.set(bytes, found.bytes);
        if let Some(ms) = found.cpu_ms {
            report.measured(cpu, ms);
        }
    }
    Ok(())
}

/// The figures that show whether cost per series stays flat.
async fn small_fleet(target: Target, plan: &Plan, report: &mut Report) -> Result<()> {
    let shape = Shape::new(plan.series(), plan.seed);
    let load = Load::realistic(&shape, plan.agents(), ROUNDS_MADE_MAX as usize, plan.seed);
    let mut fleet = Fleet::connect(target.link, plan.agents(), shape.declaration()).await?;
    let pace = (plan.rounds as usize, plan.interval);
    if let Some(us) = measure::cpu_per_sample(&mut fleet, &load, plan.series(), pace, target).await? {
        report.measured("ingest_cpu_us_per_sample_at_10000_series", us);
    }
    for (gzip, figure) in [(false, "scrape_plain_ms_p50_at_10000_series"), (true, "scrape_gzip_ms_p50_at_10000_series")]
    {
        let found = measure::scrape(&mut fleet, &load, plan.scrapes, gzip, target).await?;
        report.measured(figure, percentile(&found.ms, 50).unwrap_or(f64::NAN));
    }
    fleet.bye().await
}
