//! Acks of live pushes that wait until the vital signs of their push are in the history. They go
//! out in the order of the pushes; a history that is slow or fails holds none up for long.

use std::collections::VecDeque;
use std::time::Duration;

use prometheus::IntCounter;
use protocol::frame::{Ack, RefuseCode, Stream};
use protocol::{ToAgent, limits};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::{Instant, timeout_at};

use super::ended::Ended;
use super::late::Unsafe;
use super::vitals::Stored;

/// An ack waits no longer. An agent gives a connection up when none has come for 3 s at least: a
/// history in trouble must not take the fleet off the page.
const SYNC_WITHIN: Duration = Duration::from_secs(1);
/// Acks that wait: an agent has no more pushes unacknowledged. Of one that has, the newest ack
/// stands for those before it, as every ack does.
const WAITING_MAX: usize = limits::LIVE_UNACKED_MAX as usize;
/// Late pushes that wait until they are safe, however long that takes. They hold room, so an agent
/// that sends more is refused.
const LATE_MAX: usize = limits::LATE_UNACKED_MAX as usize;

/// What a frame is answered with.
#[derive(Debug)]
pub struct Answer {
    /// The answer.
    pub frame: ToAgent,
    /// It is given when this is stored; `None`: now.
    pub(super) stored: Option<Stored>,
    /// Of a late push: what it waits for.
    pub(super) waits: Option<Unsafe>,
}

impl Answer {
    /// One that waits for nothing.
    pub(super) fn now(frame: ToAgent) -> Self {
        Self { frame, stored: None, waits: None }
    }

    fn stream(&self) -> Option<Stream> {
        match self.frame {
            ToAgent::Ack(Ack { stream, .. }) => Some(stream),
            _ => None,
        }
    }
}

/// The acks of one connection that wait.
#[derive(Debug)]
pub(super) struct Acks {
    waiting: VecDeque<Waiting>,
    /// Of the late stream.
    late: VecDeque<(ToAgent, Option<Unsafe>)>,
    /// Counts those that were given although nothing is known to be stored.
    unsynced: IntCounter,
}

#[derive(Debug)]
struct Waiting {
    ack: ToAgent,
    stored: Option<Stored>,
    /// It was live and came late.
    late: Option<Unsafe>,
    until: Instant,
}

impl Acks {
    pub(super) fn new(unsynced: IntCounter) -> Self {
        Self { waiting: VecDeque::new(), late: VecDeque::new(), unsynced }
    }

    /// Takes an answer in; gives it back when it is to be given now.
    ///
    /// # Errors
    /// When more late pushes wait than may.
    pub(super) fn add(&mut self, answer: Answer) -> Result<Option<ToAgent>, Ended> {
        match answer.stream() {
            None => Ok(Some(answer.frame)),
            Some(Stream::Live) => Ok(self.add_live(answer)),
            Some(Stream::Late) => self.add_late(answer),
        }
    }

    fn add_late(&mut self, Answer { frame, mut waits, .. }: Answer) -> Result<Option<ToAgent>, Ended> {
        if self.late.is_empty() && waits.as_mut().is_none_or(Unsafe::is_safe) {
            return Ok(Some(frame));
        }
        if self.late.len() >= LATE_MAX {
            let reason = format!("more than {LATE_MAX} late pushes wait for their ack");
            return Err(Ended::refused(RefuseCode::Limit, reason));
        }
        self.late.push_back((frame, waits));
        Ok(None)
    }

    fn add_live(&mut self, answer: Answer) -> Option<ToAgent> {
        let Answer { frame, stored, waits: mut late } = answer;
        let waits = stored.is_some() || late.as_mut().is_some_and(|late| !late.is_safe());
        if !waits && self.waiting.is_empty() {
            return Some(frame);
        }
        let until = Instant::now() + SYNC_WITHIN;
        let is_full = self.waiting.len() >= WAITING_MAX;
        match self.waiting.back_mut().filter(|_| is_full) {
            Some(last) => {
                last.ack = frame;
                // The history stores in order: what came before this is decided when this is.
                if stored.is_some() {
                    (last.stored, last.until) = (stored, until);
                }
                if let Some(late) = late
                    && let Some(mut before) = last.late.replace(late)
                {
                    before.give_up();
                }
            }
            None => self.waiting.push_back(Waiting { ack: frame, stored, late, until }),
        }
        None
    }

    /// The next ack, when it is time for it. Cancelling it loses none.
    pub(super) async fn next(&mut self) -> ToAgent {
        let Self { waiting, late, .. } = self;
        let (is_live, is_synced) = tokio::select! {
            is_synced = live_is_due(waiting.front_mut()) => (true, is_synced),
            () = late_is_due(late.front_mut()) => (false, true),
        };
        let ack = if is_live { self.pop(is_synced) } else { self.late.pop_front().map(|(ack, _)| ack) };
        match ack {
            Some(ack) => ack,
            None => std::future::pending().await,
        }
    }

