//! What an agent's frames mean: a state machine without I/O. Frames and moments go in, answers
//! and changes of the fleet come out.

mod declaring;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::frame::{Ack, Acked, Hello, Push, RefuseCode, Stream};
use protocol::{AgentName, ToAgent, ToAggregator, cost, limits};

use super::Shared;
use super::acks::Answer;
use super::admit;
use super::assembly::{HalfDeclared, HalfPush, PushAndSets};
use super::duplicates::Declarations;
use super::ended::Ended;
use super::late::{self, Late, Unsafe};
use super::sets::Sets;
use super::vitals::{Signs, Stored, Vitals};
use crate::fleet::Moment;
use crate::fleet::agent::{Clash, Measured, PushedSet};
use crate::fleet::delay::{Clocks, Reading};
use crate::fleet::dropped::Dropped;
use crate::fleet::room::Share;
use crate::fleet::seat::Seat;
use crate::forward::Which;
use crate::telemetry::Telemetry;

/// Most families of a connection whose clashes are logged.
const TOLD_MAX: usize = 100;

/// A connection that was welcomed.
#[derive(Debug)]
pub struct Session {
    seat: Seat,
    shared: Arc<Shared>,
    interval: Duration,
    clocks: Clocks,
    sets: Sets,
    /// The highest set number so far; a new one must be higher.
    set_max: u64,
    /// Most series that it may have declared at one time.
    granted: usize,
    /// This connection's part of the room for series.
    room: Share,
    /// What its declared names and labels take of the room for them, in bytes.
    text: Share,
    /// What its labels take of that for each of its series.
    labels: usize,
    declarations: Declarations,
    declaring: Option<HalfDeclared>,
    pushing: Option<HalfPush>,
    /// Its vital signs, where they are recorded.
    vitals: Option<Vitals>,
    /// What was safe when the connection began, and the highest number of each stream since.
    safe: Acked,
    last: Acked,
    shown: u64,
    /// When the freshest shown push was measured, by the agent's clock that never steps.
    freshest_ms: i64,
    /// Families of which a clash was logged.
    told: HashSet<Box<str>>,
}

impl Session {
    /// A session that begins with this `hello`.
    #[must_use]
    pub fn new(seat: Seat, hello: &Hello, interval: Duration, safe: Acked, shared: Arc<Shared>, now: Moment) -> Self {
        let vitals = shared.vitals.as_ref().map(|history| Vitals::new(Arc::clone(history), seat.name()));
        let granted = admit::granted(&shared, seat.meter().settled());
        seat.meter().set_granted(granted);
        Self {
            granted,
            seat,
            interval,
            vitals,
            clocks: Clocks::new(now.instant, hello.mono_ms),
            sets: Sets::default(),
            set_max: 0,
            room: shared.fleet.room().share(),
            text: shared.text.share(),
            labels: cost::of_agent(hello),
            declarations: Declarations::default(),
            shared,
            declaring: None,
            pushing: None,
            safe,
            last: Acked::default(),
            shown: 0,
            freshest_ms: i64::MIN,
            told: HashSet::new(),
        }
    }

    /// The agent's name.
    #[must_use]
    pub fn agent(&self) -> &AgentName {
        self.seat.name()
    }

    /// Most series that the agent may have declared at one time.
    #[must_use]
    pub fn granted(&self) -> usize {
        self.granted
    }

