//! The agent link: one task a connection, from the first byte to the last.
//!
//! This file moves bytes and waits; what a frame means is decided in [`session`], who may have a
//! name in [`crate::fleet`]. One log line a connection says how it ended.

pub mod acks;
mod admit;
mod assembly;
mod duplicates;
mod ended;
mod entry;
mod greet;
mod incumbent;
mod late;
mod quotas;
pub mod session;
mod sets;
pub mod vitals;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::frame::{Ping, RefuseCode};
use protocol::{AgentName, ToAgent, limits};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use self::acks::Acks;
use self::ended::Ended;
use self::entry::Pass;
use self::incumbent::{Heard, Inbox};
pub use self::incumbent::{Incumbent, Order};
use self::session::Session;
use self::wire::Wire;
use crate::access::{Access, Listener};
use crate::fleet::room::Room;
use crate::fleet::{Fleet, Moment};
use crate::forward::Forwarder;
use crate::history::History;
use crate::limits::Limits;
use crate::limits::handshakes::{self, Handshake};
use crate::limits::refusals::Refusal;
use crate::quota::Quota;
use crate::stop::Stop;
use crate::telemetry::Telemetry;

/// An agent that was welcomed must have pushed by then.
const FIRST_PUSH_WITHIN: Duration = Duration::from_secs(60);
/// With an interval over ten seconds an agent pings every ten: three are missing.
const QUIET_MAX: Duration = Duration::from_secs(30);

/// A timer that fires so late means that this process did not run.
const KEPT_FROM_RUNNING: Duration = Duration::from_millis(200);
/// How long a silent connection is listened to once more.
const LAST_LOOK: Duration = Duration::from_millis(50);

/// What all connections share.
#[derive(Debug)]
pub struct Shared {
    /// The fleet.
    pub fleet: Arc<Fleet>,
    /// Who gets in.
    pub access: Arc<Access>,
    /// This aggregator's name.
    pub name: String,
    /// Room for lines that are not whole yet.
    pub buffers: Room,
    /// Room for declared names and labels, in bytes.
    pub text: Room,
    /// The aggregator's own metrics.
    pub telemetry: Arc<Telemetry>,
    /// Exact mode: whoever scrapes is shown when things were measured.
    pub exact: bool,
    /// What may still be logged about strangers.
    pub warnings: Quota,
    /// What senders may take.
    pub limits: Limits,
    /// The way to remote write, where there is one.
    pub forward: Option<Arc<Forwarder>>,
    /// What was measured longer ago nobody takes.
    pub late_max: Duration,
    /// The history, where there is a data directory.
    pub history: Option<Arc<History>>,
    /// The same, where agents' vital signs are recorded.
    pub vitals: Option<Arc<History>>,
}

impl Shared {
    /// May another warning about a connection be logged? A flood of them is counted, not logged.
    #[must_use]
    pub fn may_warn(&self) -> bool {
        self.warnings.take(moment().instant)
    }
}

/// Now, by both clocks.
#[must_use]
pub fn moment() -> Moment {
    Moment { instant: Instant::now().into_std(), wall_ms: lifecycle::clock::unix_ms() }
}

/// Takes in a connection of the system until it ends: first TLS, where that is spoken. Who is in the
/// middle of that has said no `hello` either, so it has one of their places from the first moment on.
pub(crate) async fn accepted(tcp: TcpStream, peer: SocketAddr, shared: Arc<Shared>, stop: Stop) {
    let place = admit::begin_handshake(peer.ip(), &shared, &stop, admit::speaks(&tcp, &shared)).await;
    if !shared.access.speaks_tls() {
        return serve_with(tcp, peer, shared, stop, place).await;
    }
    let mut place = match place {
        Ok(place) => place,
        Err(refused) => {
            // In the middle of a handshake nothing can be said.
            note_end(&refused, peer, &shared, None, None);
            admit::dawdle(&shared, stop, std::future::pending()).await;
            return drop(tcp);
        }
    };
    if !hears(&tcp, &mut place, &shared, &mut stop.clone()).await {
        note_end(&admit::displaced(&shared), peer, &shared, None, None);
        admit::dawdle(&shared, stop, std::future::pending()).await;
        return drop(tcp);
    }
    tokio::select! {
        // What has come already counts, whoever needs the place.
        biased;
        entered = shared.access.enter(tcp, peer, Listener::Link, stop.clone()) => {
            if let Some((stream, _)) = entered {
                serve_with(stream, peer, Arc::clone(&shared), stop, Ok(place)).await;
            }
        }
        // What TLS has in memory goes at once.
        () = place.displaced() => note_end(&admit::displaced(&shared), peer, &shared, None, None),
    }
}

