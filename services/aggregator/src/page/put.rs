//! `fleetgauge_put`: what programs put a short while ago, as gauges. A key is `instance` and
//! `name`, cut at one of its dots, so no two keys are one series.

use protocol::frame::MetricType;
use protocol::limits::{AGENT_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX};

use super::own::AgentFamily;

/// The family. Without a `job`, as nobody can say whose job it was: Prometheus adds the one under
/// which it scrapes the aggregator, and its `instance` where a key has none.
pub const PUT: AgentFamily = AgentFamily {
    name: "fleetgauge_put",
    kind: MetricType::Gauge,
    labels: "`instance`, `name`",
    help: "The newest value of a key that a program put a short while ago.",
};

/// How a key is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named<'a> {
    pub(super) instance: Option<&'a str>,
    pub(super) name: &'a str,
}

impl<'a> Named<'a> {
    /// What stands before a dot is the instance: the longest agent's name, else what stands before
    /// the first one. A key that has nothing before its dot, or nothing behind it, is a name.
    pub(super) fn new(key: &'a str, is_agent: impl Fn(&str) -> bool) -> Self {
        let cut = |at: usize| {
            let (instance, rest) = key.split_at_checked(at)?;
            let name = rest.strip_prefix('.')?;
            (!instance.is_empty() && !name.is_empty()).then_some(Self { instance: Some(instance), name })
        };
        let dots = key.match_indices('.').map(|(at, _)| at);
        let cuts = dots.take_while(|at| *at <= AGENT_NAME_BYTES_MAX).filter_map(cut);
        let of_agents = cuts.filter(|cut| cut.instance.is_some_and(&is_agent));
        let first = || key.find('.').and_then(cut);
        of_agents.last().or_else(first).unwrap_or(Self { instance: None, name: key })
    }

    /// May labels be so long?
    pub(super) fn fits(self) -> bool {
        self.name.len() <= LABEL_VALUE_BYTES_MAX
            && self.instance.is_none_or(|instance| instance.len() <= LABEL_VALUE_BYTES_MAX)
    }

    pub(super) fn labels(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.instance.map(|instance| ("instance", instance)).into_iter().chain([("name", self.name)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, agents: &[&str], instance: Option<&str>, name: &str) {
        assert_eq!(Named::new(key, |name| agents.contains(&name)), Named { instance, name });
    }

    #[test]
    fn the_longest_agent_is_the_instance() {
        let agents = &["huginn", "huginn.example", "huginn.example.org", "a.", ".b", "x.y"];
        check("huginn.cpu", agents, Some("huginn"), "cpu");
        check("huginn.example.cpu", agents, Some("huginn.example"), "cpu");
        check("huginn.example.org.cpu.0", agents, Some("huginn.example.org"), "cpu.0");
        check("huginn.example.or.cpu", agents, Some("huginn.example"), "or.cpu");
        check("huginn.example", agents, Some("huginn"), "example");
        check("huginnx.cpu", agents, Some("huginnx"), "cpu");
        check("a..z", agents, Some("a."), "z");
        check(".b.z", agents, Some(".b"), "z");
        check("x.y", agents, Some("x"), "y");
        check("x.y.", agents, Some("x"), "y.");
        check("huginn", agents, None, "huginn");
        check("huginn.", agents, None, "huginn.");
    }

    #[test]
    fn without_an_agent_the_first_dot_counts() {
        check("muninn.disk.free", &[], Some("muninn"), "disk.free");
        check("a..b", &[], Some("a"), ".b");
        check("ä.ö", &[], Some("ä"), "ö");
        for whole in ["", "x", ".", "..", ".x", "x.", ".x.y", "..x", "*"] {
            check(whole, &[], None, whole);
        }
    }

    #[test]
    fn a_label_is_not_too_long() {
        let fits = |key: String| Named::new(&key, |_| false).fits();
        let long = "x".repeat(LABEL_VALUE_BYTES_MAX);
        assert!(fits(long.clone()) && fits(format!("{long}.{long}")));
        assert!(!fits(format!("{long}x")) && !fits(format!("{long}x.y")) && !fits(format!("y.x{long}")));
        let longest_agent = "a".repeat(AGENT_NAME_BYTES_MAX);
        check(
            &format!("b.{}.x", &longest_agent[2..]),
            &[&format!("b.{}", &longest_agent[2..])],
            Some(&format!("b.{}", &longest_agent[2..])),
            "x",
        );
    }
}
