//! Who may come in now, and with how much: the limits that concern a whole connection.

use std::net::IpAddr;
use std::time::Duration;

use protocol::AgentName;
use protocol::frame::RefuseCode;
use security::tls::FIRST_BYTE;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ended::Ended;
use super::incumbent::Order;
use super::{Shared, moment};
use crate::limits::Limit;
use crate::limits::handshakes::Handshake;
use crate::limits::overload::Level;
use crate::stop::Stop;

/// How long somebody for whom there is no room stays away, at least and at most: not all come back
/// at one moment.
const AWAY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(10));
/// The same where memory is short: it does not come back so soon.
const AWAY_FROM_MEMORY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(30));
/// So many series an agent may have besides half as many again as it had, where memory is short:
/// a set that changes stands there twice for a moment.
const SPARE_SERIES: usize = 256;

/// How often a newcomer looks for a place, and how many times.
const PLACE_TRY_EVERY: Duration = Duration::from_millis(200);
const PLACE_TRIES: usize = 3;
/// How long it is listened to before.
const LISTEN: Duration = Duration::from_millis(50);
/// How long a stranger that was refused waits for its end.
pub(super) const DAWDLE: Duration = Duration::from_secs(1);

fn between((least, most): (Duration, Duration)) -> Duration {
    least + (most - least).mul_f64(fastrand::f64())
}

/// How long somebody for whom there is no connection stays away.
pub(super) fn away() -> Duration {
    between(AWAY)
}

/// A place for a connection that has not said a whole `hello` yet. Where all are taken it waits for a
/// moment: agents say `hello` at once, and make room. `speaks`: does it begin as agents do? Then the silent
/// make room.
pub(super) async fn begin_handshake(
    from: IpAddr,
    shared: &Shared,
    stop: &Stop,
    speaks: impl Future<Output = bool>,
) -> Result<Handshake, Ended> {
    let begin = |has_spoken| shared.limits.handshakes.begin(from, has_spoken, moment().instant);
    let mut place = begin(false);
    if place.is_none() {
        // What it says at once needs no patience of ours.
        let has_spoken = timeout(LISTEN, speaks).await.unwrap_or(false);
        place = if has_spoken { begin(true) } else { None };
        if place.is_none()
            && let Ok(_patience) = shared.limits.patience.try_acquire()
        {
            place = wait_for_place(|| begin(has_spoken), stop).await?;
        }
    }
    if place.as_ref().is_none_or(|place| place.is_over) {
        shared.telemetry.limits.exceeded(Limit::Handshakes);
    }
    place.ok_or_else(|| {
        let most = shared.limits.caps.handshakes;
        let reason = format!(
            "{most} connections have just come and said no hello yet, or a quarter of that from this address; FLEETGAUGE_MAX_HANDSHAKES of the aggregator allows no more"
        );
        Ended::refused(RefuseCode::Overloaded, reason).retry_after(between((Duration::from_millis(250), AWAY.0)))
    })
}