    /// How many pushes were shown. Late ones are no sign that anything is fresh.
    #[must_use]
    pub fn shown(&self) -> u64 {
        self.shown
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
    pub fn take(&mut self, frame: ToAggregator, now: Moment) -> Result<Option<Answer>, Ended> {
        let between_pushes = self.pushing.is_none();
        match frame {
            ToAggregator::Ping(ping) => return Ok(Some(Answer::now(ToAgent::Pong(ping)))),
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
                self.note_backlog();
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
            Some(push) => Ok(PushAndSets { push, sets: &self.sets.declared }),
            None => Err(Ended::refused(RefuseCode::Unexpected, format!("{frame} without a push"))),
        }
    }

    /// Takes in what the agent says of its own state with a live push that is whole.
    fn note_backlog(&self) {
        if let Some(head) = self.pushing.as_ref().map(HalfPush::head)
            && head.stream == Stream::Live
        {
            self.seat.note(head.backlog_ms, &head.lost);
        }
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

    /// Somebody else has the name; nothing of this push counts, and it is not acknowledged.
    fn displaced(&self, samples: u64) -> Ended {
        self.telemetry().samples_dropped(Dropped::Superseded, samples);
        Ended::refused(RefuseCode::Superseded, "another connection of this agent took over".to_owned())
    }

    /// Logs what is not shown as it was declared, each family once for a connection.
    fn tell(&mut self, clashes: &[Clash]) {
        for Clash { family, declared, shown } in clashes {
            if self.told.len() >= TOLD_MAX || !self.told.insert(family.clone()) || !self.shared.may_warn() {
                continue;
            }
            let agent = self.seat.name();
            match shown {
                Some(shown) => {
                    tracing::warn!(%agent, %family, ?declared, ?shown, "a family is shown under the type of the first who sent it");
                }
                None => {
                    tracing::warn!(%agent, %family, "a family is kept off the page: another one owns one of its names");
                }
            }
        }
    }

    /// Hands the vital signs of a push to the history, as measured at this time by our clock. `Err`:
    /// they cannot even wait there, which is counted.
    fn record(&self, signs: Signs, at_ms: i64, stream: Stream) -> Result<Option<Stored>, ()> {
        let recorded = self.vitals.as_ref().and_then(|vitals| vitals.record(signs, at_ms.div_euclid(1000), stream));
        recorded.transpose().map_err(|_| ())
    }

    /// Notes what is said to be safe, so that it need not come again.
    pub fn acked(&self, frame: &ToAgent) {
        if let ToAgent::Ack(Ack { stream, seq }) = frame {
            self.seat.acked(*stream, *seq);
        }
    }

    /// Gives a late push where it belongs. `None`: nothing is to be waited for.
    fn take_late(&mut self, push: HalfPush, reading: Reading, now: Moment) -> Result<Option<Unsafe>, Ended> {
        let (head, samples) = (push.head().clone(), push.samples());
        let at_ms = corrected_ms(&head, reading.offset_ms);
        let Some(was_seen) = self.seat.take_late(at_ms, samples, now) else {
            return Err(self.displaced(samples));
        };
        if late::is_absurd(&head, at_ms, &self.shared, now) {
            self.telemetry().samples_dropped(Dropped::AbsurdTime, samples);
            self.seat.agent().dropped(Dropped::AbsurdTime, samples);
            return Ok(None);
        }
        let sets = push.into_sets()?;
        let measure = |vitals: &mut Vitals| {
            let signs = vitals.measure(head.stream, &sets, measured_mono(&head));
            (vitals.samples_of(&signs, &sets), signs)
        };
        let (of_vitals, signs) = self.vitals.as_mut().map(measure).unwrap_or_default();
        let stored = self.record(signs, at_ms, head.stream);
        let (shared, seat) = (&*self.shared, &self.seat);
        let stream = head.stream;
        let late = Late { shared, seat, stream, at_ms, samples, sets, was_seen, stored, of_vitals, now };
        Ok(Some(late.take()))
    }

    /// Where everything is written remotely, what is shown is too.
    fn forward_shown(&self, sets: &[PushedSet], at_ms: i64) {
        if let Some(forward) = self.shared.forward.as_ref().filter(|forward| forward.rules().which == Which::All) {
            forward.submit(late::moments(&self.seat, at_ms, sets, None));
        }
    }

    /// Takes in the push that is open, and acknowledges it.
    fn close(&mut self, now: Moment) -> Result<Answer, Ended> {
        let Some(push) = self.pushing.take() else { return unexpected("end without a push") };
        let (head, arrived) = (push.head().clone(), push.arrived());
        let samples = push.samples();
        let reading = self.clocks.read(arrived.instant, arrived.wall_ms, head.mono_ms, head.now_ms);
        let own_age = Duration::from_millis(u64::try_from(head.now_ms.saturating_sub(head.measured_ms)).unwrap_or(0));
        let age = own_age.saturating_add(reading.delay);
        let safe = if head.stream == Stream::Live { self.safe.live } else { self.safe.late };
        let measured_ms = measured_mono(&head);
        let is_late = age > limits::late_after(self.interval) || measured_ms < self.freshest_ms;
        let (mut stored, mut waits) = (None, None);
        self.telemetry().push_received(head.stream, samples);
        if head.seq <= safe {
            self.telemetry().samples_duplicate(samples);
        } else if head.stream == Stream::Late || is_late {
            waits = self.take_late(push, reading, now)?;
        } else {
            let sets = push.into_sets()?;
            let signs =
                self.vitals.as_mut().map(|vitals| vitals.measure(Stream::Live, &sets, measured_ms)).unwrap_or_default();
            let measured = Measured { at_ms: corrected_ms(&head, reading.offset_ms), offset_ms: reading.offset_ms };
            self.forward_shown(&sets, measured.at_ms);
            let Some(outcome) = self.seat.show(measured, sets, now) else {
                return Err(self.displaced(samples));
            };
            let recorded = self.record(signs, measured.at_ms, Stream::Live);
            stored = recorded.inspect_err(|()| self.telemetry().history.unsynced_acks.inc()).unwrap_or_default();
            self.shown += 1;
            self.freshest_ms = measured_ms;
            self.telemetry().push_shown(&outcome);
            self.tell(&outcome.clashes);
        }
        let acked = head.seq.max(safe);
        Ok(Answer { frame: ToAgent::Ack(Ack { stream: head.stream, seq: acked }), stored, waits })
    }
}

/// When a push was measured, by our wall clock. The same for what is live and for what is late, so
/// that what is sent again gets the time under which it was seen.
fn corrected_ms(head: &Push, offset_ms: i64) -> i64 {
    // A time of measurement in the future is one that was sent at once.
    head.measured_ms.min(head.now_ms).saturating_sub(offset_ms)
}

/// When a push was measured, by the agent's clock that never steps.
fn measured_mono(head: &Push) -> i64 {
    let sent = i64::try_from(head.mono_ms).unwrap_or(i64::MAX);
    // A time of measurement in the future is one that was sent at once.
    sent.saturating_sub(head.now_ms.saturating_sub(head.measured_ms).max(0))
}

fn unexpected<T>(reason: &str) -> Result<T, Ended> {
    Err(Ended::refused(RefuseCode::Unexpected, reason.to_owned()))
}