/// Waits a moment for the first byte of a TLS handshake: until then nothing need be kept of it. `false`: its
/// place is needed by somebody else before.
async fn hears(tcp: &TcpStream, place: &mut Handshake, shared: &Shared, stop: &mut Stop) -> bool {
    tokio::select! {
        biased;
        speaks = timeout(handshakes::SPARED, admit::speaks(tcp, shared)) => {
            if matches!(speaks, Ok(true)) {
                place.spoke();
            }
            true
        }
        () = place.displaced() => false,
        () = stop.requested() => true,
    }
}

/// Serves one connection until it ends, or until `stop` says so.
pub async fn serve<IO>(io: IO, peer: SocketAddr, shared: Arc<Shared>, stop: Stop)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    let place = admit::begin_handshake(peer.ip(), &shared, &stop, std::future::ready(false)).await;
    serve_with(io, peer, shared, stop, place).await;
}

/// The same for one that has a place among those without a `hello`, or got none.
async fn serve_with<IO>(io: IO, peer: SocketAddr, shared: Arc<Shared>, stop: Stop, place: Result<Handshake, Ended>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut wire = Wire::new(io, &shared);
    let (connection, inbox) = incumbent::ends();
    let (mut claimed, mut greeted_by) = (None, None);
    let greeted = match place {
        Ok(place) => greet::greet(&mut wire, peer, &shared, connection, stop.clone(), (place, &mut claimed)).await,
        Err(refused) => Err(refused),
    };
    let ended = match greeted {
        Ok((session, interval, pass)) => {
            greeted_by = Some(session.agent().clone());
            let acks = Acks::new(shared.telemetry.history.unsynced_acks.clone());
            converse(&mut wire, session, acks, interval, inbox, pass, stop.clone()).await
        }
        Err(ended) => ended,
    };
    let is_stranger = greeted_by.is_none() && claimed.is_none();
    note_end(&ended, peer, &shared, greeted_by, claimed);
    if let Some(last_word) = ended.last_word() {
        if is_stranger {
            wire.say_and_dawdle(&last_word, stop).await;
        } else {
            wire.queue(&last_word);
        }
        wire.close().await;
    }
}

/// Counts and logs how a connection ended.
fn note_end(ended: &Ended, peer: SocketAddr, shared: &Shared, greeted: Option<AgentName>, claimed: Option<AgentName>) {
    let agent = greeted.map(|name| name.to_string()).unwrap_or_default();
    shared.telemetry.link_closed(ended.reason());
    match ended {
        Ended::Refused { code, reason, .. } => {
            shared.telemetry.link_refused(*code);
            // A name that was not let in is only claimed, but whoever looks for it finds it.
            let agent = claimed.as_ref().map_or(agent.as_str(), |name| name.as_str());
            if let Some(name) = &claimed {
                let refusal = Refusal::new(moment().wall_ms, peer.to_string(), code.as_str(), reason);
                shared.fleet.refused(name, refusal, &shared.limits.strangers);
            }
            if shared.may_warn() {
                tracing::warn!(%peer, %agent, code = code.as_str(), %reason, "connection refused");
            } else {
                tracing::debug!(%peer, %agent, code = code.as_str(), %reason, "connection refused");
            }
        }
        other if !agent.is_empty() || shared.may_warn() => {
            tracing::info!(%peer, %agent, reason = other.reason(), "connection closed");
        }
        other => tracing::debug!(%peer, %agent, reason = other.reason(), "connection closed"),
    }
}

/// Says that there is no room, and closes. The refusal fits into any socket's buffer, so nothing
/// waits for the peer here.
pub(crate) fn turn_away(stream: &TcpStream, shared: &Shared, why: String) {
    let ended = Ended::refused(RefuseCode::Overloaded, why).retry_after(admit::away());
    shared.telemetry.link_refused(RefuseCode::Overloaded);
    shared.telemetry.link_closed(ended.reason());
    // In the middle of a handshake nothing can be said.
    if let Some(refusal) = ended.last_word().filter(|_| !shared.access.speaks_tls()) {
        let mut line = Vec::new();
        protocol::encode(&refusal, &mut line);
        let _best_effort = stream.try_write(&line);
    }
}

