//! Prometheus' push gateway, the usual way to get many senders behind one scrape, measured beside
//! the aggregator: the same series and values, on the same machine, in the same run.
//!
//! Its consistency check is off, which is its fastest way; nothing is persisted.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use crate::agent::name;
use crate::args::Plan;
use crate::http::Client;
use crate::load::Values;
use crate::measure::{Target, blocking, scrape_quiet, scrape_twice_at_once};
use crate::proc::{Cpu, Memory};
use crate::process::{Service, listening_on, version_of};
use crate::report::Report;
use crate::shape::Shape;
use crate::stats::percentile;
use crate::{Error, Result};

/// Senders at the same time.
const CONNECTIONS: usize = 2;
/// Most rounds and scrapes: at 1,000,000 series each takes it more than three seconds.
const ROUNDS_MAX: u32 = 2;
const SCRAPES_MAX: u32 = 7;

/// Measures the push gateway at `program` and takes its figures into the report.
///
/// # Errors
/// When it does not start, or does not take a push.
pub async fn measure(program: &Path, shape: &Shape, plan: &Plan, report: &mut Report) -> Result<()> {
    let Some(version) = version_of(program) else {
        return Err(Error::Program { program: program.display().to_string(), what: "cannot be run".into() });
    };
    report.set("pushgateway", version);
    let path = program.to_owned();
    let (service, http) = blocking(move || {
        let arguments = ["--web.listen-address=127.0.0.1:0", "--push.disable-consistency-check"].map(str::to_owned);
        Service::start(&path, &arguments, &[], listening_on)
    })
    .await?;
    let target = Target { link: http, http, pid: Some(service.pid()) };

    let rounds = plan.rounds.min(ROUNDS_MAX);
    let senders = senders(shape, plan);
    let senders = push_round(senders, shape, http).await?;
    let before = Cpu::of(service.pid())?;
    let mut senders = senders;
    for _ in 0..rounds {
        senders = push_round(senders, shape, http).await?;
    }
    let ns = Cpu::of(service.pid())?.ns_since(&before);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let cpu = ns as f64 / 1e3 / f64::from(rounds) / (plan.agents() * plan.series()) as f64;
    report.measured("pushgateway_cpu_us_per_sample", cpu);

    for (gzip, figure) in [(false, "pushgateway_scrape_plain_ms_p50"), (true, "pushgateway_scrape_gzip_ms_p50")] {
        let ms = scrape_quiet(target, plan.scrapes.min(SCRAPES_MAX), gzip).await?;
        report.measured(figure, percentile(&ms, 50).unwrap_or(f64::NAN));
    }
    scrape_twice_at_once(target).await?;
    report.measured("pushgateway_rss_mib", Memory::of(service.pid())?.peak_mib);
    compare(report);
    Ok(())
}

/// The ratios of what both were measured for.
fn compare(report: &mut Report) {
    report.ratio("ratio_cpu", "pushgateway_cpu_us_per_sample", "ingest_cpu_us_per_sample");
    report.ratio("ratio_scrape_plain", "pushgateway_scrape_plain_ms_p50", "scrape_plain_ms_p50");
    report.ratio("ratio_scrape_gzip", "pushgateway_scrape_gzip_ms_p50", "scrape_gzip_ms_p50");
    report.ratio("ratio_rss", "pushgateway_rss_mib", "aggregator_rss_mib");
}

/// One sender's name and measurements.
type Sender = (String, Values);

/// All senders, shared out over the connections.
fn senders(shape: &Shape, plan: &Plan) -> Vec<Vec<Sender>> {
    let mut shares: Vec<Vec<Sender>> = (0..CONNECTIONS).map(|_| Vec::new()).collect();
    for (agent, share) in (0..plan.agents()).zip((0..CONNECTIONS).cycle()) {
        if let Some(share) = shares.get_mut(share) {
            share.push((name(agent), Values::of_agent(shape, agent, plan.seed)));
        }
    }
    shares
}

/// Everyone pushes once, new values each time.
async fn push_round(shares: Vec<Vec<Sender>>, shape: &Shape, http: SocketAddr) -> Result<Vec<Vec<Sender>>> {
    let shape = shape.clone();
    blocking(move || {
        std::thread::scope(|scope| {
            let push = |share| scope.spawn(|| push_share(share, &shape, http));
            let pushing: Vec<_> = shares.into_iter().map(push).collect();
            pushing
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    })
    .await
}

fn push_share(mut share: Vec<Sender>, shape: &Shape, http: SocketAddr) -> Result<Vec<Sender>> {
    let mut client = Client::connect(http)?;
    for (name, values) in &mut share {
        let body = text(shape, &values.next_round());
        let path = format!("/metrics/job/node/instance/{name}");
        let answer = client.put(&path, body.as_bytes())?;
        if answer.status / 100 != 2 {
            return Err(Error::Http { path, what: format!("status {}", answer.status) });
        }
    }
    Ok(share)
}

/// A push as the text format has it.
fn text(shape: &Shape, values: &[f64]) -> String {
    let mut out = String::new();
    let mut values = values.iter();
    for shaped in shape.families() {
        let family = &shaped.family;
        let kind = serde_json::to_value(family.kind).unwrap_or_default();
        let _a_string_takes_all = writeln!(
            out,
            "# HELP {0} {1}\n# TYPE {0} {2}",
            family.name,
            family.help,
            kind.as_str().unwrap_or("untyped")
        );
        for (series, value) in family.series.iter().zip(values.by_ref()) {
            out.push_str(&family.name);
            for (at, (name, text)) in series.labels.iter().enumerate() {
                let _a_string_takes_all = write!(out, "{}{name}=\"{text}\"", if at == 0 { '{' } else { ',' });
            }
            let _a_string_takes_all = writeln!(out, "}} {value}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_every_series_once() {
        let shape = Shape::new(30, 7);
        let values: Vec<f64> = (0..30).map(f64::from).collect();
        let text = text(&shape, &values);
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(samples.len(), 30);
        for (at, line) in samples.iter().enumerate() {
            assert!(line.starts_with("node_") && line.ends_with(&format!("\"}} {at}")), "{line}");
        }
    }
}
