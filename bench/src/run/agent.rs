//! One agent, then one node_exporter: start, warm up, measure, look at memory and the page.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Result;
use crate::aggregator::Aggregator;
use crate::args::{AgentArgs, AgentPlan};
use crate::families::Families;
use crate::figures::AGENT;
use crate::host_agent::HostAgent;
use crate::node_exporter::{NodeExporter, on_path};
use crate::proc::{Memory, Threads, binary_bytes};
use crate::progress::Progress;
use crate::report::Report;

/// The agent's default interval: what a deployed agent pushes at.
const USUAL: Duration = Duration::from_secs(5);
/// Pushes and scrapes that are not counted: the first ones declare, allocate and fill caches.
const WARM_UP: u32 = 10;
/// The same at the default interval, where each takes 5 s.
const WARM_UP_USUAL: u32 = 2;

/// Runs `bench agent`.
///
/// # Errors
/// When anything that is to be measured cannot be.
pub async fn agent(args: &AgentArgs, progress: &Progress) -> Result<Report> {
    let plan = &args.plan;
    let mut report = Report::new(AGENT);
    report.set("pushes", plan.pushes);
    report.measured("push_interval_ms", plan.interval.as_secs_f64() * 1e3);
    report.set("pushes_every_5s", plan.usual_pushes);
    super::about(&mut report);

    progress.step("building aggregator and agent");
    let binaries = Binaries {
        aggregator: super::binary("aggregator", args.aggregator.clone()).await?,
        agent: super::binary("agent", args.agent.clone()).await?,
    };
    let ours = pushing(&binaries, plan, progress, &mut report).await?;

    match exporter(args) {
        Some(program) => {
            report.set("scrapes", plan.scrapes);
            let theirs = scraped(&program, plan, progress, &mut report).await?;
            let (common, missing) = ours.compared_with(&theirs);
            report.set("common_families", common);
            report.set("missing_families", missing);
            compare(&mut report);
        }
        None => report.set("node_exporter", serde_json::Value::Null),
    }
    Ok(report)
}

/// The node_exporter to measure, if any.
fn exporter(args: &AgentArgs) -> Option<PathBuf> {
    if args.no_node_exporter {
        return None;
    }
    args.node_exporter.clone().or_else(on_path)
}

/// The two programs of ours.
struct Binaries {
    aggregator: PathBuf,
    agent: PathBuf,
}

/// The agent's figures, and what was on its page.
async fn pushing(binaries: &Binaries, plan: &AgentPlan, progress: &Progress, report: &mut Report) -> Result<Families> {
    progress.step("agent, at the short interval");
    let aggregator = Aggregator::start(&binaries.aggregator).await?;
    let agent = HostAgent::start(&binaries.agent, aggregator.target(), plan.interval).await?;
    let cost = agent.cost(WARM_UP, plan.pushes).await?;
    report.measured("agent_cpu_ms_per_push", cost.cpu_ms);
    report.measured("agent_bytes_per_push", cost.bytes);
    report.measured("agent_pushes_dropped", cost.dropped);
    process_figures("agent", agent.pid(), report)?;
    let families = Families::of(&agent.page().await?);
    page_figures("agent", &families, report);
    agent.stop().await?;
    aggregator.stop().await?;

    if plan.usual_pushes > 0 {
        progress.step("agent, every 5 s");
        let aggregator = Aggregator::start(&binaries.aggregator).await?;
        let agent = HostAgent::start(&binaries.agent, aggregator.target(), USUAL).await?;
        let cost = agent.cost(WARM_UP_USUAL, plan.usual_pushes).await?;
        report.measured("agent_cpu_ms_per_push_every_5s", cost.cpu_ms);
        report.measured("agent_wakeups_per_push_every_5s", cost.sleeps);
        agent.stop().await?;
        aggregator.stop().await?;
    }
    Ok(families)
}

/// The figures of node_exporter, and what was on its page.
async fn scraped(program: &Path, plan: &AgentPlan, progress: &Progress, report: &mut Report) -> Result<Families> {
    let exporter = NodeExporter::start(program).await?;
    report.set("node_exporter", exporter.version());
    progress.step("node_exporter, plain");
    let plain = exporter.cost(WARM_UP, plan.scrapes, plan.interval, false).await?;
    report.measured("node_exporter_cpu_ms_per_plain_scrape", plain.cpu_ms);
    progress.step("node_exporter, gzip");
    let gzip = exporter.cost(WARM_UP, plan.scrapes, plan.interval, true).await?;
    report.measured("node_exporter_cpu_ms_per_gzip_scrape", gzip.cpu_ms);
    report.set("node_exporter_bytes_per_gzip_scrape", gzip.bytes);
    process_figures("node_exporter", exporter.pid(), report)?;
    let families = Families::of(&exporter.page().await?);
    page_figures("node_exporter", &families, report);

    if plan.usual_pushes > 0 {
        progress.step("node_exporter, every 5 s");
        let usual = exporter.cost(WARM_UP_USUAL, plan.usual_pushes, USUAL, true).await?;
        report.measured("node_exporter_cpu_ms_per_gzip_scrape_every_5s", usual.cpu_ms);
        report.measured("node_exporter_wakeups_per_scrape_every_5s", usual.sleeps);
    }
    // Ended by being dropped: it knows no clean stop and dies of the signal.
    Ok(families)
}

fn process_figures(who: &str, pid: u32, report: &mut Report) -> Result<()> {
    let memory = Memory::of(pid)?;
    report.measured(&format!("{who}_rss_mib"), memory.now_mib);
    report.measured(&format!("{who}_rss_peak_mib"), memory.peak_mib);
    report.set(&format!("{who}_threads"), Threads::of(pid)?.count);
    report.set(&format!("{who}_binary_bytes"), binary_bytes(pid)?);
    Ok(())
}

fn page_figures(who: &str, families: &Families, report: &mut Report) {
    for part in ["", "node_"] {
        let (count, series) = families.count(part);
        report.set(&format!("{who}_{part}families"), count);
        report.set(&format!("{who}_{part}series"), series);
    }
}

/// The ratios of what both were measured for.
fn compare(report: &mut Report) {
    report.ratio("ratio_cpu_plain", "node_exporter_cpu_ms_per_plain_scrape", "agent_cpu_ms_per_push");
    report.ratio("ratio_cpu_gzip", "node_exporter_cpu_ms_per_gzip_scrape", "agent_cpu_ms_per_push");
    report.ratio(
        "ratio_cpu_gzip_every_5s",
        "node_exporter_cpu_ms_per_gzip_scrape_every_5s",
        "agent_cpu_ms_per_push_every_5s",
    );
    report.ratio("ratio_bytes", "node_exporter_bytes_per_gzip_scrape", "agent_bytes_per_push");
    report.ratio("ratio_memory", "node_exporter_rss_mib", "agent_rss_mib");
    report.ratio("ratio_memory_peak", "node_exporter_rss_peak_mib", "agent_rss_peak_mib");
    report.ratio("ratio_binary", "node_exporter_binary_bytes", "agent_binary_bytes");
}
