//! What an agent's frames mean: a state machine without I/O. Frames and moments go in, answers
//! and changes of the fleet come out.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use protocol::declare::{Unfit, check_declare};
use protocol::frame::{Ack, Acked, Declare, Hello, Push, RefuseCode, Retire, Stream};
use protocol::{AgentName, ToAgent, ToAggregator, limits};

use super::Shared;
use super::assembly::{HalfDeclared, HalfPush};
use crate::fleet::Moment;
use crate::fleet::declared::Declared;
use crate::fleet::delay::Clocks;
use crate::fleet::room::Share;
use crate::fleet::seat::Seat;
use crate::telemetry::Telemetry;

/// Text of declarations that an agent may keep for each series granted to it, on average.
/// Ordinary series take 60 to 150 bytes.
const TEXT_BYTES_PER_SERIES: usize = 512;

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The agent said `bye`.
    Bye,
    /// The agent closed the connection without a word.
    Closed,
    /// The system says that the connection broke.
    Failed(io::ErrorKind),
    /// The agent takes none of our bytes.
    Unread,
    /// This aggregator stops.
    Stopping,
    /// The agent did something that it may not do, or there is no room for it.
    Refused {
        /// For a program.
        code: RefuseCode,
        /// For a person.
        reason: String,
        /// When it may come back.
        retry_after_ms: u64,
    },
}

impl Ended {
    pub(super) fn refused(code: RefuseCode, reason: String) -> Self {
        Self::Refused { code, reason, retry_after_ms: 0 }
    }

    pub(super) fn retry_after(self, after: Duration) -> Self {
        match self {
            Self::Refused { code, reason, .. } => {
                let retry_after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                Self::Refused { code, reason, retry_after_ms }
            }
            other => other,
        }
    }

    /// The `reason` label of `fleetgauge_link_closed_total`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Bye => "bye",
            Self::Closed => "closed",
            Self::Failed(_) => "failed",
            Self::Unread => "unread",
            Self::Stopping => "stopping",
            Self::Refused { .. } => "refused",
        }
    }
}

impl From<Unfit> for Ended {
    fn from(unfit: Unfit) -> Self {
        Self::refused(unfit.code, unfit.reason)
    }
}

/// A connection that was welcomed.
#[derive(Debug)]
pub struct Session {
    seat: Seat,
    shared: Arc<Shared>,
    interval: Duration,
    clocks: Clocks,
    sets: HashMap<u64, Arc<Declared>>,
    /// The highest set number so far; a new one must be higher.
    set_max: u64,
    /// This connection's part of the room for series.
    room: Share,
    text_bytes: usize,
    declaring: Option<HalfDeclared>,
    pushing: Option<HalfPush>,
    /// What was safe when the connection began, and the highest number of each stream since.
    safe: Acked,
    last: Acked,
    pushes: u64,
}

impl Session {
    /// A session that begins with this `hello`.
    #[must_use]
    pub fn new(seat: Seat, hello: &Hello, interval: Duration, safe: Acked, shared: Arc<Shared>, now: Moment) -> Self {
        Self {
            seat,
            interval,
            clocks: Clocks::new(now.instant, hello.mono_ms),
            sets: HashMap::new(),
            set_max: 0,
            room: shared.fleet.room().share(),
            shared,
            text_bytes: 0,
            declaring: None,
            pushing: None,
            safe,
            last: Acked::default(),
            pushes: 0,
        }
    }

    /// The agent's name.
    #[must_use]
    pub fn agent(&self) -> &AgentName {
        self.seat.name()
    }

    /// How many pushes were taken in whole.
    #[must_use]
    pub fn pushes(&self) -> u64 {
        self.pushes
    }

    /// Gives up the name.
    pub fn leave(self, bye: bool, now: Moment) {
        self.seat.leave(bye, now);
    }

    fn telemetry(&self) -> &Telemetry {
        &self.shared.telemetry
    }

