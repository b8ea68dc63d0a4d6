//! What others may do to a connection that has a name: ask whether its agent lives, and tell it to
//! end, because the name is somebody else's now, memory is short, or an operator wants it so. The
//! second always arrives, however many ask.

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
    order: watch::Sender<Option<Order>>,
}

/// Why a connection is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The name belongs to a connection from there now.
    Displaced(SocketAddr),
    /// Memory is short, and this agent is among the newest.
    Shed,
    /// An operator had the agent forgotten.
    Forgotten,
}

/// The connection's own end.
#[derive(Debug)]
pub(super) struct Inbox {
    questions: mpsc::Receiver<oneshot::Sender<()>>,
    order: watch::Receiver<Option<Order>>,
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
    let (order, told) = watch::channel(None);
    (Incumbent { questions, order }, Inbox { questions: asked, order: told })
}

impl Incumbent {
    /// Of a connection that nobody serves, for tests of what only knows about connections.
    #[cfg(test)]
    pub(crate) fn of_nobody() -> Self {
        ends().0
    }

    /// It is to end. Who has lost the name stays told so.
    pub(crate) fn tell(&self, order: Order) {
        self.order.send_if_modified(|told| {
            let is_final = matches!(told, Some(Order::Displaced(_)));
            if !is_final {
                *told = Some(order);
            }
            !is_final
        });
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
    /// End.
    Told(Order),
}

impl Inbox {
    /// The next word. Cancelling it loses none.
    pub(super) async fn next(&mut self) -> Heard {
        tokio::select! {
            order = told(&mut self.order) => Heard::Told(order),
            Some(question) = self.questions.recv() => Heard::Question(question),
        }
    }
}

async fn told(order: &mut watch::Receiver<Option<Order>>) -> Order {
    let told = order.wait_for(Option::is_some).await.ok().and_then(|order| *order);
    match told {
        Some(order) => order,
        // Nobody can say it any more: whoever has the name now has said so already.
        None => std::future::pending().await,
    }
}
