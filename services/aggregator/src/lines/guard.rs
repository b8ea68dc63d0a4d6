//! Whether a client has shown a token, and what it may do with it. Without tokens everybody may do
//! everything, and `auth` is a wrong command.

use std::net::SocketAddr;
use std::sync::Arc;

use protocol::lines::{Command, shown_token};
use security::{Denied, Grant, Scope, Tokens};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::access::{Access, Listener, now_ms};
use crate::telemetry::LineError;

use super::AUTH_WITHIN;

/// So many lines without a token are answered.
pub(super) const UNAUTHORIZED_MAX: u32 = 100;

/// What is known of one client.
#[derive(Debug)]
pub(super) struct Guard(Option<Watched>);

#[derive(Debug)]
struct Watched {
    peer: SocketAddr,
    grant: Option<Grant>,
    /// Until when it must show a token, where it has shown none that is good.
    until: Instant,
    /// Lines that came since it has none.
    unauthorized: u32,
    /// Why it may not put, and not get, by the tokens that there were at the last look. There are
    /// many lines a second, and a token is compared with all of them.
    denied: [Option<Denied>; 2],
    changes: watch::Receiver<Arc<Tokens>>,
}

/// What a line was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// Something else than tokens.
    Nothing,
    /// A token that is good.
    Good,
    /// Something, but there was no token before it.
    Unauthorized,
    /// A token that is not.
    Bad(Denied),
}

impl Guard {
    pub(super) fn new(access: &Access, peer: SocketAddr) -> Self {
        let denied = [Some(Denied::Missing); 2];
        let until = Instant::now() + AUTH_WITHIN;
        let watched = || Watched { peer, grant: None, until, unauthorized: 0, denied, changes: access.changes() };
        Self(access.wants_tokens().then(watched))
    }

    /// Until when a token must be shown, if one is needed and there is none.
    pub(super) fn until(&self) -> Option<Instant> {
        self.0.as_ref().filter(|watched| watched.grant.is_none()).map(|watched| watched.until)
    }

    /// Is that over?
    pub(super) fn is_overdue(&self) -> bool {
        self.until().is_some_and(|until| Instant::now() >= until)
    }

    /// Completes when a token that was good may be none any more, because it is gone or has expired;
    /// what that means is seen then, and the client has some time to show another.
    pub(super) async fn changed(&mut self, access: &Access) {
        if let Some(watched) = &mut self.0
            && watched.changes.changed().await.is_ok()
        {
            watched.look_again(access);
            return;
        }
        // Nobody will ever say so.
        std::future::pending::<()>().await;
    }

    /// Looks at a line that is whole and not empty.
    pub(super) fn look(&mut self, access: &Access, line: &[u8]) -> Shown {
        let Some(watched) = &mut self.0 else { return Shown::Nothing };
        watched.follow(access);
        let Some(token) = shown_token(line) else {
            if watched.grant.is_some() {
                return Shown::Nothing;
            }
            watched.unauthorized += 1;
            if watched.unauthorized <= UNAUTHORIZED_MAX {
                return Shown::Unauthorized;
            }
            access.denied(Listener::Line, watched.peer, Denied::Missing);
            return Shown::Bad(Denied::Missing);
        };
        match access.tokens().recognise(token, now_ms()) {
            Ok(grant) => {
                watched.grant = Some(grant);
                watched.unauthorized = 0;
                watched.ask(&access.tokens());
                Shown::Good
            }
            Err(denied) => {
                watched.grant = None;
                access.denied(Listener::Line, watched.peer, denied);
                Shown::Bad(denied)
            }
        }
    }

    /// May it do this? Ask after [`Guard::look`].
    pub(super) fn may(&self, access: &Access, command: &Command<'_>) -> Result<(), LineError> {
        let Some(Watched { denied: [put, get], peer, .. }) = &self.0 else { return Ok(()) };
        let denied = if matches!(command, Command::Put { .. }) { put } else { get };
        let Some(denied) = *denied else { return Ok(()) };
        access.denied(Listener::Line, *peer, denied);
        Err(LineError::Forbidden)
    }

    /// Its lines are not even looked at.
    pub(super) fn count_missing(&self, access: &Access) {
        if let Some(watched) = &self.0 {
            access.denied(Listener::Line, watched.peer, Denied::Missing);
        }
    }
}

impl Watched {
    /// What was allowed may be no more.
    fn follow(&mut self, access: &Access) {
        if self.changes.has_changed().unwrap_or(false) {
            self.look_again(access);
        }
    }

    fn look_again(&mut self, access: &Access) {
        let tokens = Arc::clone(&self.changes.borrow_and_update());
        let Some(grant) = &self.grant else { return };
        if let Err(denied @ (Denied::Wrong | Denied::Expired)) = tokens.may(grant, Scope::Put, None, now_ms()) {
            access.denied(Listener::Line, self.peer, denied);
            self.grant = None;
            self.until = Instant::now() + AUTH_WITHIN;
        }
        self.ask(&tokens);
    }

    fn ask(&mut self, tokens: &Tokens) {
        self.denied = [Scope::Put, Scope::Read].map(|scope| match &self.grant {
            Some(grant) => tokens.may(grant, scope, None, now_ms()).err(),
            None => Some(Denied::Missing),
        });
    }
}
