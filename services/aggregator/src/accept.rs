//! Accept loops: a bound on open connections, and patience with a system that is out of files.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::access::Listener;
use crate::limits::Limit;
use crate::limits::addresses::{Addresses, Counted};
use crate::lines::{self, Lines};
use crate::link::{self, Shared};
use crate::stop::Stop;
use crate::telemetry::Telemetry;

/// How long to wait after the system could not give us a connection (out of files, of memory).
const PAUSE: Duration = Duration::from_millis(100);

/// How many connections a listener may have open.
#[derive(Debug)]
pub struct Slots {
    own: Arc<Semaphore>,
    files: Arc<Semaphore>,
    addresses: Arc<Addresses>,
    enforce: bool,
    setting: &'static str,
    max: usize,
}

/// A place for a connection.
#[derive(Debug)]
struct Slot {
    _own: OwnedSemaphorePermit,
    _file: OwnedSemaphorePermit,
    address: Counted,
}

/// Why there is no place, and which limit says so.
#[derive(Debug)]
struct Full(Limit, String);

impl Slots {
    /// At most `max`, as `setting` says, and no more than `files` has permits for: those are shared
    /// by all listeners. Of one address only so many as `addresses` allows, where that is enforced.
    #[must_use]
    pub fn new(
        max: usize,
        setting: &'static str,
        files: &Arc<Semaphore>,
        addresses: &Arc<Addresses>,
        enforce: bool,
    ) -> Self {
        let (own, files, addresses) = (Arc::new(Semaphore::new(max)), Arc::clone(files), Arc::clone(addresses));
        Self { own, files, addresses, enforce, setting, max }
    }

    /// A place, or why there is none.
    fn take(&self, from: IpAddr) -> Result<Slot, Full> {
        let Self { setting, max, .. } = self;
        let full = |_| {
            let why = format!("{max} connections are open, {setting} of the aggregator allows no more");
            Full(Limit::Connections, why)
        };
        let address = self.addresses.enter(from);
        if address.is_over && self.enforce {
            let why = "as many connections come from this address as FLEETGAUGE_MAX_CONNECTIONS_PER_ADDRESS of the aggregator allows";
            return Err(Full(Limit::ConnectionsPerAddress, why.to_owned()));
        }
        let own = Arc::clone(&self.own).try_acquire_owned().map_err(full)?;
        let no_files = |_| Full(Limit::Connections, "the system allows the aggregator no more open files".to_owned());
        let file = Arc::clone(&self.files).try_acquire_owned().map_err(no_files)?;
        Ok(Slot { _own: own, _file: file, address })
    }
}

/// Counts who went over which limit, and passes on the place, or why there is none.
fn counted(place: Result<Slot, Full>, telemetry: &Telemetry) -> Result<Slot, String> {
    let exceeded = match &place {
        Ok(slot) => slot.address.is_over.then_some(Limit::ConnectionsPerAddress),
        Err(Full(limit, _)) => Some(*limit),
    };
    if let Some(limit) = exceeded {
        telemetry.limits.exceeded(limit);
    }
    place.map_err(|Full(_, why)| why)
}

