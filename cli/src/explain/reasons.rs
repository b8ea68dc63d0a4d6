//! What an aggregator's answer means for somebody who misses something. Pure.

use serde::Serialize;

use super::ago;
use super::answer::{Conflict, Found, Known, Metric, One, Refused, Sample};

/// One thing that is known about why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Reason {
    /// For a program.
    pub(super) reason: &'static str,
    /// For a person.
    pub(super) text: String,
}

fn reason(reason: &'static str, text: impl Into<String>) -> Reason {
    Reason { reason, text: text.into() }
}

/// Refusals older than this are told only of agents that are not there.
const RECENT_SECONDS: f64 = 600.0;

/// What is to be said about the agent itself. `None`: nobody ever heard of it.
pub(super) fn agent_reasons(one: Option<&One>, now: f64) -> Vec<Reason> {
    let Some(one) = one else {
        let text = "no agent of this name was ever heard, or its tombstone has gone; is it running, and does its FLEETGAUGE_AGGREGATOR lead here?";
        return vec![reason("never_heard", text)];
    };
    let mut reasons: Vec<Reason> = presence(one, now).into_iter().collect();
    let is_told = |refused: &&Refused| !one.up || now - refused.at < RECENT_SECONDS;
    reasons.extend(one.refusals.iter().rev().filter(is_told).map(|refused| refusal(refused, now)));
    if let Some(known) = &one.known {
        reasons.extend(limits(one, known));
        reasons.extend(losses(known));
    }
    let memory = match one.overload.state.as_str() {
        "soft" => "nobody new is let in, and no new sets",
        "hard" => "nobody is let in, and the newest agents are sent away",
        _ => return reasons,
    };
    reasons.push(reason("overload", format!("the aggregator's memory is short: {memory}")));
    reasons
}

/// Why the agent itself is not on the page.
fn presence(one: &One, now: f64) -> Option<Reason> {
    let none = Known::default();
    let known = one.known.as_ref().unwrap_or(&none);
    let seen = || format!("its last push was shown {} ago", ago(now - known.last_seen));
    let connected = || ago(now - known.connected_since.unwrap_or(now));
    Some(match one.state.as_str() {
        "unknown" => reason("never_accepted", "no push of this agent was ever accepted, but it was refused"),
        "connected" if !one.pushed => {
            reason("no_push", format!("it has been connected for {} and has not pushed yet", connected()))
        }
        "connected" if !one.up => {
            let text = format!("it is connected, but {}: what it pushes is late, or it does not push", seen());
            reason("silent", text)
        }
        "connected" | "leaving" if !one.on_page && known.hidden_for_seconds > 0.0 => {
            let text = format!("another aggregator may still show it, for {}", ago(known.hidden_for_seconds));
            reason("shown_elsewhere", text)
        }
        "leaving" if one.up => {
            reason("connection_lost", "its connection broke a moment ago; its series go within seconds")
        }
        "expected" => {
            let text =
                format!("it was there before this aggregator was started, and has not come back yet; {}", seen());
            reason("expected", text)
        }
        "gone" | "leaving" => {
            let tombstone = known.forgotten_in_seconds.map(|left| format!("; its tombstone stays for {}", ago(left)));
            reason("expired", format!("it is gone: {}{}", seen(), tombstone.unwrap_or_default()))
        }
        _ => return None,
    })
}

fn refusal(refused: &Refused, now: f64) -> Reason {
    let Refused { at, address, code, reason: why, count } = refused;
    let times = if *count > 1 { format!(", {count} times in a row") } else { String::new() };
    reason("refused", format!("{} ago{times}, from {address}: {code}, {why}", ago(now - at)))
}

fn limits(one: &One, known: &Known) -> Vec<Reason> {
    let over = known.limits_exceeded.iter().filter(|(_, times)| **times > 0);
    let what = if one.limits.enforced { "enforced" } else { "only counted" };
    over.map(|(limit, times)| {
        let of = if limit == "series" {
            format!(" ({} of {})", known.series_declared, known.series_granted)
        } else {
            String::new()
        };
        reason("limit", format!("it went over its limit of {limit}{of} {times} times; limits are {what}"))
    })
    .collect()
}

/// What did not come, or came and was dropped.
fn losses(known: &Known) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for (why, samples) in known.samples_missing.iter().filter(|(_, samples)| **samples > 0) {
        reasons.push(reason("missing", format!("the agent itself lost {samples} samples: {why}")));
    }
    for (why, samples) in known.samples_dropped.iter().filter(|(_, samples)| **samples > 0) {
        reasons.push(reason("dropped", format!("{samples} of its samples were dropped: {why}")));
    }
    if known.backlog_seconds > 0.0 {
        reasons.push(reason(
            "backlog",
            format!("pushes wait in it, the oldest was measured {} ago", ago(known.backlog_seconds)),
        ));
    }
    reasons.extend(known.conflicts.iter().map(conflict));
    reasons
}

