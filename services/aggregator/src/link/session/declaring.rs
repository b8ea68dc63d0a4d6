//! Sets come and go: declarations, within their limits, and what retires them.

use std::sync::Arc;
use std::time::Duration;

use protocol::declare::check_declare;
use protocol::frame::{Declare, RefuseCode, Retire};
use protocol::limits;

use super::super::admit::short_of_memory;
use super::super::assembly::HalfDeclared;
use super::super::ended::Ended;
use super::super::quotas;
use super::Session;
use crate::limits::Limit;
use crate::limits::overload::Level;

impl Session {
    /// Takes in a line of a declaration.
    pub(super) fn declare(&mut self, line: &Declare) -> Result<(), Ended> {
        check_declare(line)?;
        quotas::check_labels(&self.shared, &self.seat, line)?;
        if self.declaring.is_none() {
            self.begin_set(line)?;
        }
        let Some(half) = &mut self.declaring else { return Ok(()) };
        let before = half.len();
        // Room is taken before it is filled, and for what has come, not for what was promised.
        let cost = half.cost(line);
        let granted = self.granted;
        let most = limits::text_bytes_max(granted);
        if self.text.held() + cost > most {
            quotas::exceeded(&self.shared, &self.seat, Limit::Series);
            let reason =
                format!("the declared names and labels take more than the {most} bytes that go with {granted} series");
            return Err(Ended::refused(RefuseCode::Limit, reason));
        }
        if !self.text.resize(self.text.held() + cost) {
            return Err(no_room("declared names and labels", "FLEETGAUGE_MAX_DECLARED"));
        }
        half.add(line)?;
        if !self.room.resize(self.room.held() + half.len() - before) {
            return Err(no_room("series", "FLEETGAUGE_MAX_SERIES"));
        }
        self.seat.meter().set_declared(self.room.held());
        if !half.is_whole() {
            return Ok(());
        }
        let Some(half) = self.declaring.take() else { return Ok(()) };
        let (set, cost) = (half.set(), half.total_cost());
        let declared = Arc::new(half.finish()?);
        // A set replaces the one of its name, so only sets of other names can share a series with it.
        if let Err((series, other)) = self.declarations.add(set, &declared, &self.sets.declared) {
            let reason = format!("{series} stands in set {other:?} and in set {:?}", declared.name);
            return Err(Ended::refused(RefuseCode::Duplicate, reason));
        }
        if let Some(vitals) = &mut self.vitals {
            vitals.declared(set, &declared);
        }
        self.sets.insert(set, declared, cost);
        Ok(())
    }

    /// Checks the first line of a declaration.
    fn begin_set(&mut self, line: &Declare) -> Result<(), Ended> {
        if line.set <= self.set_max {
            let reason =
                format!("set {} comes after set {}: numbers grow and are never used again", line.set, self.set_max);
            return Err(Ended::refused(RefuseCode::SetReused, reason));
        }
        let total = usize::try_from(line.total).unwrap_or(usize::MAX).saturating_add(self.room.held());
        if total > self.granted.min(self.shared.fleet.rules().series_per_agent_max) {
            quotas::exceeded(&self.shared, &self.seat, Limit::Series);
        }
        if total > self.granted {
            let granted = self.granted;
            let reason =
                format!("more than {granted} series; FLEETGAUGE_MAX_SERIES_PER_AGENT of the aggregator allows no more");
            return Err(Ended::refused(RefuseCode::Limit, reason));
        }
        // Before its first push an agent says what it had; what it has more later is new.
        if self.shown > 0 && self.shared.limits.level() != Level::Normal && !self.sets.has_such(line) {
            self.telemetry().limits.refused("set");
            return Err(short_of_memory(&self.shared, "no new set is taken"));
        }
        if self.sets.declared.len() >= limits::SETS_PER_AGENT_MAX {
            let reason = format!("more than {} sets", limits::SETS_PER_AGENT_MAX);
            return Err(Ended::refused(RefuseCode::Limit, reason));
        }
        self.set_max = line.set;
        let identity = match &line.job {
            Some(job) => self.seat.identity().with_job(job),
            None => self.seat.identity().clone(),
        };
        self.declaring = Some(HalfDeclared::new(line, identity, self.labels));
        Ok(())
    }

    /// Takes a set away.
    pub(super) fn retire(&mut self, retire: &Retire) -> Result<(), Ended> {
        let Some((declared, cost)) = self.sets.remove(retire.set) else {
            return Err(Ended::refused(
                RefuseCode::UnknownSet,
                format!("set {} to retire is not declared", retire.set),
            ));
        };
        self.declarations.remove(retire.set, &declared);
        if let Some(vitals) = &mut self.vitals {
            vitals.retired(retire.set);
        }
        let _shrinks = self.text.resize(self.text.held() - cost);
        let _shrinks = self.room.resize(self.room.held() - declared.len());
        self.seat.meter().set_declared(self.room.held());
        self.seat.retire(retire.set);
        Ok(())
    }
}

fn no_room(what: &str, setting: &str) -> Ended {
    let reason = format!("all agents together have as many {what} as {setting} of the aggregator allows");
    Ended::refused(RefuseCode::Overloaded, reason).retry_after(Duration::from_secs(30))
}
