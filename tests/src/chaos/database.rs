//! What somebody has in the end who scraped the page and took remote write: a real Prometheus, or the
//! looks and the receiver of this suite, which say the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::looks::{self, Look, Series};
use crate::prometheus::Prometheus;
use crate::remote_write::{Labels, Receiver};

/// What `increase()` may be off by over minutes, and over less: it extrapolates by up to an interval at
/// each end.
const OFF_MAX: (f64, f64) = (0.01, 0.05);
const MINUTES_MS: i64 = 300_000;

/// One of the two.
#[derive(Debug)]
pub enum Database {
    /// This suite's own.
    Own(Receiver),
    /// A real one.
    Prometheus(Box<Prometheus>),
}

impl Database {
    /// The real one where `program` is given, as compose.yaml configures it; it scrapes this target.
    pub async fn start(program: Option<&Path>, target: impl Fn() -> String, is_exact: bool, every: Duration) -> Self {
        let Some(program) = program else { return Self::Own(Receiver::start().await) };
        let scrape = format!(
            "  - job_name: fleetgauge\n    honor_labels: true\n    track_timestamps_staleness: {is_exact}\n    \
             scrape_interval: {every}ms\n    scrape_timeout: {every}ms\n    static_configs:\n      - targets: [\"{target}\"]\n",
            every = every.as_millis(),
            target = target(),
        );
        Self::Prometheus(Box::new(Prometheus::receiver(program, &scrape, "30m").await))
    }

    /// Where it takes remote write.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Own(receiver) => receiver.url(),
            Self::Prometheus(prometheus) => format!("http://{}/api/v1/write", prometheus.addr()),
        }
    }

    /// What was wrong with the remote write that it got, as far as it tells.
    #[must_use]
    pub fn broken(&self) -> Vec<String> {
        match self {
            Self::Own(receiver) => receiver.broken(),
            Self::Prometheus(_) => Vec::new(),
        }
    }

    /// What it took by remote write, in words.
    #[must_use]
    pub fn report(&self) -> String {
        match self {
            Self::Own(receiver) => {
                let (requests, samples) = receiver.counts();
                format!("remote write took {samples} samples in {requests} requests")
            }
            Self::Prometheus(_) => "a real Prometheus took all of it".to_owned(),
        }
    }

    /// When it looked at the page.
    ///
    /// # Errors
    /// When a real one does not say.
    pub async fn looks(&self, seen: &[Look]) -> Result<Vec<Look>, String> {
        match self {
            Self::Own(_) => Ok(seen.to_vec()),
            Self::Prometheus(prometheus) => {
                let scrapes = raw(prometheus, "up{job=\"fleetgauge\"}").await?;
                let look = |(at_ms, up): (i64, f64)| Look { is_page: up == 1.0, ..Look::missed(at_ms, at_ms) };
                Ok(scrapes.into_iter().map(look).collect())
            }
        }
    }

    /// A series that this agent has, by Unix millisecond, as numbers of measurements.
    ///
    /// # Errors
    /// When there are several, or it has other labels than the page; when a real one says that a counter
    /// grew by something else than its values say.
    pub async fn line(&self, agent: &str, series: Series, seen: &[Look]) -> Result<BTreeMap<i64, f64>, String> {
        let labels = series.labels(agent);
        let line = match self {
            Self::Own(receiver) => {
                let others: Vec<_> =
                    ["__name__", "instance", "k"].into_iter().filter_map(|name| labels.get_key_value(name)).collect();
                let fits = |other: &Labels| others.iter().all(|(name, value)| other.get(*name) == Some(value));
                if let Some(other) = receiver.series().into_iter().find(|other| fits(other) && *other != labels) {
                    return Err(format!("remote write has {other:?}, the page {labels:?}"));
                }
                let labels: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                looks::timeline(agent, series, seen, &receiver.samples(&labels))
            }
            Self::Prometheus(prometheus) => {
                let label = labels.get("k").map(|k| format!(",k=\"{k}\"")).unwrap_or_default();
                let name = labels.get("__name__").map(String::as_str).unwrap_or_default();
                let selector = format!("{name}{{instance=\"{agent}\"{label}}}");
                let line = raw(prometheus, &selector).await?;
                if !matches!(series, Series::Vital) {
                    check_functions(prometheus, &selector, &line).await?;
                }
                line
            }
        };
        Ok(line.into_iter().map(|(at, value)| (at, value / series.factor())).collect())
    }
}

async fn raw(prometheus: &Prometheus, series: &str) -> Result<BTreeMap<i64, f64>, String> {
    let data = prometheus.raw(&format!("{series}[2h]")).await.map_err(|error| error.to_string())?;
    let found = data.pointer("/result").and_then(Value::as_array).cloned().unwrap_or_default();
    let [one] = found.as_slice() else { return Err(format!("{series} are {} series", found.len())) };
    let pairs = one.pointer("/values").and_then(Value::as_array).cloned().unwrap_or_default();
    let pair = |pair: &Value| {
        let value = pair.get(1)?.as_str()?.parse().ok()?;
        #[expect(clippy::cast_possible_truncation, reason = "a time in milliseconds")]
        let at_ms = (pair.get(0)?.as_f64()? * 1000.0).round() as i64;
        Some((at_ms, value))
    };
    pairs.iter().map(|one| pair(one).ok_or_else(|| format!("{series}: {one}"))).collect()
}

/// Over the whole range there is no reset, and it grew by what lies between the first and the last.
async fn check_functions(prometheus: &Prometheus, series: &str, line: &BTreeMap<i64, f64>) -> Result<(), String> {
    let (Some((first, least)), Some((last, most))) = (line.first_key_value(), line.last_key_value()) else {
        return Err(format!("{series} has nothing"));
    };
    let range = last - first;
    #[expect(clippy::cast_precision_loss, reason = "a time in milliseconds")]
    let seconds = *last as f64 / 1000.0;
    let ask = async |function: &str| {
        let found = prometheus.query(&format!("{function}({series}[{range}ms] @ {seconds:.3})")).await;
        let found = found.map_err(|error| error.to_string())?;
        found.first().map(|one| one.value).ok_or_else(|| format!("{function}({series}) is nothing"))
    };
    let (resets, increase) = (ask("resets").await?, ask("increase").await?);
    let off_max = if range >= MINUTES_MS { OFF_MAX.0 } else { OFF_MAX.1 };
    let off = increase / (most - least) - 1.0;
    match resets == 0.0 && off.abs() <= off_max {
        true => Ok(()),
        false => Err(format!(
            "{series}: {resets} resets, an increase of {increase} where the values grew by {}",
            most - least
        )),
    }
}
