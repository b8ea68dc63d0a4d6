//! Declarations and pushes that span lines, put together until they are whole.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::declare::Unfit;
use protocol::frame::{Declare, Failed, Family, Push, RefuseCode, Values};
use protocol::{cost, is_absent};

use super::ended::Ended;
use crate::fleet::Moment;
use crate::fleet::agent::PushedSet;
use crate::fleet::declared::{Builder, Declared, Identity};
use crate::limits::refusals::cut;

/// How much of the reason of a failure is kept, in bytes.
const REASON_BYTES: usize = 200;

fn unfit<T>(code: RefuseCode, reason: String) -> Result<T, Unfit> {
    Err(Unfit { code, reason })
}

/// A set of which some lines have come.
#[derive(Debug)]
pub(super) struct HalfDeclared {
    set: u64,
    name: String,
    job: Option<String>,
    total: u64,
    builder: Builder,
    /// What each series takes for labels that are not its own.
    common: usize,
    cost: usize,
}

impl HalfDeclared {
    pub(super) fn new(first: &Declare, identity: Identity, labels: usize) -> Self {
        let common = labels + cost::of_job(first.job.as_deref());
        let builder = Builder::new(&first.name, identity);
        let (name, job) = (first.name.clone(), first.job.clone());
        Self { set: first.set, name, job, total: first.total, builder, common, cost: 0 }
    }

    pub(super) fn set(&self) -> u64 {
        self.set
    }

    pub(super) fn len(&self) -> usize {
        self.builder.len()
    }

    /// What a line will take as text, about: its names and labels, those that every series of the
    /// agent gets, and the families' own.
    pub(super) fn cost(&self, line: &Declare) -> usize {
        let family = |family: &Family| {
            let goes_on = self.builder.last_family() == Some(&family.name);
            let head = if goes_on { 0 } else { cost::of_head(family) };
            head + cost::of_series(family) + family.series.len() * self.common
        };
        line.families.iter().map(family).sum()
    }

    /// What all lines so far took.
    pub(super) fn total_cost(&self) -> usize {
        self.cost
    }

    pub(super) fn is_whole(&self) -> bool {
        self.builder.len() as u64 == self.total
    }

    /// Adds a checked line, the first one too.
    pub(super) fn add(&mut self, line: &Declare) -> Result<(), Unfit> {
        let set = self.set;
        if line.set != set {
            return unfit(RefuseCode::UnknownSet, format!("set {} is declared before set {set} is whole", line.set));
        }
        if line.name != self.name || line.job != self.job || line.total != self.total {
            let reason = format!("a line of set {set} has another name, job or total than the lines before");
            return unfit(RefuseCode::BadFrame, reason);
        }
        let so_far = self.builder.len() as u64;
        let adds = line.families.iter().map(|family| family.series.len() as u64).sum::<u64>();
        if line.offset != so_far || so_far + adds > self.total {
            let (offset, total) = (line.offset, self.total);
            let reason = format!("set {set} has {so_far} of {total} series, a line adds {adds} at {offset}");
            return unfit(RefuseCode::WrongLength, reason);
        }
        if adds == 0 && self.total > 0 {
            return unfit(RefuseCode::WrongLength, format!("a line of set {set} declares no series"));
        }
        self.cost += self.cost(line);
        self.builder.add(line).or_else(|family| {
            unfit(RefuseCode::Duplicate, format!("the series of family {family} do not stand together in set {set}"))
        })
    }

    pub(super) fn finish(self) -> Result<Declared, Unfit> {
        let name = self.name;
        self.builder
            .finish()
            .or_else(|series| unfit(RefuseCode::Duplicate, format!("{series} stands twice in set {name:?}")))
    }
}

/// A push of which some lines have come.
#[derive(Debug)]
pub(super) struct HalfPush {
    head: Push,
    arrived: Moment,
    sets: Vec<PushedSet>,
    samples: u64,
}

impl HalfPush {
    pub(super) fn new(head: Push, arrived: Moment) -> Self {
        Self { head, arrived, sets: Vec::new(), samples: 0 }
    }

    pub(super) fn head(&self) -> &Push {
        &self.head
    }

