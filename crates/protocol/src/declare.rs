//! Is a declaration fit for the page? A page is valid whatever one sender does, so what could
//! make Prometheus refuse it is refused here, at the door, with a reason.
//!
//! Agents ask the same functions before they send.

use crate::Labels;
use crate::frame::{Declare, Family, Hello, MetricType, RefuseCode, Series};
use crate::limits::{
    AGENT_LABELS_MAX, FEATURES_MAX, HELP_BYTES_MAX, INFO_MAX, LABEL_VALUE_BYTES_MAX, NAME_BYTES_MAX,
    SERIES_LABEL_BYTES_MAX, SERIES_LABELS_MAX, UNIT_BYTES_MAX,
};
use crate::names::{AgentName, is_label_name, is_metric_name, is_reserved_family, is_reserved_label, is_session};

/// What is wrong with a declaration or a `hello`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unfit {
    /// For a program.
    pub code: RefuseCode,
    /// For a person.
    pub reason: String,
}

fn unfit<T>(code: RefuseCode, reason: String) -> Result<T, Unfit> {
    Err(Unfit { code, reason })
}

/// Checks names, labels and limits of a `hello`, and gives the agent's name.
///
/// # Errors
/// What is wrong with it.
pub fn check_hello(hello: &Hello) -> Result<AgentName, Unfit> {
    let name = AgentName::parse(&hello.agent).or_else(|error| unfit(RefuseCode::BadName, error.to_string()))?;
    if !is_session(&hello.session) {
        return unfit(RefuseCode::BadName, "a session is 1 to 64 characters of A-Z a-z 0-9 -".into());
    }
    if hello.features.len() > FEATURES_MAX {
        return unfit(RefuseCode::Limit, format!("more than {FEATURES_MAX} features"));
    }
    check_agent_labels(&hello.labels)?;
    check_labels(&hello.info, INFO_MAX, "the agent's info")?;
    Ok(name)
}

/// Checks the labels that an agent gives to all its series.
///
/// # Errors
/// What is wrong with them.
pub fn check_agent_labels(labels: &Labels) -> Result<(), Unfit> {
    check_labels(labels, AGENT_LABELS_MAX, "the agent's labels")?;
    match ["le", "quantile"].into_iter().find(|name| labels.get(name).is_some()) {
        Some(name) => {
            unfit(RefuseCode::Reserved, format!("label {name} belongs to histograms and summaries, not to an agent"))
        }
        None => Ok(()),
    }
}

/// Checks one `declare` line by itself: names, labels, types, limits, and that no series stands
/// in it twice. How it fits the lines before it is the receiver's to check.
///
/// # Errors
/// What is wrong with it.
pub fn check_declare(declare: &Declare) -> Result<(), Unfit> {
    if declare.name.is_empty() || declare.name.len() > NAME_BYTES_MAX {
        return unfit(RefuseCode::BadName, format!("a set's name has 1 to {NAME_BYTES_MAX} bytes"));
    }
    if declare.job.as_ref().is_some_and(|job| job.is_empty() || job.len() > LABEL_VALUE_BYTES_MAX) {
        return unfit(RefuseCode::BadName, format!("a job has 1 to {LABEL_VALUE_BYTES_MAX} bytes"));
    }
    for family in &declare.families {
        check_family(family)?;
        if family.series.is_empty() {
            return unfit(RefuseCode::BadSeries, format!("family {} has no series", family.name));
        }
        for series in &family.series {
            check_series(family, series)?;
        }
    }
    Ok(())
}

/// Checks a family's own fields.
///
/// # Errors
/// What is wrong with it.
pub fn check_family(family: &Family) -> Result<(), Unfit> {
    let name = &family.name;
    if !is_metric_name(name) {
        return unfit(RefuseCode::BadName, format!("{} names no metric", quoted(name)));
    }
    if owned_names(family.kind, name).any(|owned| is_reserved_family(&owned)) {
        return unfit(RefuseCode::Reserved, format!("family {name} is not an agent's to send"));
    }
    if family.help.len() > HELP_BYTES_MAX {
        return unfit(RefuseCode::BadName, format!("the help of {name} is longer than {HELP_BYTES_MAX} bytes"));
    }
    let unit = &family.unit;
    if !unit.is_empty() && (unit.len() > UNIT_BYTES_MAX || !is_metric_name(unit)) {
        return unfit(RefuseCode::BadName, format!("the unit of {name} is {}", quoted(unit)));
    }
    Ok(())
}

/// The names that a family owns on a page: its own, and those of its flattened series.
pub fn owned_names(kind: MetricType, name: &str) -> impl Iterator<Item = String> {
    let suffixes: &[&str] = match kind {
        MetricType::Histogram => &["", "_bucket", "_sum", "_count"],
        MetricType::Summary => &["", "_sum", "_count"],
        MetricType::Counter | MetricType::Gauge | MetricType::Untyped => &[""],
    };
    suffixes.iter().map(move |suffix| format!("{name}{suffix}"))
}

