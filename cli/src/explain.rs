//! `fleetgauge explain`: why something is not on the page. The aggregator says what it knows
//! ([`answer`]); what that means is decided in [`reasons`].

mod answer;
mod reasons;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use protocol::AgentName;
use protocol::names::is_metric_name;
use serde::Serialize;

use self::answer::One;
use self::reasons::{Reason, agent_reasons, metric_reasons};
use crate::agents::now_seconds;
use crate::http::{Http, Target};
use crate::output::{self, Output};

/// Say why an agent, or a metric of it, is not on the page.
///
/// Prints `on the page` or `not on the page`, and a line for each reason that is known: never heard,
/// refused, expired, connected without a push, a conflict, a limit, a failed collector, never sent.
#[derive(Args)]
#[command(after_help = "Examples:
  fleetgauge explain huginn
  fleetgauge explain huginn node_load1
  fleetgauge explain huginn node_hwmon_temp_celsius --json | jq -r .reasons[].reason")]
pub(crate) struct Explain {
    /// The agent's name.
    #[arg(value_parser = agent_name)]
    agent: String,
    /// A metric's name.
    #[arg(value_parser = metric_name)]
    metric: Option<String>,
    /// Print one JSON object: {"agent":…,"metric":…,"on_page":…,"reasons":[{"reason":…,"text":…}],"samples":[…]}.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    http: Http,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Explanation {
    agent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric: Option<String>,
    on_page: bool,
    reasons: Vec<Reason>,
    samples: Vec<String>,
}

impl Explain {
    pub(crate) fn run(&self) -> Result<(), ExitCode> {
        let target = self.http.resolve()?;
        let explanation = self.explain(&target)?;
        let mut out = Output::stdout();
        let written = if self.json {
            serde_json::to_writer(&mut out, &explanation).map_err(Into::into).and_then(|()| writeln!(out))
        } else {
            explanation.lines().into_iter().try_for_each(|line| writeln!(out, "{line}"))
        };
        output::ended(written.and_then(|()| out.finish()), "standard output")
    }

    fn explain(&self, target: &Target) -> Result<Explanation, ExitCode> {
        let path = format!("/api/v1/agents/{}", self.agent);
        let of = |metric: &str| ask(target, &format!("{path}?metric={metric}"));
        let one = match &self.metric {
            Some(metric) => of(metric)?,
            None => ask(target, &path)?,
        };
        let now = now_seconds();
        let mut reasons = agent_reasons(one.as_ref(), now);
        let mut on_page = one.as_ref().is_some_and(|one| one.on_page);
        let mut samples = Vec::new();
        if let (Some(metric), Some(one)) = (&self.metric, &one) {
            // What the agent's collectors say of themselves is on the page too.
            let own = |name: &str| Ok::<_, ExitCode>(of(name)?.and_then(|one| one.metric).unwrap_or_default());
            let (success, unsent) =
                (own("fleetgauge_collector_success")?, own("fleetgauge_collector_dropped_series_total")?);
            let (is_there, of_metric) = metric_reasons(one, metric, &success, &unsent);
            reasons.extend(of_metric);
            on_page = on_page && is_there;
            samples = one.metric.iter().flat_map(answer::Metric::samples).collect();
        }
        let (agent, metric) = (self.agent.clone(), self.metric.clone());
        Ok(Explanation { agent, metric, on_page, reasons, samples })
    }
}

/// `None`: nobody ever heard of the agent.
fn ask(target: &Target, path: &str) -> Result<Option<One>, ExitCode> {
    let reply = target.get(path)?;
    if reply.status == 404 { Ok(None) } else { target.read(&reply).map(Some) }
}

impl Explanation {
    fn lines(&self) -> Vec<String> {
        let what = match &self.metric {
            Some(metric) => format!("{metric} of {}", self.agent),
            None => self.agent.clone(),
        };
        let is = if self.on_page { "is" } else { "is not" };
        let mut lines = vec![format!("{what} {is} on the page")];
        lines.extend(self.reasons.iter().map(|reason| format!("- {}: {}", reason.reason, reason.text)));
        lines.extend(self.samples.iter().map(|sample| format!("  {sample}")));
        lines
    }
}

/// A length of time for a person: `1m 2s`.
pub(crate) fn ago(seconds: f64) -> String {
    let whole = Duration::from_secs_f64(if seconds.is_finite() { seconds.clamp(0.0, 1e10).round() } else { 0.0 });
    humantime::format_duration(whole).to_string()
}

fn agent_name(text: &str) -> Result<String, String> {
    AgentName::parse(text).map(|name| name.to_string()).map_err(|error| error.to_string())
}

fn metric_name(text: &str) -> Result<String, String> {
    if is_metric_name(text) {
        Ok(text.to_owned())
    } else {
        Err("accepted: a metric's name such as node_load1, without labels".to_owned())
    }
}