    /// Takes in one frame; gives what is to be answered.
    ///
    /// # Errors
    /// How the connection ends.
    pub fn take(&mut self, frame: ToAggregator, now: Moment) -> Result<Option<ToAgent>, Ended> {
        let between_pushes = self.pushing.is_none();
        match frame {
            ToAggregator::Ping(ping) => return Ok(Some(ToAgent::Pong(ping))),
            ToAggregator::Pong(_) => {}
            ToAggregator::Bye(_) => return Err(Ended::Bye),
            ToAggregator::Declare(line) if between_pushes => self.declare(&line)?,
            ToAggregator::Retire(retire) if between_pushes => self.retire(&retire)?,
            ToAggregator::Push(head) if between_pushes => self.open(head, now)?,
            ToAggregator::Values(part) => self.open_push("values")?.values(part)?,
            ToAggregator::Failed(failed) => self.open_push("failed")?.failed(&failed)?,
            ToAggregator::End(end) => {
                let push = self.open_push("end")?;
                push.check_end(end.seq)?;
                return self.close(now).map(Some);
            }
            ToAggregator::Declare(_) | ToAggregator::Retire(_) | ToAggregator::Push(_) => {
                return unexpected("a push must be ended before another frame than ping or pong");
            }
            ToAggregator::Hello(_) => return unexpected("hello comes once"),
            ToAggregator::Proof(_) => return unexpected("nobody asked for a proof"),
        }
        Ok(None)
    }