fn conflict(conflict: &Conflict) -> Reason {
    let Conflict { family, declared_as, shown_as, with } = conflict;
    let whose = with.as_ref().map_or_else(String::new, |with| {
        let of = with.agent.as_ref().map_or_else(|| "the aggregator".to_owned(), |agent| format!("agent {agent}"));
        format!(" because of the {} {} of {of}", with.r#type, with.family)
    });
    match shown_as {
        Some(shown) => {
            reason("type_conflict", format!("{family} is a {declared_as} here, and is shown as {shown}{whose}"))
        }
        None => reason("conflict", format!("{family}, a {declared_as}, is kept off the page{whose}")),
    }
}

/// Whether a metric of an agent is on the page, and why not. `success` and `unsent` are what the
/// agent's collectors say of themselves.
pub(super) fn metric_reasons(one: &One, metric: &str, success: &Metric, unsent: &Metric) -> (bool, Vec<Reason>) {
    let found = one.metric.as_ref().map_or(&[][..], |metric| &metric.found);
    let is_there = found.iter().any(|found| found.present > 0 && !found.is_blocked());
    if !found.is_empty() {
        return (is_there, found.iter().filter_map(absent).collect());
    }
    let none = Known::default();
    let known = one.known.as_ref().unwrap_or(&none);
    if !one.up {
        return (false, Vec::new());
    }
    let mut reasons = Vec::new();
    for set in &known.sets {
        if let Some(why) = &set.failed {
            reasons.push(reason("failed_set", format!("the set {} failed, and it may be there: {why}", set.name)));
        }
    }
    for sample in samples(success).filter(|sample| sample.value == "0") {
        let text =
            format!("the collector {} could not read everything; the agent's log says why", label(sample, "collector"));
        reasons.push(reason("failed_collector", text));
    }
    for sample in samples(unsent).filter(|sample| sample.value != "0") {
        let (collector, why) = (label(sample, "collector"), label(sample, "reason"));
        reasons.push(reason(
            "not_sent",
            format!("{} samples of the collector {collector} were not sent: {why}", sample.value),
        ));
    }
    let sets: Vec<&str> = known.sets.iter().map(|set| set.name.as_str()).collect();
    // A collector whose samples find no room is on, and its set is most likely the one that is missed.
    let is_missing = |sample: &Sample| sample.value != "0" && !sets.contains(&label(sample, "collector"));
    let is_cut = samples(unsent).any(|sample| label(sample, "reason") == "limit" && is_missing(sample));
    let because = if is_cut {
        "it may be in one that there is no room for (FLEETGAUGE_MAX_SERIES_PER_AGENT of the aggregator); or its"
    } else {
        "its"
    };
    let text = format!(
        "none of the agent's sets has {metric}: {because} collector is off (FLEETGAUGE_COLLECTORS), a filter leaves it out, or this host does not have what it tells of; the sets are {}",
        if sets.is_empty() { "none".to_owned() } else { sets.join(", ") }
    );
    reasons.push(reason("never_sent", text));
    (false, reasons)
}

/// Why a family that the agent has is not there.
fn absent(found: &Found) -> Option<Reason> {
    let Found { set, family, series, present, .. } = found;
    if let Some(clash) = &found.conflict {
        return Some(conflict(clash));
    }
    (*present == 0).then(|| {
        let text = format!("the set {set} has {series} series of {family}, and none of them has a value now");
        reason("no_value", text)
    })
}

fn samples(metric: &Metric) -> impl Iterator<Item = &Sample> {
    metric.found.iter().flat_map(|found| &found.samples)
}

/// A label of a sample; the names of collectors and reasons need no escapes.
fn label<'a>(sample: &'a Sample, name: &str) -> &'a str {
    let begin = format!("{name}=\"");
    let after = sample.series.split([',', '{']).find_map(|part| part.strip_prefix(begin.as_str()));
    after.and_then(|rest| rest.split('"').next()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn names(reasons: &[Reason]) -> Vec<&'static str> {
        reasons.iter().map(|reason| reason.reason).collect()
    }

    #[track_caller]
    fn check(answer: Value, expected: &[&str], words: &str) {
        let one: One = serde_json::from_value(answer).unwrap();
        let reasons = agent_reasons(Some(&one), 1000.0);
        assert_eq!(names(&reasons), expected, "{reasons:?}");
        let text: String = reasons.into_iter().map(|reason| reason.text).collect();
        assert!(text.contains(words), "{text}");
    }

    #[test]
    fn about_an_agent() {
        assert_eq!(names(&agent_reasons(None, 0.0)), ["never_heard"]);
        let refused = json!([{"at": 10, "address": "192.0.2.1:4", "code": "limit", "reason": "too many", "count": 3}]);
        check(
            json!({"state": "unknown", "refusals": refused}),
            &["never_accepted", "refused"],
            "16m 30s ago, 3 times in a row, from 192.0.2.1:4: limit, too many",
        );
        check(json!({"state": "connected", "pushed": true, "up": true, "on_page": true, "refusals": refused}), &[], "");
        check(json!({"state": "connected", "known": {"connected_since": 990.0}}), &["no_push"], "for 10s");
        check(json!({"state": "connected", "pushed": true, "known": {"last_seen": 940.0}}), &["silent"], "1m ago");
        let hidden = json!({"state": "connected", "pushed": true, "up": true, "known": {"hidden_for_seconds": 4.0}});
        check(hidden, &["shown_elsewhere"], "for 4s");
        check(
            json!({"state": "gone", "pushed": true, "known": {"last_seen": 0.0, "forgotten_in_seconds": 60.0}}),
            &["expired"],
            "stays for 1m",
        );
        check(
            json!({"state": "expected", "pushed": true, "known": {}}),
            &["expected"],
            "before this aggregator was started",
        );
        let much = json!({"state": "connected", "pushed": true, "up": true, "on_page": true, "overload": {"state": "hard"}, "limits": {"enforced": false},
            "known": {"limits_exceeded": {"series": 2, "labels": 0}, "series_declared": 11, "series_granted": 10, "backlog_seconds": 5.0,
                "samples_missing": {"spool_full": 7}, "samples_dropped": {"late": 1, "conflict": 0},
                "conflicts": [{"family": "x", "declared_as": "gauge", "shown_as": "counter", "with": {"family": "x", "type": "counter", "agent": "b"}}]}});
        check(
            much,
            &["limit", "missing", "dropped", "backlog", "type_conflict", "overload"],
            "(11 of 10) 2 times; limits are only counted",
        );
    }

    #[track_caller]
    fn check_metric(found: Value, expected: &[&str], is_there: bool, words: &str) {
        let one = json!({"state": "connected", "up": true, "on_page": true, "metric": {"found": found},
            "known": {"sets": [{"name": "hwmon", "failed": "permission denied"}, {"name": "cpu"}]}});
        let one: One = serde_json::from_value(one).unwrap();
        let metric = |series: &str, value: &str| -> Metric {
            let found = json!([{"set": "s", "family": "f", "series": 1, "present": 1, "samples": [{"series": series, "value": value}]}]);
            serde_json::from_value(json!({"found": found})).unwrap()
        };
        let success = metric("fleetgauge_collector_success{collector=\"disk\",instance=\"a\"}", "0");
        let unsent = metric("fleetgauge_collector_dropped_series_total{collector=\"text\",reason=\"limit\"}", "12");
        let (there, reasons) = metric_reasons(&one, "m", &success, &unsent);
        assert_eq!((there, names(&reasons).as_slice()), (is_there, expected), "{reasons:?}");
        let text: String = reasons.into_iter().map(|reason| reason.text).collect();
        assert!(text.contains(words), "{text}");
    }

    #[test]
    fn about_a_metric() {
        let never = ["failed_set", "failed_collector", "not_sent", "never_sent"];
        check_metric(json!([]), &never, false, "collector disk could not");
        check_metric(json!([]), &never, false, "12 samples of the collector text were not sent: limit");
        check_metric(json!([]), &never, false, "has m: it may be in one that there is no room for");
        let mut found = json!([{"set": "cpu", "family": "m", "series": 2, "present": 0}]);
        check_metric(found.clone(), &["no_value"], false, "the set cpu has 2 series of m");
        found[0]["present"] = 1.into();
        check_metric(found.clone(), &[], true, "");
        let with = json!({"family": "m", "type": "histogram", "agent": "b"});
        found[0]["conflict"] = json!({"family": "m", "declared_as": "gauge", "with": with});
        check_metric(found.clone(), &["conflict"], false, "kept off the page because of the histogram m of agent b");
        found[0]["conflict"]["shown_as"] = "counter".into();
        check_metric(found, &["type_conflict"], true, "is shown as counter");
    }
}
