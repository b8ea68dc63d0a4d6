//! The agent link: one task a connection, from the first byte to the last.
//!
//! This file moves bytes and waits; what a frame means is decided in [`session`], who may have a
//! name in [`crate::fleet`]. One log line a connection says how it ended.

mod assembly;
mod greet;
pub mod session;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::frame::{Goaway, Ping, Refuse, RefuseCode};
use protocol::{ToAgent, limits};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use self::session::{Ended, Session};
use self::wire::Wire;
use crate::fleet::room::Room;
use crate::fleet::{Fleet, Moment};
use crate::stop::Stop;
use crate::telemetry::Telemetry;

/// What others may tell a connection.
#[derive(Debug)]
pub enum ToConnection {
    /// Another connection has your name now.
    Superseded {
        /// Where it comes from.
        by: SocketAddr,
    },
    /// Find out whether your agent is alive, and say so here.
    Probe(oneshot::Sender<()>),
}

/// Commands that may wait for a connection. More means that it is hung.
const COMMANDS_MAX: usize = 8;
/// A peer that takes none of our bytes for so long is given up.
const WRITE_WITHIN: Duration = Duration::from_secs(5);
/// How long an agent is asked to stay away when this aggregator stops.
const AWAY_MS: u64 = 500;

/// What all connections share.
#[derive(Debug)]
pub struct Shared {
    /// The fleet.
    pub fleet: Arc<Fleet>,
    /// This aggregator's name.
    pub name: String,
    /// Room for lines that are not whole yet.
    pub buffers: Room,
    /// The aggregator's own metrics.
    pub telemetry: Arc<Telemetry>,
}

/// Now, by both clocks.
#[must_use]
pub fn moment() -> Moment {
    Moment { instant: Instant::now().into_std(), wall_ms: lifecycle::clock::unix_ms() }
}

/// Serves one connection until it ends, or until `stop` says so.
pub async fn serve<IO>(io: IO, peer: SocketAddr, shared: Arc<Shared>, stop: Stop)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut wire = Wire::new(io, &shared);
    let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
    let mut greeted_by = None;
    let ended = match greet::greet(&mut wire, peer, &shared, commands, stop.clone()).await {
        Ok((session, interval)) => {
            greeted_by = Some(session.agent().clone());
            converse(&mut wire, session, interval, inbox, stop).await
        }
        Err(ended) => ended,
    };
    let agent = greeted_by.map(|name| name.to_string()).unwrap_or_default();
    shared.telemetry.link_closed(ended.reason());
    match &ended {
        Ended::Refused { code, reason, .. } => {
            shared.telemetry.link_refused(*code);
            tracing::warn!(%peer, %agent, code = code.as_str(), %reason, "connection refused");
        }
        other => tracing::info!(%peer, %agent, reason = other.reason(), "connection closed"),
    }
    if let Some(last_word) = ended.last_word() {
        wire.say_and_close(&last_word).await;
    }
}

/// Says that there is no room, and closes. The refusal fits into any socket's buffer, so nothing
/// waits for the peer here.
pub(crate) fn turn_away(stream: &tokio::net::TcpStream, shared: &Shared, connections_max: usize) {
    let ended = Ended::refused(
        RefuseCode::Overloaded,
        format!("{connections_max} connections are open, FLEETGAUGE_MAX_CONNECTIONS of the aggregator allows no more"),
    )
    .retry_after(Duration::from_secs(5));
    shared.telemetry.link_refused(RefuseCode::Overloaded);
    shared.telemetry.link_closed(ended.reason());
    if let Some(refusal) = ended.last_word() {
        let mut line = Vec::new();
        protocol::encode(&refusal, &mut line);
        let _best_effort = stream.try_write(&line);
    }
}

/// After `welcome`: takes in frames until something ends it.
async fn converse<IO>(
    wire: &mut Wire<'_, IO>,
    mut session: Session,
    interval: Duration,
    mut inbox: mpsc::Receiver<ToConnection>,
    mut stop: Stop,
) -> Ended
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    let silence = limits::silence_after(interval);
    let mut silent_at = Instant::now() + silence;
    let mut probes: Vec<oneshot::Sender<()>> = Vec::new();
    // What came together with the hello waits in the buffer already.
    let mut is_filled = true;
    let ended = loop {
        if is_filled {
            is_filled = false;
            let pushes = session.pushes();
            let took = take_frames(wire, &mut session);
            if session.pushes() != pushes {
                silent_at = Instant::now() + silence;
            }
            // Any whole frame is a sign of life.
            if matches!(took, Ok(frames) if frames > 0) {
                for probe in probes.drain(..) {
                    let _newcomer_waits = probe.send(());
                }
            }
            // What was taken in before something ended the connection is acknowledged still.
            let flushed = wire.flush().await;
            if let Err(ended) = took.and(flushed) {
                break ended;
            }
        }
        tokio::select! {
            read = wire.fill() => match read {
                Ok(()) => is_filled = true,
                Err(ended) => break ended,
            },
            Some(command) = inbox.recv() => match command {
                ToConnection::Superseded { by } => break Ended::superseded(by),
                ToConnection::Probe(answer) => {
                    probes.push(answer);
                    wire.queue(&ToAgent::Ping(Ping { id: 0 }));
                    if let Err(ended) = wire.flush().await {
                        break ended;
                    }
                }
            },
            () = tokio::time::sleep_until(silent_at) => break Ended::silent(silence),
            () = stop.requested() => break Ended::Stopping,
        }
    };
    session.leave(matches!(ended, Ended::Bye), moment());
    ended
}

/// Takes in all whole frames that have arrived; gives their number.
fn take_frames<IO>(wire: &mut Wire<'_, IO>, session: &mut Session) -> Result<usize, Ended>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut frames = 0;
    while let Some(frame) = wire.next_frame()? {
        if let Some(answer) = session.take(frame, moment())? {
            wire.queue(&answer);
        }
        frames += 1;
    }
    Ok(frames)
}

impl Ended {
    fn superseded(by: SocketAddr) -> Self {
        let reason = format!("a newer connection of this agent, from {by}, took over");
        Self::Refused { code: RefuseCode::Superseded, reason, retry_after_ms: 0 }
    }

    fn silent(after: Duration) -> Self {
        let reason = format!("no push for {after:?}");
        Self::Refused { code: RefuseCode::Silent, reason, retry_after_ms: 0 }
    }

    /// What the agent is told before the connection closes.
    fn last_word(&self) -> Option<ToAgent> {
        match self {
            Self::Refused { code, reason, retry_after_ms } => {
                Some(ToAgent::Refuse(Refuse { code: *code, reason: reason.clone(), retry_after_ms: *retry_after_ms }))
            }
            Self::Stopping => {
                Some(ToAgent::Goaway(Goaway { reason: "this aggregator stops".to_owned(), retry_after_ms: AWAY_MS }))
            }
            Self::Bye | Self::Closed | Self::Failed(_) | Self::Unread => None,
        }
    }
}

#[cfg(test)]
mod tests;