    /// When its first line came. That is what its delay is measured by: its other lines follow.
    pub(super) fn arrived(&self) -> Moment {
        self.arrived
    }

    /// Samples that it carries; `null` is none.
    pub(super) fn samples(&self) -> u64 {
        self.samples
    }

    pub(super) fn values(&mut self, part: Values, declared: Arc<Declared>) -> Result<(), Unfit> {
        let (set, length, adds) = (part.set, declared.len(), part.values.0.len());
        self.samples += part.values.0.iter().filter(|value| !is_absent(**value)).count() as u64;
        // A vector that goes on does so on the next line.
        let goes_on = self.sets.last_mut().filter(|last| last.set == set && part.offset > 0);
        let so_far = match goes_on.as_ref() {
            Some(PushedSet { values: Some(values), .. }) => values.len(),
            _ => 0,
        };
        if part.offset != so_far as u64 || so_far + adds > length || (adds == 0 && length > 0) {
            let offset = part.offset;
            let reason =
                format!("set {set} has {length} series, a line brings {adds} values at {offset} after {so_far}");
            return unfit(RefuseCode::WrongLength, reason);
        }
        match goes_on {
            Some(PushedSet { values: Some(values), .. }) => values.extend(part.values.0),
            _ => {
                self.check_new(set)?;
                let mut values = part.values.0;
                values.reserve_exact(length - adds);
                self.sets.push(PushedSet { set, declared, values: Some(values), reason: Box::default() });
            }
        }
        Ok(())
    }

    pub(super) fn failed(&mut self, failed: &Failed, declared: Arc<Declared>) -> Result<(), Unfit> {
        self.check_new(failed.set)?;
        tracing::debug!(set = %declared.name, reason = %failed.reason, "a set failed");
        let reason = cut(&failed.reason, REASON_BYTES).into();
        self.sets.push(PushedSet { set: failed.set, declared, values: None, reason });
        Ok(())
    }

    /// A push speaks once of a set, and the one before must be whole.
    fn check_new(&self, set: u64) -> Result<(), Unfit> {
        self.check_last_is_whole()?;
        if self.sets.iter().any(|earlier| earlier.set == set) {
            return unfit(RefuseCode::Duplicate, format!("set {set} stands twice in one push"));
        }
        Ok(())
    }

    fn check_last_is_whole(&self) -> Result<(), Unfit> {
        if let Some(PushedSet { set, declared, values: Some(values), .. }) = self.sets.last()
            && values.len() != declared.len()
        {
            let reason = format!("set {set} has {} series, {} values came", declared.len(), values.len());
            return unfit(RefuseCode::WrongLength, reason);
        }
        Ok(())
    }

    pub(super) fn check_end(&self, seq: u64) -> Result<(), Unfit> {
        if seq != self.head.seq {
            return unfit(RefuseCode::Sequence, format!("end of push {seq} in push {}", self.head.seq));
        }
        self.check_last_is_whole()
    }

    pub(super) fn into_sets(self) -> Result<Vec<PushedSet>, Unfit> {
        self.check_last_is_whole()?;
        Ok(self.sets)
    }
}

/// A push that is open, with the sets that it may speak of.
pub(super) struct PushAndSets<'a> {
    pub(super) push: &'a mut HalfPush,
    pub(super) sets: &'a HashMap<u64, Arc<Declared>>,
}

impl PushAndSets<'_> {
    pub(super) fn values(self, part: Values) -> Result<(), Ended> {
        let declared = self.declared(part.set)?;
        Ok(self.push.values(part, declared)?)
    }

    pub(super) fn failed(self, failed: &Failed) -> Result<(), Ended> {
        let declared = self.declared(failed.set)?;
        Ok(self.push.failed(failed, declared)?)
    }

    pub(super) fn check_end(self, seq: u64) -> Result<(), Ended> {
        Ok(self.push.check_end(seq)?)
    }

    fn declared(&self, set: u64) -> Result<Arc<Declared>, Ended> {
        let unknown = || Ended::refused(RefuseCode::UnknownSet, format!("set {set} is not declared"));
        self.sets.get(&set).cloned().ok_or_else(unknown)
    }
}
