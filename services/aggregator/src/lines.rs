//! Put and get: one task a connection, from the first byte to the last.
//!
//! `wire` moves bytes and waits, `run` takes in what was put, `answer` reads what is asked
//! for; this file decides what comes after what. What has arrived is taken in together: the puts up
//! to the next `get` are one batch for the history and are answered when that is stored, so
//! replies keep the order of the lines, and a client that sends without waiting shares each sync
//! with itself. Nothing of a single command is logged, everything is counted.

mod answer;
mod ended;
mod guard;
mod opening;
mod run;
pub(crate) mod turns;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

use self::answer::answer;
pub use self::ended::Ended;
use self::guard::Guard;
use self::opening::{NOT_TLS, Opening};
use self::run::Run;
use self::turns::Turns;
use self::wire::Wire;
use crate::access::Access;
use crate::fleet::room::Room;
use crate::history::History;
use crate::link;
use crate::stop::Stop;
use crate::telemetry;

/// Threads that read the history for clients at the same time.
const READERS_MAX: usize = 32;
/// Answers of more than one piece that are under way. Each takes about a megabyte at most: what is read
/// ahead in the history, up to 0.5 MB (and 2 KB for each partition), a piece of points and its text.
const LONG_ANSWERS_MAX: usize = 64;
/// How many of these one address may have: others want to read too.
const LONG_ANSWERS_EACH_MAX: usize = LONG_ANSWERS_MAX / 4;
/// Where tokens are wanted, one must be shown so soon: strangers hold no place for long.
const AUTH_WITHIN: Duration = Duration::from_secs(10);
/// A client that takes nothing of a reply for so long is given up.
const STALL_MAX: Duration = Duration::from_secs(30);
/// What it must take of a long answer in that time, 35 KB/s. Otherwise a few slow clients would hold
/// all the turns for hours.
const STRIDE_BYTES: usize = 1 << 20;

/// What all connections share.
#[derive(Debug)]
pub struct Lines {
    /// The history, room for lines that are not whole, telemetry, and what may be logged: shared
    /// with the link.
    shared: Arc<link::Shared>,
    /// Half of the room for lines: clients must not take all of it from agents.
    room: Room,
    readers: Arc<Semaphore>,
    long_answers: Turns,
}

impl Lines {
    /// For connections that have sent nothing yet.
    #[must_use]
    pub fn new(shared: Arc<link::Shared>) -> Self {
        let room = Room::new(shared.buffers.max() / 2);
        let readers = Arc::new(Semaphore::new(READERS_MAX));
        let long_answers = Turns::new(LONG_ANSWERS_MAX, LONG_ANSWERS_EACH_MAX);
        Self { shared, room, readers, long_answers }
    }

    /// The metrics of put/get.
    pub(crate) fn telemetry(&self) -> &telemetry::Lines {
        &self.shared.telemetry.lines
    }

    /// The metrics of the whole aggregator.
    pub(crate) fn common(&self) -> &telemetry::Telemetry {
        &self.shared.telemetry
    }

    /// The system could not give us a connection.
    pub(crate) fn accept_error(&self) {
        self.shared.telemetry.accept_error("line");
    }

    /// Who gets in.
    pub(crate) fn access(&self) -> &Access {
        &self.shared.access
    }

    fn history(&self) -> Option<&Arc<History>> {
        self.shared.history.as_ref()
    }
}

/// Serves one connection until it ends, or until `stop` says so.
pub async fn serve<IO>(io: IO, peer: SocketAddr, lines: Arc<Lines>, mut stop: Stop)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut wire = Wire::new(io, peer.ip(), &lines);
    let ended = converse(&mut wire, peer, &lines, &mut stop).await;
    lines.telemetry().closed(ended.reason());
    // Most clients connect for a line or two: only what somebody might look for is told.
    if ended.is_remarkable() && lines.shared.may_warn() {
        tracing::warn!(%peer, reason = ended.reason(), "put/get connection ended");
    } else {
        tracing::debug!(%peer, reason = ended.reason(), "put/get connection closed");
    }
    if matches!(ended, Ended::Stopping | Ended::Idle | Ended::Http | Ended::Tls | Ended::Unauthorized) {
        wire.close().await;
    }
}

/// Says that there is no room, and closes. It fits into any socket's buffer, so nothing waits for
/// the peer here.
pub(crate) fn turn_away(stream: &tokio::net::TcpStream, lines: &Lines, why: &str) {
    lines.telemetry().closed("refused");
    if lines.shared.may_warn() {
        tracing::warn!(reason = why, "put/get connection refused");
    }
    if lines.access().speaks_tls() {
        // In the middle of a handshake nothing can be said.
        return;
    }
    let mut reply = Vec::new();
    protocol::lines::write_error(&mut reply, why);
    let _best_effort = stream.try_write(&reply);
}

async fn converse<IO>(wire: &mut Wire<'_, IO>, peer: SocketAddr, lines: &Lines, stop: &mut Stop) -> Ended
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut opening = Opening::default();
    let mut guard = Guard::new(lines.access(), peer);
    loop {
        let shown_until = guard.until();
        let overdue = async {
            match shown_until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            filled = wire.fill() => filled.err(),
            () = overdue => Some(Ended::Unauthorized),
            () = guard.changed(lines.access()) => continue,
            () = stop.requested() => Some(Ended::Stopping),
        };
        let ended = match ended {
            Some(ended) => ended,
            None => match carry_out(wire, lines, (&mut opening, &mut guard), stop).await {
                Ok(()) => continue,
                Err(ended) => ended,
            },
        };
        if ended == Ended::Unauthorized && guard.is_overdue() {
            guard.count_missing(lines.access());
        }
        return ended;
    }
}

/// Carries out all lines that are whole.
async fn carry_out<IO>(
    wire: &mut Wire<'_, IO>,
    lines: &Lines,
    (opening, guard): (&mut Opening, &mut Guard),
    stop: &Stop,
) -> Result<(), Ended>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    loop {
        match Run::new(lines, opening, guard).carry_out(wire).await? {
            Some(what) => answer(wire, lines, what).await?,
            None => break,
        }
        if stop.is_requested() {
            // What is answered is sent; the lines that were not begun get nothing.
            wire.flush().await?;
            return Err(Ended::Stopping);
        }
    }
    if opening.is_tls(wire.lines().rest()) {
        let mut reply = Vec::new();
        protocol::lines::write_error(&mut reply, NOT_TLS);
        wire.queue(&reply).await?;
        wire.flush().await?;
        return Err(Ended::Tls);
    }
    wire.flush().await
}

#[cfg(test)]
mod tests;