    /// The next ack, if it is time for it already.
    pub(super) fn ready(&mut self) -> Option<ToAgent> {
        if let Some((_, waits)) = self.late.front_mut()
            && waits.as_mut().is_none_or(Unsafe::is_safe)
        {
            return self.late.pop_front().map(|(ack, _)| ack);
        }
        let first = self.waiting.front_mut()?;
        if first.late.as_mut().is_some_and(|late| !late.is_safe()) {
            return None;
        }
        let is_synced = match &mut first.stored {
            None => true,
            Some(stored) => match stored.try_recv() {
                Ok(stored) => stored.is_ok(),
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Closed) => false,
            },
        };
        self.pop(is_synced)
    }

    fn pop(&mut self, is_synced: bool) -> Option<ToAgent> {
        let mut first = self.waiting.pop_front()?;
        if let Some(late) = &mut first.late {
            late.give_up();
        }
        if !is_synced {
            self.unsynced.inc();
        }
        Some(first.ack)
    }
}

/// Waits until a live push may be acknowledged; says whether what it waits for is on the disk.
async fn live_is_due(first: Option<&mut Waiting>) -> bool {
    let Some(first) = first else { return std::future::pending().await };
    let is_late_stored = match &mut first.late {
        None => true,
        Some(late) => timeout_at(first.until, late.wait()).await.is_ok() || late.is_stored(),
    };
    let is_stored = match &mut first.stored {
        None => true,
        Some(stored) => matches!(timeout_at(first.until, stored).await, Ok(Ok(Ok(())))),
    };
    is_late_stored && is_stored
}

/// Waits until a late push is safe, however long that takes.
async fn late_is_due(first: Option<&mut (ToAgent, Option<Unsafe>)>) {
    match first {
        None => std::future::pending().await,
        Some((_, None)) => {}
        Some((_, Some(waits))) => waits.wait().await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::history::PutError;

    fn acks() -> Acks {
        Acks::new(IntCounter::new("unsynced", "unsynced").unwrap())
    }

    fn ack(stream: Stream, seq: u64) -> ToAgent {
        ToAgent::Ack(Ack { stream, seq })
    }

    fn waits(seq: u64) -> (Answer, oneshot::Sender<Result<(), PutError>>) {
        let (done, stored) = oneshot::channel();
        (Answer { frame: ack(Stream::Live, seq), stored: Some(stored), waits: None }, done)
    }

    #[tokio::test(start_paused = true)]
    async fn they_come_in_the_order_of_the_pushes() {
        let mut acks = acks();
        assert!(acks.add(Answer::now(ack(Stream::Live, 1))).unwrap().is_some(), "nothing to wait for");
        let (second, done) = waits(2);
        assert!(acks.add(second).unwrap().is_none());
        assert!(
            acks.add(Answer::now(ack(Stream::Live, 3))).unwrap().is_none(),
            "it would stand for the second as well"
        );
        assert!(acks.add(Answer::now(ack(Stream::Late, 1))).unwrap().is_some(), "another stream");
        assert!(acks.ready().is_none());
        let began = Instant::now();
        done.send(Ok(())).unwrap();
        assert_eq!([acks.next().await, acks.next().await], [2, 3].map(|seq| ack(Stream::Live, seq)));
        assert!(acks.ready().is_none());
        assert_eq!((began.elapsed(), acks.unsynced.get()), (Duration::ZERO, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn none_waits_for_more_than_a_second() {
        let mut acks = acks();
        let (slow, _never) = waits(1);
        let (failed, done) = waits(2);
        let (forgotten, _) = waits(3);
        let began = Instant::now();
        for answer in [slow, failed] {
            assert!(acks.add(answer).unwrap().is_none());
        }
        done.send(Err(PutError::Busy)).unwrap();
        assert_eq!(acks.next().await, ack(Stream::Live, 1));
        assert_eq!(began.elapsed(), SYNC_WITHIN);
        assert!(acks.add(forgotten).unwrap().is_none());
        assert_eq!([acks.ready(), acks.ready()], [2, 3].map(|seq| Some(ack(Stream::Live, seq))));
        assert_eq!(acks.unsynced.get(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_the_newest_stands_for_all() {
        let mut acks = acks();
        let (answers, done): (Vec<_>, Vec<_>) = (1..=100).map(waits).unzip();
        for answer in answers {
            assert!(acks.add(answer).unwrap().is_none());
        }
        assert!(acks.add(Answer::now(ack(Stream::Live, 101))).unwrap().is_none());
        assert_eq!(acks.waiting.len(), WAITING_MAX);
        done.into_iter().for_each(|done| drop(done.send(Ok(()))));
        assert_eq!([acks.ready(), acks.ready()], [1, 101].map(|seq| Some(ack(Stream::Live, seq))));
        assert_eq!((acks.ready(), acks.unsynced.get()), (None, 0));
    }
}
