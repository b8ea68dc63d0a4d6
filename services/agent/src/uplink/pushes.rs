//! What an uplink does with pushes: which goes next, on which stream, and what became of it.

use std::collections::hash_map::Entry;
use std::time::Duration;

use protocol::frame::RefuseCode;
use tokio::time::Instant;

use super::connection::Event;
use super::{Connect, Uplink};
use crate::spool::{Lost, Next};
use crate::telemetry::{Failure, Spooled};

/// Most pushes of lost connections of which the next aggregator is asked whether it has them.
const DOUBTFUL_MAX: usize = 16;
/// How often in a row a late push may be under way when the agent is refused.
const REFUSALS_MAX: u32 = 3;
/// What goes on for long is told again after this: logs are rotated.
const TELL_EVERY: Duration = Duration::from_secs(3600);

impl<C: Connect> Uplink<C> {
    /// Pushes the newest measurement, if there is one that is fresh and it may be pushed.
    pub(super) fn push(&mut self) {
        let Some(connection) = self.connection.as_mut().filter(|connection| connection.may_push()) else { return };
        let Some(mut measurement) = self.mailbox.take() else { return };
        let now = (self.now)();
        if measurement.taken.is_none_or(|taken| taken.age_at(now) > connection.stale_after()) {
            self.mailbox.keep(measurement);
            self.telemetry.spooled(Spooled::Stale);
            return;
        }
        let waiting = self.mailbox.spool().status(now);
        let left_out = connection.push(&measurement, now, &waiting, Instant::now());
        measurement.left_out = self.left_out.of(&measurement, &left_out);
        for unsent in left_out {
            self.telemetry.series_dropped(unsent.set, unsent.why, unsent.series);
            if is_to_be_told(self.told_unsent.entry((unsent.set, unsent.why)), Instant::now()) {
                let (set, family, series, why) = (unsent.set, &unsent.family, unsent.series, unsent.why);
                tracing::warn!(set, family, series, why, "{}", unsent.sentence());
            }
        }
        self.sent = self.sent.max(measurement.seq);
        self.kept.push_back(measurement);
    }

    /// Pushes what waits in the spool, if it is time for it and nothing live waits; else notes when
    /// it is.
    pub(super) fn push_late(&mut self) {
        self.late_due = None;
        let Some(connection) = &mut self.connection else { return };
        let Some(due) = connection.late_due().filter(|_| !self.mailbox.is_waiting() || !connection.may_push()) else {
            return;
        };
        let spool = self.mailbox.spool();
        if due > Instant::now() {
            self.late_due = Some(due).filter(|_| spool.is_more(connection.late_after()));
            return;
        }
        let Next::Push(push) = spool.next(connection.late_after()) else { return };
        let now = (self.now)();
        let refused = connection.push_late(&push, spool.measured_ms(&push, now), now, Instant::now());
        spool.lose(Lost::Refused, refused);
        self.telemetry.late_sent();
    }

    /// Takes what the aggregator said.
    pub(super) fn take(&mut self, event: Event) {
        match event {
            Event::None => {}
            Event::Welcome { acked, now_ms } => {
                self.mailbox.spool().heard(now_ms, (self.now)());
                self.mailbox.spool().acked(acked.late);
                for (late, _) in self.doubtful.drain(..).filter(|(_, live)| *live <= acked.live) {
                    self.mailbox.spool().safe(late);
                    self.telemetry.late_safe();
                }
                self.mailbox.pace.ask();
            }
            Event::Live { seq, is_first } => {
                while let Some(safe) = self.kept.pop_front_if(|kept| kept.seq <= seq) {
                    // What goes to the spool instead is counted when it is sent from there.
                    self.mailbox.spool().lose(Lost::Refused, safe.left_out);
                    self.mailbox.give_back(safe);
                }
                if is_first {
                    self.route.works();
                    self.told.clear();
                }
                if let Some(path) = &self.settings.heartbeat {
                    crate::health::beat(path, &mut self.told);
                }
            }
            Event::Late(seq) => {
                self.mailbox.spool().acked(seq);
                self.suspect = None;
            }
        }
    }

    /// What was under way is in doubt: it waits in the spool until somebody says that he has it.
    pub(super) fn keep_unacked(&mut self, why: Spooled) {
        while let Some(kept) = self.kept.pop_front() {
            let live = kept.seq;
            self.telemetry.spooled(why);
            self.doubtful.extend(self.mailbox.keep(kept).map(|late| (late, live)));
        }
        // More than one connection may be lost before one is welcomed, but each had few under way.
        let much = self.doubtful.len().saturating_sub(DOUBTFUL_MAX);
        self.doubtful.drain(..much);
    }

    /// An aggregator has pushes of this session that this process never sent: the host was restored
    /// from an older copy. As another session it can be heard; what waits goes with it.
    pub(super) fn begin_anew(&mut self) {
        let (former, id) = (self.mailbox.spool().session(), format!("{:032x}", self.random.u128(..)));
        tracing::warn!(former, session = id, "another process used this spool's numbers, it gets a new id");
        self.mailbox.spool().renew(&id);
        // Of what was under way in the former session nobody will say anything in this one.
        self.doubtful.clear();
    }

    /// An aggregator that refuses the agent each time while the same late push is under way may mean
    /// that push. It must not keep away what is measured now.
    pub(super) fn suspect(&mut self, failure: Failure, first: Option<u64>) {
        let Some(first) = first.filter(|_| matches!(failure, Failure::Refused(code) if is_about_content(code))) else {
            return;
        };
        let before = self.suspect.take().filter(|(seq, _)| *seq == first).map_or(0, |(_, times)| times);
        if before + 1 < REFUSALS_MAX {
            self.suspect = Some((first, before + 1));
        } else {
            tracing::warn!(seq = first, "a push of the spool is refused again and again, it is given up");
            self.mailbox.spool().give_up(first, Lost::Refused);
        }
    }
}

/// Is it what was said that was refused, and not who said it or when?
fn is_about_content(code: RefuseCode) -> bool {
    use RefuseCode as Code;
    !matches!(
        code,
        Code::Version
            | Code::NameInUse
            | Code::Superseded
            | Code::Overloaded
            | Code::Auth
            | Code::Silent
            | Code::TooSlow
    )
}

/// Of what goes on the log is told once an hour.
fn is_to_be_told<K>(told: Entry<'_, K, Instant>, now: Instant) -> bool {
    match told {
        Entry::Vacant(never) => {
            never.insert(now);
            true
        }
        Entry::Occupied(mut then) if now.saturating_duration_since(*then.get()) >= TELL_EVERY => {
            then.insert(now);
            true
        }
        Entry::Occupied(_) => false,
    }
}