    fn open_push(&mut self, frame: &str) -> Result<PushAndSets<'_>, Ended> {
        match &mut self.pushing {
            Some(push) => Ok(PushAndSets { push, sets: &self.sets }),
            None => Err(Ended::refused(RefuseCode::Unexpected, format!("{frame} without a push"))),
        }
    }

    fn declare(&mut self, line: &Declare) -> Result<(), Ended> {
        check_declare(line)?;
        if self.declaring.is_none() {
            self.begin_set(line)?;
        }
        let Some(half) = &mut self.declaring else { return Ok(()) };
        half.add(line)?;
        let granted = self.shared.fleet.rules().series_per_agent_max;
        if self.text_bytes + half.text_bytes() > granted.saturating_mul(TEXT_BYTES_PER_SERIES) {
            let reason = format!("the declared labels take more than {TEXT_BYTES_PER_SERIES} bytes a granted series");
            return Err(Ended::refused(RefuseCode::Limit, reason));
        }
        if !half.is_whole() {
            return Ok(());
        }
        let Some(half) = self.declaring.take() else { return Ok(()) };
        let set = half.set();
        let declared = half.finish()?;
        // A set replaces the one of its name, so only sets of other names can share a series with it.
        let others = self.sets.values().map(AsRef::as_ref).filter(|other| other.name != declared.name);
        if let Some((series, other)) = declared.first_shared(others) {
            let reason = format!("{series} stands in set {other:?} and in set {:?}", declared.name);
            return Err(Ended::refused(RefuseCode::Duplicate, reason));
        }
        self.text_bytes += declared.text_bytes();
        self.sets.insert(set, Arc::new(declared));
        Ok(())
    }

    /// Checks the first line of a declaration, and makes room for all of it.
    fn begin_set(&mut self, line: &Declare) -> Result<(), Ended> {
        if line.set <= self.set_max {
            let reason =
                format!("set {} comes after set {}: numbers grow and are never used again", line.set, self.set_max);
            return Err(Ended::refused(RefuseCode::SetReused, reason));
        }
        let granted = self.shared.fleet.rules().series_per_agent_max;
        let total = usize::try_from(line.total).unwrap_or(usize::MAX).saturating_add(self.room.held());
        if total > granted {
            let reason =
                format!("more than {granted} series; FLEETGAUGE_MAX_SERIES_PER_AGENT of the aggregator allows no more");
            return Err(Ended::refused(RefuseCode::Limit, reason));
        }
        if self.sets.len() >= limits::SETS_PER_AGENT_MAX {
            let reason = format!("more than {} sets", limits::SETS_PER_AGENT_MAX);
            return Err(Ended::refused(RefuseCode::Limit, reason));
        }
        if !self.room.resize(total) {
            let reason =
                "all agents together have as many series as FLEETGAUGE_MAX_SERIES of the aggregator allows".to_owned();
            return Err(Ended::refused(RefuseCode::Overloaded, reason).retry_after(Duration::from_secs(30)));
        }
        self.set_max = line.set;
        let identity = match &line.job {
            Some(job) => self.seat.identity().with_job(job),
            None => self.seat.identity().clone(),
        };
        self.declaring = Some(HalfDeclared::new(line, identity));
        Ok(())
    }

    fn retire(&mut self, retire: &Retire) -> Result<(), Ended> {
        let Some(declared) = self.sets.remove(&retire.set) else {
            return Err(Ended::refused(
                RefuseCode::UnknownSet,
                format!("set {} to retire is not declared", retire.set),
            ));
        };
        self.text_bytes -= declared.text_bytes();
        let _shrinks = self.room.resize(self.room.held() - declared.len());
        self.seat.retire(retire.set);
        Ok(())
    }

    fn open(&mut self, head: Push, now: Moment) -> Result<(), Ended> {
        if let Some(half) = &self.declaring {
            let reason = format!("set {} is not declared wholly", half.set());
            return Err(Ended::refused(RefuseCode::UnknownSet, reason));
        }
        let last = if head.stream == Stream::Live { &mut self.last.live } else { &mut self.last.late };
        if head.seq <= *last {
            let reason = format!("push {} comes after push {last}: numbers must grow", head.seq);
            return Err(Ended::refused(RefuseCode::Sequence, reason));
        }
        *last = head.seq;
        self.pushing = Some(HalfPush::new(head, now));
        Ok(())
    }

    /// Takes in the push that is open, and acknowledges it.
    fn close(&mut self, now: Moment) -> Result<ToAgent, Ended> {
        let Some(push) = self.pushing.take() else { return unexpected("end without a push") };
        let (head, arrived) = (push.head().clone(), push.arrived());
        let samples = push.samples();
        let reading = self.clocks.read(arrived.instant, arrived.wall_ms, head.mono_ms, head.now_ms);
        let own_age = Duration::from_millis(u64::try_from(head.now_ms.saturating_sub(head.measured_ms)).unwrap_or(0));
        let age = own_age.saturating_add(reading.delay);
        let safe = if head.stream == Stream::Live { self.safe.live } else { self.safe.late };
        self.pushes += 1;
        self.telemetry().push_received(head.stream, samples);
        if head.seq <= safe {
            self.telemetry().samples_duplicate(samples);
        } else if head.stream == Stream::Late || age > limits::late_after(self.interval) {
            // The place where late samples go to the history and to remote write, once there are.
            self.seat.drop_late(head.stream, head.seq, samples);
            self.telemetry().samples_dropped("late", samples);
        } else {
            match self.seat.show(head.seq, reading.offset_ms, push.into_sets()?, now) {
                Some(outcome) => self.telemetry().push_shown(outcome),
                // Somebody took the name over; this connection is about to be told.
                None => self.telemetry().samples_dropped("superseded", samples),
            }
        }
        let acked = head.seq.max(safe);
        Ok(ToAgent::Ack(Ack { stream: head.stream, seq: acked }))
    }
}

/// A push that is open, with the sets that it may speak of.
struct PushAndSets<'a> {
    push: &'a mut HalfPush,
    sets: &'a HashMap<u64, Arc<Declared>>,
}

impl PushAndSets<'_> {
    fn values(self, part: protocol::frame::Values) -> Result<(), Ended> {
        let declared = self.declared(part.set)?;
        Ok(self.push.values(part, declared)?)
    }

    fn failed(self, failed: &protocol::frame::Failed) -> Result<(), Ended> {
        let declared = self.declared(failed.set)?;
        Ok(self.push.failed(failed, declared)?)
    }

    fn check_end(self, seq: u64) -> Result<(), Ended> {
        Ok(self.push.check_end(seq)?)
    }

    fn declared(&self, set: u64) -> Result<Arc<Declared>, Ended> {
        let unknown = || Ended::refused(RefuseCode::UnknownSet, format!("set {set} is not declared"));
        self.sets.get(&set).cloned().ok_or_else(unknown)
    }
}

fn unexpected<T>(reason: &str) -> Result<T, Ended> {
    Err(Ended::refused(RefuseCode::Unexpected, reason.to_owned()))
}