/// Checks one series of a family.
///
/// # Errors
/// What is wrong with it.
pub fn check_series(family: &Family, series: &Series) -> Result<(), Unfit> {
    check_labels(&series.labels, SERIES_LABELS_MAX, &family.name)?;
    let (le, quantile) = (series.labels.get("le"), series.labels.get("quantile"));
    let fits = match (family.kind, series.suffix.as_str()) {
        (MetricType::Histogram, "_bucket") => le.is_some_and(is_bound),
        (MetricType::Histogram, "_sum" | "_count") => le.is_none(),
        (MetricType::Summary, "") => quantile.is_some_and(is_bound),
        (MetricType::Summary, "_sum" | "_count") => quantile.is_none(),
        (MetricType::Histogram | MetricType::Summary, _) => false,
        (_, suffix) => suffix.is_empty(),
    };
    if fits {
        return Ok(());
    }
    let (name, kind, suffix) = (&family.name, family.kind, quoted(&series.suffix));
    unfit(
        RefuseCode::BadSeries,
        format!("{name} is a {kind:?} and cannot have a series with suffix {suffix} and labels {:?}", series.labels.0),
    )
}

/// A bucket's bound or a quantile: a number as Prometheus reads it.
fn is_bound(text: &str) -> bool {
    text == "+Inf" || text.parse::<f64>().is_ok_and(f64::is_finite)
}

fn check_labels(labels: &Labels, max: usize, of: &str) -> Result<(), Unfit> {
    if labels.0.len() > max {
        return unfit(RefuseCode::Limit, format!("{of}: more than {max} labels"));
    }
    if labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > SERIES_LABEL_BYTES_MAX {
        return unfit(RefuseCode::Limit, format!("{of}: more than {SERIES_LABEL_BYTES_MAX} bytes of labels"));
    }
    for (at, (name, value)) in labels.iter().enumerate() {
        if is_reserved_label(name) {
            return unfit(RefuseCode::Reserved, format!("{of}: label {} is not an agent's to set", quoted(name)));
        }
        if !is_label_name(name) {
            return unfit(RefuseCode::BadName, format!("{of}: {} names no label", quoted(name)));
        }
        if value.len() > LABEL_VALUE_BYTES_MAX {
            return unfit(
                RefuseCode::BadName,
                format!("{of}: the value of {name} is longer than {LABEL_VALUE_BYTES_MAX} bytes"),
            );
        }
        if labels.iter().take(at).any(|(earlier, _)| earlier == name) {
            return unfit(RefuseCode::Duplicate, format!("{of}: label {name} stands twice in one series"));
        }
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(80).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(name: &str, kind: MetricType) -> Family {
        Family { name: name.into(), kind, help: String::new(), unit: String::new(), series: vec![] }
    }

    #[track_caller]
    fn check(name: &str, kind: MetricType, suffix: &str, labels: &[(&str, &str)], expected: Option<RefuseCode>) {
        let mut family = family(name, kind);
        family.series.push(Series { suffix: suffix.into(), labels: Labels::of(labels) });
        let declare = Declare { set: 1, name: "x".into(), job: None, offset: 0, total: 1, families: vec![family] };
        assert_eq!(check_declare(&declare).err().map(|unfit| unfit.code), expected);
    }

    #[test]
    fn what_would_make_prometheus_refuse_the_page_is_refused_here() {
        use MetricType::*;
        use RefuseCode::*;
        check("node_load1", Gauge, "", &[], None);
        check("node_cpu_seconds_total", Counter, "", &[("cpu", "0"), ("mode", "a\"\\\n")], None);
        check("a", Gauge, "", &[("x", "1"), ("x", "2")], Some(Duplicate));
        check("a", Gauge, "", &[("__name__", "b")], Some(Reserved));
        check("a", Gauge, "", &[("instance", "b")], Some(Reserved));
        check("a", Gauge, "", &[("job", "b")], Some(Reserved));
        check("a", Gauge, "", &[("a-b", "b")], Some(BadName));
        check("a", Gauge, "", &[("x", &"y".repeat(1025))], Some(BadName));
        check("a b", Gauge, "", &[], Some(BadName));
        check("", Gauge, "", &[], Some(BadName));
        check("up", Gauge, "", &[], Some(Reserved));
        check("scrape", Histogram, "_count", &[], Some(Reserved));
        check("scrape", Gauge, "", &[], None);
        check("fleetgauge_agent", Summary, "_sum", &[], Some(Reserved));
        check("a", Gauge, "_sum", &[], Some(BadSeries));
        check("a", Histogram, "_bucket", &[("le", "0.5")], None);
        check("a", Histogram, "_bucket", &[("le", "+Inf")], None);
        check("a", Histogram, "_bucket", &[("le", "many")], Some(BadSeries));
        check("a", Histogram, "_bucket", &[], Some(BadSeries));
        check("a", Histogram, "", &[], Some(BadSeries));
        check("a", Summary, "", &[("quantile", "0.9")], None);
        check("a", Summary, "_count", &[], None);
        check("a", Summary, "_bucket", &[("le", "1")], Some(BadSeries));
    }

    #[test]
    fn a_family_without_series_is_refused() {
        let families = vec![family("a", MetricType::Gauge)];
        let declare = Declare { set: 1, name: "x".into(), job: None, offset: 0, total: 0, families };
        assert_eq!(check_declare(&declare).map_err(|unfit| unfit.code), Err(RefuseCode::BadSeries));
    }

    #[test]
    fn a_label_of_33_is_one_too_many() {
        let names: Vec<String> = (0..33).map(|i| format!("l{i}")).collect();
        let labels: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
        check("a", MetricType::Gauge, "", &labels[..32], None);
        check("a", MetricType::Gauge, "", &labels, Some(RefuseCode::Limit));
    }
}
