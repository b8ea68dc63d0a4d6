//! What others may do to a connection that has a name: ask whether its agent lives, and tell it
//! that the name is somebody else's now. The second always arrives, however many ask.

use std::net::SocketAddr;

use protocol::limits::INCUMBENT_WITHIN;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// Questions that may wait for a connection. One that has more of them is asked enough.
const QUESTIONS_MAX: usize = 8;

/// The others' end.
#[derive(Debug, Clone)]
pub struct Incumbent {
    questions: mpsc::Sender<oneshot::Sender<()>>,
    displaced: watch::Sender<Option<SocketAddr>>,
}

/// The connection's own end.
#[derive(Debug)]
pub(super) struct Inbox {
    questions: mpsc::Receiver<oneshot::Sender<()>>,
    displaced: watch::Receiver<Option<SocketAddr>>,
}

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// The agent gave a sign of life, or is being asked by so many that it will have to.
    Alive,
    /// It gave none in time.
    Dead,
    /// The connection ended meanwhile.
    Gone,
}

/// Both ends.
pub(super) fn ends() -> (Incumbent, Inbox) {
    let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
    let (displaced, told) = watch::channel(None);
    (Incumbent { questions, displaced }, Inbox { questions: asked, displaced: told })
}

impl Incumbent {
    /// Of a connection that nobody serves, for tests of what only knows about connections.
    #[cfg(test)]
    pub(crate) fn of_nobody() -> Self {
        ends().0
    }

    /// The name belongs to a connection from there now.
    pub(crate) fn displace(&self, by: SocketAddr) {
        self.displaced.send_replace(Some(by));
    }

    /// Asks for a sign of life, for a second.
    pub(super) async fn ask(&self) -> Life {
        let (answer, answered) = oneshot::channel();
        match self.questions.try_send(answer) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Life::Alive,
            Err(TrySendError::Closed(_)) => return Life::Gone,
        }
        match timeout(INCUMBENT_WITHIN, answered).await {
            Ok(Ok(())) => Life::Alive,
            Ok(Err(_)) => Life::Gone,
            Err(_) => Life::Dead,
        }
    }
}

/// What a connection hears from others.
#[derive(Debug)]
pub(super) enum Heard {
    /// Is your agent alive? Say so here.
    Question(oneshot::Sender<()>),
    /// The name belongs to a connection from there now.
    Displaced(SocketAddr),
}

impl Inbox {
    /// The next word. Cancelling it loses none.
    pub(super) async fn next(&mut self) -> Heard {
        tokio::select! {
            by = displaced(&mut self.displaced) => Heard::Displaced(by),
            Some(question) = self.questions.recv() => Heard::Question(question),
        }
    }
}

async fn displaced(told: &mut watch::Receiver<Option<SocketAddr>>) -> SocketAddr {
    let by = told.wait_for(Option::is_some).await.ok().and_then(|by| *by);
    match by {
        Some(by) => by,
        // Nobody can say it any more: whoever has the name now has said so already.
        None => std::future::pending().await,
    }
}