async fn wait_for_place(begin: impl Fn() -> Option<Handshake>, stop: &Stop) -> Result<Option<Handshake>, Ended> {
    let mut stop = stop.clone();
    for _ in 0..PLACE_TRIES {
        tokio::select! {
            () = tokio::time::sleep(PLACE_TRY_EVERY) => {}
            () = stop.requested() => return Err(Ended::Stopping),
        }
        if let Some(place) = begin() {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// Waits for the first byte; is it what agents begin with? Takes none of it.
pub(super) async fn speaks(tcp: &TcpStream, shared: &Shared) -> bool {
    let expected = if shared.access.speaks_tls() { FIRST_BYTE } else { b'{' };
    let mut first = [0];
    matches!(tcp.peek(&mut first).await, Ok(1)) && first == [expected]
}

/// Lets a stranger that was refused wait for its end: whoever comes again as soon as it is closed does
/// not come so often then. `gone`: it has closed by itself, as agents do.
pub(super) async fn dawdle(shared: &Shared, mut stop: Stop, gone: impl Future<Output = ()>) {
    let Ok(_patience) = shared.limits.dawdling.try_acquire() else { return };
    tokio::select! {
        () = gone => {}
        () = tokio::time::sleep(DAWDLE) => {}
        () = stop.requested() => {}
    }
}

/// What is said to a connection whose place somebody else needs.
pub(super) fn displaced(shared: &Shared) -> Ended {
    shared.telemetry.limits.exceeded(Limit::Handshakes);
    let reason = "no hello yet, and FLEETGAUGE_MAX_HANDSHAKES of the aggregator leaves no more time".to_owned();
    Ended::refused(RefuseCode::TooSlow, reason)
}

/// May this agent come in now? Where it gets no seat after all, somebody else may:
/// [`Limits::not_admitted`](crate::limits::Limits::not_admitted).
pub(super) fn admit(shared: &Shared, from: IpAddr, name: &AgentName) -> Result<(), Ended> {
    let is_short = match shared.limits.level() {
        Level::Normal => false,
        // Who is there already may come back: its series are known to fit.
        Level::Soft => !shared.fleet.is_there(name.as_str()),
        Level::Hard => true,
    };
    if is_short {
        shared.telemetry.limits.refused("agent");
        return Err(short_of_memory(shared, "no new agent is let in"));
    }
    let (now, most) = (moment().instant, shared.limits.caps.welcomes_per_second);
    if let Err(wait) = shared.limits.admit_from(from, now, fastrand::f64()) {
        shared.telemetry.limits.exceeded(Limit::Welcomes);
        if shared.limits.caps.enforce {
            let reason = format!(
                "one address has a quarter of the {most} agents that come each second, FLEETGAUGE_MAX_WELCOMES of the aggregator"
            );
            return Err(Ended::refused(RefuseCode::Overloaded, reason).retry_after(wait));
        }
    }
    shared.limits.admit(now, fastrand::f64()).map_err(|wait| {
        shared.telemetry.limits.exceeded(Limit::Welcomes);
        let reason = format!("more than {most} agents come each second, FLEETGAUGE_MAX_WELCOMES of the aggregator");
        Ended::refused(RefuseCode::Overloaded, reason).retry_after(wait)
    })
}

/// What is said where memory is short.
pub(super) fn short_of_memory(shared: &Shared, what: &str) -> Ended {
    let (bytes, most) = (shared.limits.overload.bytes(), shared.limits.caps.memory.unwrap_or_default());
    let reason = format!("{what}: the aggregator takes {bytes} of {most} bytes of memory, FLEETGAUGE_MEMORY_LIMIT");
    Ended::refused(RefuseCode::Overloaded, reason).retry_after(between(AWAY_FROM_MEMORY))
}

/// How many series a connection is granted whose agent had `settled` of them. Where memory is short
/// it is not many more, so that an agent leaves out what is new, and stays.
pub(super) fn granted(shared: &Shared, settled: usize) -> usize {
    let rules = shared.fleet.rules();
    let most = if shared.limits.caps.enforce { rules.series_per_agent_max } else { rules.series_max };
    match shared.limits.level() {
        Level::Soft | Level::Hard if settled > 0 => most.min(settled + settled / 2 + SPARE_SERIES),
        _ => most,
    }
}

/// The limit of series that an agent is measured by, where so many were granted: without enforcement
/// that is the one that is being tried.
pub(super) fn shown_limit(shared: &Shared, granted: usize) -> usize {
    granted.min(shared.fleet.rules().series_per_agent_max)
}

/// How a connection ends that was told to.
pub(super) fn ordered(order: Order) -> Ended {
    match order {
        Order::Displaced(by) => Ended::superseded(by),
        Order::Shed => {
            let reason = "memory is short, and the newest agents go first; FLEETGAUGE_MEMORY_LIMIT of the aggregator";
            Ended::refused(RefuseCode::Overloaded, reason.to_owned()).retry_after(between(AWAY_FROM_MEMORY))
        }
        Order::Forgotten => Ended::Forgotten,
    }
}
