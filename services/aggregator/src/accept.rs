//! Accept loops: a bound on open connections, and patience with a system that is out of files.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::lines::{self, Lines};
use crate::link::{self, Shared};
use crate::stop::Stop;

/// How long to wait after the system could not give us a connection (out of files, of memory).
const PAUSE: Duration = Duration::from_millis(100);

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
pub async fn link(listener: TcpListener, connections_max: usize, shared: Arc<Shared>, mut stop: Stop) {
    let slots = Arc::new(Semaphore::new(connections_max));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = next(&listener, || shared.telemetry.accept_error("link")) => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            () = stop.requested() => break,
        };
        let (stream, peer) = accepted;
        shared.telemetry.accepted.inc();
        match Arc::clone(&slots).try_acquire_owned() {
            Ok(slot) => {
                let (shared, stop) = (Arc::clone(&shared), stop.clone());
                connections.spawn(async move {
                    let _open = Open::new(&shared.telemetry.connections, slot);
                    link::serve(stream, peer, Arc::clone(&shared), stop).await;
                });
            }
            Err(_) => link::turn_away(&stream, &shared, connections_max),
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Serves put/get until `stop`; then waits for what is being answered.
pub async fn lines(listener: TcpListener, connections_max: usize, lines: Arc<Lines>, mut stop: Stop) {
    let slots = Arc::new(Semaphore::new(connections_max));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = next(&listener, || lines.accept_error()) => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            () = stop.requested() => break,
        };
        let (stream, peer) = accepted;
        lines.telemetry().accepted.inc();
        match Arc::clone(&slots).try_acquire_owned() {
            Ok(slot) => {
                let (lines, stop) = (Arc::clone(&lines), stop.clone());
                connections.spawn(async move {
                    let _open = Open::new(&lines.telemetry().connections, slot);
                    lines::serve(stream, peer, Arc::clone(&lines), stop).await;
                });
            }
            Err(_) => lines::turn_away(&stream, &lines, connections_max),
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// A connection that counts as open, and holds its slot, as long as this lives.
struct Open<'a> {
    gauge: &'a IntGauge,
    _slot: OwnedSemaphorePermit,
}

impl<'a> Open<'a> {
    fn new(gauge: &'a IntGauge, slot: OwnedSemaphorePermit) -> Self {
        gauge.inc();
        Self { gauge, _slot: slot }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}
