//! The judge of a world: settles it, and holds all that was acknowledged against what is there.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use super::looks::{self, Look};
use super::oracle::{self, Conservation};
use super::putter::Putter;
use super::real::{self, RealAgent};
use super::world::{LOOKS_MAX, World, millis};
use crate::http;
use crate::sim::{self, Sim};

/// Without exact mode nothing is written that a scrape may have seen: up to 3 s after the last sign of a
/// process that was killed, and a second around every time on the page.
const MAYBE_SEEN_MS: i64 = 5000;
/// Less than the second for which an ack waits for the sync of its vital signs.
const HELD: Duration = Duration::from_millis(900);
/// Without exact mode one process after the other, each gone after less than this, may have shown all
/// that was measured meanwhile.
const SHORT_LIFE_MS: i64 = 10_000;

impl World {
    /// Settles everything and holds all that was acknowledged against what is there.
    ///
    /// # Errors
    /// What was lost, invented, frozen, torn, or is not accounted for.
    pub async fn judge(&mut self) -> Result<String, String> {
        self.settle().await?;
        match self.check().await {
            Ok(report) => Ok(report),
            Err(error) => Err(self.told(error)),
        }
    }

    async fn check(&self) -> Result<String, String> {
        let broken = self.database.broken();
        if !broken.is_empty() {
            return Err(format!("remote write was wrong: {broken:?}"));
        }
        if self.scraper.is_finished() {
            return Err(format!("more than {LOOKS_MAX} pages: scrape less often"));
        }
        let balance = self.at_rest().await?;
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (mut ticks, mut late) = (0, 0);
        for sim in &self.sims {
            self.check_sim(sim, &looks).await?;
            ticks += sim.look(|state| state.ticks().len());
            late += sim.look(|state| state.ticks().iter().filter(|tick| tick.fate == sim::Fate::Late).count());
        }
        for agent in &self.agents {
            self.check_agent(agent, &looks).await?;
        }
        for putter in &self.putters {
            putter.judge(self.ports().line).await?;
        }
        let puts: usize = self.putters.iter().map(Putter::acknowledged).sum();
        Ok(format!(
            "{} agents measured {ticks} times, {late} came late; {puts} puts; {} pages; {} connections of the link; \
             {} starts of the aggregator; {}; {balance:?}",
            self.sims.len(),
            looks.iter().filter(|look| look.is_page).count(),
            self.link.connections(),
            self.lives.len(),
            self.database.report(),
        ))
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

    async fn check_sim(&self, sim: &Sim, seen: &[Look]) -> Result<(), String> {
        let truth = sim.look(|state| state.ticks().to_vec());
        let name = sim.name();
        let [scrape, interval] = [self.plan.scrape_every, sim.settings().interval].map(millis);
        let age_max = age_max_ms(interval);
        // An ack is held for a second at most; one that came after that may be one without a sync.
        let excused = |tick: &sim::Tick| tick.fate == sim::Fate::Live && tick.acked_after > HELD;
        oracle::history(name, &truth, &self.vitals_of(name).await?, excused).result()?;
        oracle::pages(name, &truth, seen, age_max).result()?;
        let line = self.database.line(name, (sim::frames::COUNTER, Some(("k", "0"))), seen).await?;
        if self.plan.is_exact {
            oracle::late(name, &truth, &line).result()?;
        }
        let gap_max = self.gap_max_ms(scrape, interval);
        let unseen = |tick: &sim::Tick| looks::is_unseen(tick, seen, gap_max) || self.may_have_been_seen(tick);
        oracle::counter(name, &truth, &line, [interval, gap_max, age_max], unseen).result()
    }

    /// Two scrapes and two measurements, one of each at the worst time.
    fn gap_max_ms(&self, scrape_ms: i64, interval_ms: i64) -> i64 {
        2 * (scrape_ms + interval_ms) + if self.plan.is_exact { 0 } else { MAYBE_SEEN_MS }
    }

    /// What was measured while processes lived for moments: what came late is not written, since each of
    /// them may have shown it and the next one cannot know; what was live was gone before anybody looked.
    fn may_have_been_seen(&self, tick: &sim::Tick) -> bool {
        let seen = |(from, until): &(i64, i64)| {
            until.saturating_sub(*from) < SHORT_LIFE_MS && (*from..=until + MAYBE_SEEN_MS).contains(&tick.at_ms)
        };
        !self.plan.is_exact && self.lives.iter().any(seen)
    }

    async fn check_agent(&self, agent: &RealAgent, seen: &[Look]) -> Result<(), String> {
        let line = self.database.line(agent.name(), (real::COUNTER, None), seen).await?;
        let [scrape, interval] = [self.plan.scrape_every, self.plan.interval].map(millis);
        let age_max = age_max_ms(interval);
        let gap_max = self.gap_max_ms(scrape, interval) + agent.away_ms();
        oracle::written(agent.name(), &line, seen, gap_max, age_max).result()
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