/// The next connection. Errors are counted by `failed`, and never end the process: those of a
/// single connection are skipped, with others it waits a moment.
pub(crate) async fn next(listener: &TcpListener, mut failed: impl FnMut()) -> (TcpStream, std::net::SocketAddr) {
    let mut is_told = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Acks and pages are written whole; waiting to fill a segment only delays them.
                let _best_effort = stream.set_nodelay(true);
                return (stream, peer);
            }
            Err(error) => {
                failed();
                let is_of_one = matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
                );
                if !is_of_one {
                    // That may go on for hours; the counter goes on too.
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(%error, "cannot accept connections now, trying again");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Serves the link until `stop`; then tells every agent to go, and waits for the last words.
pub async fn link(listener: TcpListener, slots: Slots, shared: Arc<Shared>, mut stop: Stop) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = next(&listener, || shared.telemetry.accept_error("link")) => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            () = stop.requested() => break,
        };
        let (stream, peer) = accepted;
        shared.telemetry.accepted.inc();
        match counted(slots.take(peer.ip()), &shared.telemetry) {
            Ok(slot) => {
                let (shared, stop) = (Arc::clone(&shared), stop.clone());
                connections.spawn(async move {
                    let _open = Open::new(&shared.telemetry.connections, slot);
                    link::accepted(stream, peer, Arc::clone(&shared), stop).await;
                });
            }
            Err(full) => link::turn_away(&stream, &shared, full),
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Serves put/get until `stop`; then waits for what is being answered.
pub async fn lines(listener: TcpListener, slots: Slots, lines: Arc<Lines>, mut stop: Stop) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = next(&listener, || lines.accept_error()) => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            () = stop.requested() => break,
        };
        let (stream, peer) = accepted;
        lines.telemetry().accepted.inc();
        match counted(slots.take(peer.ip()), lines.common()) {
            Ok(slot) => {
                let (lines, stop) = (Arc::clone(&lines), stop.clone());
                connections.spawn(async move {
                    let _open = Open::new(&lines.telemetry().connections, slot);
                    if let Some((stream, _)) = lines.access().enter(stream, peer, Listener::Line, stop.clone()).await {
                        lines::serve(stream, peer, Arc::clone(&lines), stop).await;
                    }
                });
            }
            Err(full) => lines::turn_away(&stream, &lines, &full),
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// A connection that counts as open, and holds its slot, as long as this lives.
struct Open<'a> {
    gauge: &'a IntGauge,
    _slot: Slot,
}

impl<'a> Open<'a> {
    fn new(gauge: &'a IntGauge, slot: Slot) -> Self {
        gauge.inc();
        Self { gauge, _slot: slot }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(max: usize, setting: &'static str, files: &Arc<Semaphore>, per_address: usize, enforce: bool) -> Slots {
        Slots::new(max, setting, files, &Arc::new(Addresses::new(per_address)), enforce)
    }

    #[track_caller]
    fn check_full(slots: &Slots, from: u8, expected: Limit, sentence: &str) {
        let Full(limit, why) = slots.take([192, 0, 2, from].into()).unwrap_err();
        assert_eq!(limit, expected);
        assert!(why.contains(sentence), "{why}");
    }

    #[test]
    fn listeners_have_their_own_limits_and_one_that_they_share() {
        let files = Arc::new(Semaphore::new(3));
        let (link, lines) = (slots(2, "A", &files, 9, true), slots(10, "B", &files, 9, true));
        let from = [192, 0, 2, 1].into();
        let agents = [link.take(from).unwrap(), link.take(from).unwrap()];
        check_full(&link, 1, Limit::Connections, "2 connections are open, A of the aggregator allows no more");
        let client = lines.take(from).unwrap();
        check_full(&lines, 1, Limit::Connections, "open files");
        drop(agents);
        let clients = [lines.take(from).unwrap(), lines.take(from).unwrap()];
        check_full(&link, 1, Limit::Connections, "open files");
        drop((client, clients));
        assert_eq!(files.available_permits(), 3);
    }

    #[test]
    fn an_address_has_its_part_or_is_only_counted() {
        let files = Arc::new(Semaphore::new(100));
        let (from, telemetry) = ([192, 0, 2, 1].into(), Telemetry::new(1).unwrap());
        let enforced = slots(10, "A", &files, 2, true);
        let two = [enforced.take(from).unwrap(), enforced.take(from).unwrap()];
        check_full(&enforced, 1, Limit::ConnectionsPerAddress, "FLEETGAUGE_MAX_CONNECTIONS_PER_ADDRESS");
        assert!(enforced.take([192, 0, 2, 2].into()).is_ok());
        drop(two);
        assert!(enforced.take(from).is_ok(), "who was turned away counts no longer");
        let only_counted = slots(10, "A", &files, 1, false);
        let two = [(); 2].map(|()| counted(only_counted.take(from), &telemetry).unwrap());
        assert_eq!(two.map(|slot| slot.address.is_over), [false, true]);
    }
}