/// After `welcome`: takes in frames until something ends it.
async fn converse<IO>(
    wire: &mut Wire<'_, IO>,
    mut session: Session,
    mut acks: Acks,
    interval: Duration,
    mut inbox: Inbox,
    mut pass: Pass,
    mut stop: Stop,
) -> Ended
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    let silence = limits::silence_after(interval);
    // The first push is due at once, however long the interval.
    let mut silent_at = Instant::now() + silence.min(FIRST_PUSH_WITHIN);
    // An agent that pushes seldom pings in between; one that does neither is gone.
    let quiet_max = if interval > limits::PING_FROM_INTERVAL { QUIET_MAX } else { silence + QUIET_MAX };
    let mut quiet_at = Instant::now() + quiet_max;
    let mut questions: Vec<oneshot::Sender<()>> = Vec::new();
    // What came together with the hello waits in the buffer already.
    let mut is_filled = true;
    let ended = loop {
        if is_filled {
            is_filled = false;
            let shown = session.shown();
            let took = take_frames(wire, &mut session, &mut acks);
            if session.shown() != shown {
                silent_at = Instant::now() + silence;
            }
            // Any whole frame is a sign of life.
            if matches!(took, Ok(frames) if frames > 0) {
                quiet_at = Instant::now() + quiet_max;
                for question in questions.drain(..) {
                    let _newcomer_may_be_gone = question.send(());
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
            ack = acks.next() => if let Err(ended) = acknowledge(wire, &session, &ack).await {
                break ended;
            },
            heard = inbox.next() => {
                let question = match heard {
                    Heard::Told(order) => break admit::ordered(order),
                    Heard::Question(question) => question,
                };
                // One ping serves all who ask; who asks when many do is answered by the others' sign.
                if questions.is_empty()
                    && let Err(ended) = wire.say(&ToAgent::Ping(Ping { id: 0 })).await
                {
                    break ended;
                }
                questions.retain(|question| !question.is_closed());
                questions.push(question);
            }
            () = tokio::time::sleep_until(silent_at.min(quiet_at)) => {
                // Where this process was kept from running, the silence was not the agent's; and
                // what it said meanwhile may wait to be read.
                let late = silent_at.min(quiet_at).elapsed();
                if late > KEPT_FROM_RUNNING {
                    (silent_at, quiet_at) = (silent_at + late, quiet_at + late);
                } else if let Ok(Ok(())) = timeout(LAST_LOOK, wire.fill()).await {
                    is_filled = true;
                } else if quiet_at <= Instant::now() {
                    break Ended::silent("no frame", QUIET_MAX);
                } else if session.shown() == 0 {
                    break Ended::silent("no first push", silence.min(FIRST_PUSH_WITHIN));
                } else {
                    break Ended::silent("no push that could be shown", silence);
                }
            }
            ended = pass.revoked() => break ended,
            () = stop.requested() => break Ended::Stopping,
        }
    };
    queue_last_acks(wire, &session, &mut acks);
    session.leave(matches!(ended, Ended::Bye), moment());
    say_last_acks(wire, &ended).await;
    ended
}

/// Notes what is safe, and says so.
async fn acknowledge<IO>(wire: &mut Wire<'_, IO>, session: &Session, ack: &ToAgent) -> Result<(), Ended>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    session.acked(ack);
    wire.say(ack).await
}

/// A last word takes them along; to somebody who reads nothing nothing is said.
async fn say_last_acks<IO>(wire: &mut Wire<'_, IO>, ended: &Ended)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    if matches!(ended, Ended::Bye | Ended::Closed) {
        let _peer_may_be_gone = wire.flush().await;
    }
}

/// What is synced by now is acknowledged still.
fn queue_last_acks<IO>(wire: &mut Wire<'_, IO>, session: &Session, acks: &mut Acks)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    while let Some(ack) = acks.ready() {
        session.acked(&ack);
        wire.queue(&ack);
    }
}

/// Takes in all whole frames that have arrived; gives their number.
fn take_frames<IO>(wire: &mut Wire<'_, IO>, session: &mut Session, acks: &mut Acks) -> Result<usize, Ended>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut frames = 0;
    while let Some(frame) = wire.next_frame()? {
        if let Some(answer) = session.take(frame, moment())?
            && let Some(due) = acks.add(answer)?
        {
            session.acked(&due);
            wire.queue(&due);
        }
        frames += 1;
    }
    Ok(frames)
}

#[cfg(test)]
mod tests;
