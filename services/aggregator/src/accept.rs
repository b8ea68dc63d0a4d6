//! Accept loops: a bound on open connections, and patience with a system that is out of files.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::access::Listener;
use crate::lines::{self, Lines};
use crate::link::{self, Shared};
use crate::stop::Stop;

/// How long to wait after the system could not give us a connection (out of files, of memory).
const PAUSE: Duration = Duration::from_millis(100);

/// How many connections a listener may have open.
#[derive(Debug)]
pub struct Slots {
    own: Arc<Semaphore>,
    files: Arc<Semaphore>,
    setting: &'static str,
    max: usize,
}

/// A place for a connection.
#[derive(Debug)]
struct Slot {
    _own: OwnedSemaphorePermit,
    _file: OwnedSemaphorePermit,
}

impl Slots {
    /// At most `max`, as `setting` says, and no more than `files` has permits for: those are shared
    /// by all listeners.
    #[must_use]
    pub fn new(max: usize, setting: &'static str, files: &Arc<Semaphore>) -> Self {
        Self { own: Arc::new(Semaphore::new(max)), files: Arc::clone(files), setting, max }
    }

    /// A place, or why there is none.
    fn take(&self) -> Result<Slot, String> {
        let Self { setting, max, .. } = self;
        let full = |_| format!("{max} connections are open, {setting} of the aggregator allows no more");
        let own = Arc::clone(&self.own).try_acquire_owned().map_err(full)?;
        let no_files = |_| "the system allows the aggregator no more open files".to_owned();
        let file = Arc::clone(&self.files).try_acquire_owned().map_err(no_files)?;
        Ok(Slot { _own: own, _file: file })
    }
}

/// The next connection. Errors are counted by `failed`, and never end the process: those of a
/// single connection are skipped, with others it waits a moment.
pub(crate) async fn next(listener: &TcpListener, mut failed: impl FnMut()) -> (TcpStream, std::net::SocketAddr) {
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
                    tracing::warn!(%error, "cannot accept connections now");
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
        match slots.take() {
            Ok(slot) => {
                let (shared, stop) = (Arc::clone(&shared), stop.clone());
                connections.spawn(async move {
                    let _open = Open::new(&shared.telemetry.connections, slot);
                    if let Some((stream, _)) = shared.access.enter(stream, peer, Listener::Link, stop.clone()).await {
                        link::serve(stream, peer, Arc::clone(&shared), stop).await;
                    }
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
        match slots.take() {
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

    #[test]
    fn listeners_have_their_own_limits_and_one_that_they_share() {
        let files = Arc::new(Semaphore::new(3));
        let (link, lines) = (Slots::new(2, "A", &files), Slots::new(10, "B", &files));
        let agents = [link.take().unwrap(), link.take().unwrap()];
        assert_eq!(link.take().unwrap_err(), "2 connections are open, A of the aggregator allows no more");
        let client = lines.take().unwrap();
        assert!(lines.take().unwrap_err().contains("open files"));
        drop(agents);
        let clients = [lines.take().unwrap(), lines.take().unwrap()];
        assert!(link.take().unwrap_err().contains("open files"));
        drop((client, clients));
        assert_eq!(files.available_permits(), 3);
    }
}
