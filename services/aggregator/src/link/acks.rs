//! Acks of live pushes that wait until the vital signs of their push are in the history. They go
//! out in the order of the pushes; a history that is slow or fails holds none up for long.

use std::collections::VecDeque;
use std::time::Duration;

use prometheus::IntCounter;
use protocol::frame::{Ack, Stream};
use protocol::{ToAgent, limits};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::{Instant, timeout_at};

use super::vitals::Stored;

/// An ack waits no longer. An agent gives a connection up when none has come for 3 s at least: a
/// history in trouble must not take the fleet off the page.
const SYNC_WITHIN: Duration = Duration::from_secs(1);
/// Acks that wait: an agent has no more pushes unacknowledged. Of one that has, the newest ack
/// stands for those before it, as every ack does.
const WAITING_MAX: usize = limits::LIVE_UNACKED_MAX as usize;

/// What a frame is answered with.
#[derive(Debug)]
pub struct Answer {
    /// The answer.
    pub frame: ToAgent,
    /// It is given when this is stored; `None`: now.
    pub(super) stored: Option<Stored>,
}

impl Answer {
    /// One that waits for nothing.
    pub(super) fn now(frame: ToAgent) -> Self {
        Self { frame, stored: None }
    }

    fn is_of_live_push(&self) -> bool {
        matches!(self.frame, ToAgent::Ack(Ack { stream: Stream::Live, .. }))
    }
}

/// The acks of one connection that wait.
#[derive(Debug)]
pub(super) struct Acks {
    waiting: VecDeque<Waiting>,
    /// Counts those that were given although nothing is known to be stored.
    unsynced: IntCounter,
}

#[derive(Debug)]
struct Waiting {
    ack: ToAgent,
    stored: Option<Stored>,
    until: Instant,
}

impl Acks {
    pub(super) fn new(unsynced: IntCounter) -> Self {
        Self { waiting: VecDeque::new(), unsynced }
    }

    /// Takes an answer in; gives it back when it is to be given now.
    pub(super) fn add(&mut self, answer: Answer) -> Option<ToAgent> {
        let is_due = answer.stored.is_none() && self.waiting.is_empty();
        if is_due || !answer.is_of_live_push() {
            return Some(answer.frame);
        }
        let until = Instant::now() + SYNC_WITHIN;
        let is_full = self.waiting.len() >= WAITING_MAX;
        match self.waiting.back_mut().filter(|_| is_full) {
            Some(last) => {
                last.ack = answer.frame;
                // The history stores in order: what came before this is decided when this is.
                if answer.stored.is_some() {
                    (last.stored, last.until) = (answer.stored, until);
                }
            }
            None => self.waiting.push_back(Waiting { ack: answer.frame, stored: answer.stored, until }),
        }
        None
    }

    /// The next ack, when it is time for it. Cancelling it loses none.
    pub(super) async fn next(&mut self) -> ToAgent {
        let Some(first) = self.waiting.front_mut() else { return std::future::pending().await };
        let is_synced = match &mut first.stored {
            None => true,
            Some(stored) => matches!(timeout_at(first.until, stored).await, Ok(Ok(Ok(())))),
        };
        match self.pop(is_synced) {
            Some(ack) => ack,
            None => std::future::pending().await,
        }
    }

    /// The next ack, if it is time for it already.
    pub(super) fn ready(&mut self) -> Option<ToAgent> {
        let is_synced = match &mut self.waiting.front_mut()?.stored {
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
        let first = self.waiting.pop_front()?;
        if !is_synced {
            self.unsynced.inc();
        }
        Some(first.ack)
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
        (Answer { frame: ack(Stream::Live, seq), stored: Some(stored) }, done)
    }

    #[tokio::test(start_paused = true)]
    async fn they_come_in_the_order_of_the_pushes() {
        let mut acks = acks();
        assert!(acks.add(Answer::now(ack(Stream::Live, 1))).is_some(), "nothing to wait for");
        let (second, done) = waits(2);
        assert!(acks.add(second).is_none());
        assert!(acks.add(Answer::now(ack(Stream::Live, 3))).is_none(), "it would stand for the second as well");
        assert!(acks.add(Answer::now(ack(Stream::Late, 1))).is_some(), "another stream");
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
            assert!(acks.add(answer).is_none());
        }
        done.send(Err(PutError::Busy)).unwrap();
        assert_eq!(acks.next().await, ack(Stream::Live, 1));
        assert_eq!(began.elapsed(), SYNC_WITHIN);
        assert!(acks.add(forgotten).is_none());
        assert_eq!([acks.ready(), acks.ready()], [2, 3].map(|seq| Some(ack(Stream::Live, seq))));
        assert_eq!(acks.unsynced.get(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_the_newest_stands_for_all() {
        let mut acks = acks();
        let (answers, done): (Vec<_>, Vec<_>) = (1..=100).map(waits).unzip();
        for answer in answers {
            assert!(acks.add(answer).is_none());
        }
        assert!(acks.add(Answer::now(ack(Stream::Live, 101))).is_none());
        assert_eq!(acks.waiting.len(), WAITING_MAX);
        done.into_iter().for_each(|done| drop(done.send(Ok(()))));
        assert_eq!([acks.ready(), acks.ready()], [1, 101].map(|seq| Some(ack(Stream::Live, seq))));
        assert_eq!((acks.ready(), acks.unsynced.get()), (None, 0));
    }
}
