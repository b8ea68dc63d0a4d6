//! From the first byte to `welcome`, or to a refusal.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::declare::check_hello;
use protocol::frame::{Acked, Hello, Limits, RefuseCode, Welcome};
use protocol::{AgentName, ToAgent, ToAggregator, VERSION, limits};
use security::tls::FIRST_BYTE;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use super::admit;
use super::ended::Ended;
use super::entry::{self, Pass};
use super::incumbent::{Incumbent, Life};
use super::session::Session;
use super::wire::Wire;
use super::{Shared, moment};
use crate::fleet::naming::Process;
use crate::fleet::seat::Seat;
use crate::fleet::{Entry, Newcomer};
use crate::limits::handshakes::Handshake;
use crate::stop::Stop;

/// How much faster than measured late samples may come.
const LATE_RATE: f64 = 10.0;
/// When somebody whose name is taken may ask again.
const NAME_RETRY: Duration = Duration::from_secs(5);

/// How often a newcomer asks for a name that changes hands meanwhile.
const ENTER_TRIES: usize = 4;

/// Reads the `hello`, lets in who may come, finds a seat, says `welcome`. Gives the clamped interval
/// too, and what lets the agent stay; and in `claimed` the name that the `hello` said, however this
/// ends. Until it is known who that is, the connection keeps its place among the others without a `hello`.
pub(super) async fn greet<IO>(
    wire: &mut Wire<'_, IO>,
    peer: SocketAddr,
    shared: &Arc<Shared>,
    connection: Incumbent,
    mut stop: Stop,
    (mut handshake, claimed): (Handshake, &mut Option<AgentName>),
) -> Result<(Session, Duration, Pass), Ended>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    let until = Instant::now() + limits::HELLO_WITHIN;
    let hello = tokio::select! {
        // What has come already counts, whoever needs the place.
        biased;
        hello = read_hello(wire, until) => hello?,
        () = handshake.displaced() => return Err(admit::displaced(shared)),
        () = stop.requested() => return Err(Ended::Stopping),
    };
    handshake.spoke();
    let (low, high) = hello.versions;
    if !(low..=high).contains(&VERSION) {
        let reason = format!("this aggregator speaks version {VERSION} of the link, the agent {low} to {high}");
        return Err(Ended::refused(RefuseCode::Version, reason));
    }
    let name = check_hello(&hello).map_err(Ended::from)?;
    *claimed = Some(name.clone());
    let pass = tokio::select! {
        biased;
        pass = entry::admit(wire, peer, &hello, &shared.access, until) => pass?,
        () = handshake.displaced() => return Err(admit::displaced(shared)),
        () = stop.requested() => return Err(Ended::Stopping),
    };
    // Strangers take nothing of the fleet's turns.
    drop(handshake);
    admit::admit(shared, peer.ip(), &name)?;
    let interval = limits::clamp_interval(Duration::from_millis(hello.interval_ms));
    let newcomer = Newcomer {
        name,
        process: Process { session: hello.session.clone(), incarnation: hello.incarnation },
        peer,
        interval,
        ephemeral: hello.ephemeral,
        shown_elsewhere: Duration::from_millis(hello.shown_elsewhere_ms),
        is_exact: shared.exact,
        labels: hello.labels.clone(),
        info: hello.info.clone(),
        connection,
    };
    let (seat, acked) = match find_seat(wire, &newcomer, shared).await {
        Ok(found) => found,
        Err(ended) => {
            shared.limits.not_admitted();
            return Err(ended);
        }
    };
    wire.welcomed(seat.meter());
    let meter = seat.meter();
    let session = Session::new(seat, &hello, interval, acked, Arc::clone(shared), moment());
    meter.set_granted(admit::shown_limit(shared, session.granted()));
    wire.queue(&welcome(shared, &session, acked));
    if let Err(ended) = wire.flush().await {
        session.leave(false, moment());
        return Err(ended);
    }
    shared.telemetry.limits.welcomed();
    tracing::info!(%peer, agent = %newcomer.name, interval_ms = hello.interval_ms, "agent connected");
    Ok((session, interval, pass))
}

fn welcome(shared: &Shared, session: &Session, acked: Acked) -> ToAgent {
    ToAgent::Welcome(Welcome {
        version: VERSION,
        features: Vec::new(),
        aggregator: shared.name.clone(),
        now_ms: moment().wall_ms,
        acked,
        limits: Limits {
            line_bytes: shared.limits.line_bytes() as u64,
            sets: limits::SETS_PER_AGENT_MAX as u64,
            series: session.granted() as u64,
            live_unacked: limits::LIVE_UNACKED_MAX,
            late_unacked: limits::LATE_UNACKED_MAX,
        },
        late_rate: LATE_RATE,
    })
}

async fn read_hello<IO>(wire: &mut Wire<'_, IO>, until: Instant) -> Result<Hello, Ended>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    loop {
        match wire.next_frame()? {
            Some(ToAggregator::Hello(hello)) => return Ok(hello),
            Some(_) => return Err(Ended::refused(RefuseCode::Unexpected, "the first frame must be hello".to_owned())),
            None if wire.begins_with(FIRST_BYTE) => {
                let reason = "this port does not speak TLS: FLEETGAUGE_TLS=off speaks to it".to_owned();
                return Err(Ended::refused(RefuseCode::BadFrame, reason));
            }
            None => {}
        }
        let filled = timeout_at(until, wire.fill()).await;
        filled.map_err(|_| {
            Ended::refused(RefuseCode::TooSlow, format!("no hello within {:?}", limits::HELLO_WITHIN))
        })??;
    }
}

/// Enters the fleet; where somebody else has the name, asks for a sign of life first. A connection
/// that its agent has given up takes no name: that would displace the one that the agent made since.
async fn find_seat<IO>(wire: &mut Wire<'_, IO>, newcomer: &Newcomer, shared: &Shared) -> Result<(Seat, Acked), Ended>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut dead = None;
    for _ in 0..ENTER_TRIES {
        if shared.fleet.is_connected(newcomer.name.as_str()) {
            wire.look_for_end().await?;
        }
        let (id, connection, peer) = match shared.fleet.enter(newcomer, moment(), dead) {
            Entry::In(seat, acked) => return Ok((seat, acked)),
            Entry::Refused(code, reason) => return Err(Ended::refused(code, reason).retry_after(NAME_RETRY)),
            Entry::Probe { id, connection, peer, is_fight } => {
                if is_fight && shared.may_warn() {
                    let (agent, first, second) = (&newcomer.name, peer, newcomer.peer);
                    tracing::warn!(%agent, %first, %second, "two hosts with one identity displace each other; is one a clone of the other?");
                }
                (id, connection, peer)
            }
        };
        match connection.ask().await {
            Life::Alive => {
                let reason = format!("another agent called {} is connected from {peer}", newcomer.name);
                return Err(Ended::refused(RefuseCode::NameInUse, reason).retry_after(NAME_RETRY));
            }
            Life::Dead => dead = Some(id),
            Life::Gone => {}
        }
    }
    let reason = format!("many connections want the name {} at this moment", newcomer.name);
    Err(Ended::refused(RefuseCode::NameInUse, reason).retry_after(NAME_RETRY))
}
