//! The judge of a world: settles it, and holds all that was acknowledged against what is there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::PoisonError;
use std::time::Duration;

use super::balance::Conservation;
use super::looks::{self, Look, Series};
use super::oracle::{self, SLACK_MS};
use super::putter::Putter;
use super::real::RealAgent;
use super::visible::Visible;
use super::world::{LOOKS_MAX, World, millis};
use super::written::{Owed, written};
use crate::http;
use crate::page::Page;
use crate::sim::{Fate, Sim, Tick};

/// Why samples may be dropped: their connection broke, or another one of their agent took over, before
/// their push was whole or acknowledged; it comes again.
const COMES_AGAIN: [&str; 2] = ["link_lost", "superseded"];
/// And, unless pages say when their values were measured, what may have been seen already.
const SEEN: &str = "on_page";

/// What was found, where nothing is wrong.
#[derive(Debug)]
pub struct Found {
    report: String,
    /// How many measurements came late and had to be written.
    pub owed: usize,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report)
    }
}

impl World {
    /// Settles everything and holds all that was acknowledged against what is there; then kills the
    /// aggregator and holds what is acknowledged for good against what the next one finds on the disk.
    ///
    /// # Errors
    /// What was lost, invented, frozen, torn, or is not accounted for.
    pub async fn judge(&mut self) -> Result<Found, String> {
        self.settle().await?;
        let found = self.check().await.map_err(|error| self.told(error))?;
        self.end_aggregator(true).await;
        self.start_aggregator().await?;
        let kept = self.check_disk().await;
        kept.map_err(|error| self.told(format!("after a last kill: {error}")))?;
        Ok(found)
    }

    async fn check_disk(&self) -> Result<(), String> {
        let looks = self.looks();
        for sim in &self.sims {
            self.check_history(sim, &sim.look(|state| state.ticks().to_vec()), &looks).await?;
        }
        for putter in &self.putters {
            putter.judge(self.ports().line).await?;
        }
        Ok(())
    }

    fn looks(&self) -> Vec<Look> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn check(&self) -> Result<Found, String> {
        let broken = self.database.broken();
        if !broken.is_empty() {
            return Err(format!("remote write was wrong: {broken:?}"));
        }
        if self.scraper.is_finished() {
            return Err(format!("more than {LOOKS_MAX} pages: scrape less often"));
        }
        let balance = self.at_rest().await?;
        self.check_acked(&balance)?;
        self.check_dropped(&self.page().await?)?;
        let looks = self.looks();
        let (mut ticks, mut late, mut owed) = (0, 0, 0);
        for sim in &self.sims {
            owed += self.check_sim(sim, &looks).await?;
            ticks += sim.look(|state| state.ticks().len());
            late += sim.look(|state| state.ticks().iter().filter(|tick| tick.fate == Fate::Late).count());
        }
        for agent in &self.agents {
            self.check_agent(agent, &looks).await?;
        }
        for putter in &self.putters {
            putter.judge(self.ports().line).await?;
        }
        let puts: usize = self.putters.iter().map(Putter::acknowledged).sum();
        let report = format!(
            "{} agents measured {ticks} times, {late} came late, {owed} had to be written; {puts} puts; {} pages; {} connections of the link; \
             {} starts of the aggregator; {}; {balance:?}",
            self.sims.len(),
            looks.iter().filter(|look| look.is_page).count(),
            self.link.connections(),
            self.lives.len(),
            self.database.report(),
        );
        Ok(Found { report, owed })
    }

    /// What this process has acknowledged it has put somewhere.
    fn check_acked(&self, balance: &Conservation) -> Result<(), String> {
        let (from, _) = self.lives.last().copied().unwrap_or_default();
        let acked = |sim: &Sim| {
            let is_acked = |tick: &&Tick| tick.fate != Fate::Open && tick.acked_ms() >= from;
            sim.look(|state| state.ticks().iter().filter(is_acked).count()) * (1 + sim.settings().counters)
        };
        let acked: usize = self.sims.iter().map(acked).sum();
        let seen = balance.dropped.get(SEEN).copied().unwrap_or_default();
        let placed = balance.visible + balance.stored + balance.forwarded + seen;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        match acked as f64 <= placed {
            true => Ok(()),
            false => Err(format!("{acked} samples were acknowledged, and {placed} are anywhere: {balance:?}")),
        }
    }

    /// Samples of who is judged are dropped only for the reasons that there are here.
    fn check_dropped(&self, page: &Page) -> Result<(), String> {
        let may_be = |reason: &str| COMES_AGAIN.contains(&reason) || (reason == SEEN && !self.plan.is_exact);
        let names: Vec<&str> = self.sims.iter().map(Sim::name).chain(self.agents.iter().map(RealAgent::name)).collect();
        let dropped = page.of("fleetgauge_agent_samples_dropped_total").filter(|sample| sample.value > 0.0);
        let mut wrong =
            dropped.filter(|sample| !may_be(sample.label("reason")) && names.contains(&sample.label("instance")));
        match wrong.next() {
            None => Ok(()),
            Some(sample) => Err(format!("samples were dropped: {sample:?}")),
        }
    }

