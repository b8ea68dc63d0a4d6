//! `fleetgauge forget`: agents that are gone for good leave the page, tombstones and all.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;

use crate::http::Http;
use crate::output::{self, Output};

/// Make an aggregator forget agents.
///
/// Their series, tombstones and counters go at once; what the history has of them stays. One that is
/// connected comes back by itself after some seconds: stop it first. It takes a token with the scope admin.
#[derive(Args)]
#[command(after_help = "Examples:
  fleetgauge forget huginn
  fleetgauge forget 'web-*' --dry-run
  fleetgauge forget 'web-?' --http https://aggregator:9400 --token-file admin.token")]
pub(crate) struct Forget {
    /// The agents' names: `*` is any text, `?` any one character.
    #[arg(value_parser = pattern)]
    pattern: String,
    /// Only say who it would be.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    http: Http,
}

#[derive(Debug, Deserialize)]
struct Answer {
    dry_run: bool,
    forgotten: Vec<One>,
}

#[derive(Debug, Deserialize)]
struct One {
    name: String,
    connected: bool,
}

impl Forget {
    pub(crate) fn run(&self) -> Result<(), ExitCode> {
        let target = self.http.resolve()?;
        // What else may stand in a pattern means nothing else in a path.
        let pattern = self.pattern.replace('?', "%3F");
        let query = if self.dry_run { "?dry_run=true" } else { "" };
        let reply = target.delete(&format!("/api/v1/agents/{pattern}{query}"))?;
        let answer: Answer = target.read(&reply)?;
        let mut out = Output::stdout();
        let written = answer.lines().try_for_each(|line| writeln!(out, "{line}"));
        output::ended(written.and_then(|()| out.finish()), "standard output")
    }
}

impl Answer {
    fn lines(&self) -> impl Iterator<Item = String> {
        let done = if self.dry_run { "would be forgotten" } else { "forgotten" };
        self.forgotten.iter().map(move |One { name, connected }| {
            let back = if *connected { ", and comes back unless it is stopped: it is connected" } else { "" };
            format!("{name} {done}{back}")
        })
    }
}

fn pattern(text: &str) -> Result<String, String> {
    if security::glob::is_pattern(text) {
        Ok(text.to_owned())
    } else {
        Err("accepted: a name such as huginn, or a pattern such as web-* or web-?".to_owned())
    }
}