    /// Waits until every sample is somewhere.
    async fn at_rest(&self) -> Result<Conservation, String> {
        let mut last = Err("not looked".to_owned());
        for _ in 0..100 {
            let balance = Conservation::of(&self.page().await?)?;
            last = balance.check().map(|()| balance);
            if last.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        last
    }

    /// Gives how many measurements came late and had to be written.
    async fn check_sim(&self, sim: &Sim, seen: &[Look]) -> Result<usize, String> {
        let truth = sim.look(|state| state.ticks().to_vec());
        let (name, counters) = (sim.name(), sim.settings().counters);
        let [scrape, interval] = [self.plan.scrape_every, sim.settings().interval].map(millis);
        let age_max = age_max_ms(interval);
        self.check_history(sim, &truth, seen).await?;
        self.check_taken_back(sim)?;
        oracle::pages(name, &truth, seen, counters, age_max).result()?;
        oracle::shown(name, &truth, seen, &self.lives, interval).result()?;
        let visible = self.not_written(name, seen);
        let gap_max = 2 * (scrape + interval);
        let scraped = self.database.looks(seen).await?;
        let unseen = |tick: &Tick| {
            looks::is_unseen(tick, &scraped, &self.lives, gap_max) || (tick.fate == Fate::Late && visible.covers(tick))
        };
        for series in Series::of_sim(counters) {
            let told = |error: String| format!("{series:?}: {error}");
            let line = self.database.line(name, series, seen).await?;
            oracle::late(name, &truth, &line, &visible).result().map_err(told)?;
            oracle::counter(name, &truth, &line, [interval, gap_max, age_max], unseen).result().map_err(told)?;
        }
        Ok(truth.iter().filter(|tick| tick.fate == Fate::Late && !visible.covers(tick)).count())
    }

    async fn check_history(&self, sim: &Sim, truth: &[Tick], seen: &[Look]) -> Result<(), String> {
        let excused = |tick: &Tick| looks::may_be_unsynced(tick, seen, &self.lives);
        let points = self.vitals_of(sim.name()).await?;
        oracle::history(sim.name(), truth, &points, excused).result()
    }

    /// A process never says that less is safe than it said before.
    fn check_taken_back(&self, sim: &Sim) -> Result<(), String> {
        let is_one_life = |times: &(i64, i64)| {
            self.lives.iter().any(|(from, until)| *from + SLACK_MS < times.0 && times.1 < *until - SLACK_MS)
        };
        let times = sim.look(|state| state.taken_back().to_vec());
        let mut times = times.into_iter().map(|(told, less)| (sim.wall_ms_at(told), sim.wall_ms_at(less)));
        match times.find(is_one_life) {
            None => Ok(()),
            Some(times) => Err(format!("{}: what was acknowledged is not, between {times:?}", sim.name())),
        }
    }

    /// When what an agent measured is not written if it comes late.
    fn not_written(&self, name: &str, seen: &[Look]) -> Visible {
        match self.plan.is_exact {
            true => Visible::never(),
            false => Visible::of(name, seen, millis(self.plan.scrape_every), &self.lives),
        }
    }

    async fn check_agent(&self, agent: &RealAgent, seen: &[Look]) -> Result<(), String> {
        let line = self.database.line(agent.name(), Series::Written, seen).await?;
        let [scrape, interval] = [self.plan.scrape_every, self.plan.interval].map(millis);
        let visible = self.not_written(agent.name(), seen);
        let excused: Vec<_> = agent.away().iter().copied().chain(visible.with_margin()).collect();
        let gap_max = 2 * (scrape + interval);
        let gone = self.lives.iter().zip(self.lives.iter().skip(1)).map(|((_, ended), (began, _))| (*ended, *began));
        let owed = Owed { times: gone.collect(), interval_ms: interval };
        written(agent.name(), &line, seen, [gap_max, age_max_ms(interval)], &excused, &owed).result()
    }

    /// The points of an agent's vital sign.
    async fn vitals_of(&self, agent: &str) -> Result<BTreeMap<i64, f64>, String> {
        let path = format!("/api/v1/history?key={agent}.load1");
        let reply = http::get(self.ports().http, &path, &[]).await.map_err(|error| error.to_string())?;
        let answer = reply.json().map_err(|error| format!("{path}: {error}"))?;
        let points = answer.pointer("/series/0/points").cloned().unwrap_or_else(|| serde_json::Value::Array(vec![]));
        let points: Vec<(i64, f64)> = serde_json::from_value(points).map_err(|error| format!("{path}: {error}"))?;
        Ok(points.into_iter().collect())
    }
}

/// How old anything on a page may be: silence of three intervals, at least 3 s, and a grace of one,
/// at most 5 s.
fn age_max_ms(interval_ms: i64) -> i64 {
    (3 * interval_ms).max(3000) + interval_ms.min(5000)
}
