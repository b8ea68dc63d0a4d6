//! The accept loop of HTTP. warp's own server has no limit on connections and no patience limit
//! on request heads, so its filters are served from here, on a thread of their own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use security::Stream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::JoinSet;

use super::crowd::{Activity, Crowd};
use super::patient::Patient;
use super::{Context, gate, routes};
use crate::accept;
use crate::access::Listener;
use crate::stop::Stop;

/// A request's head must be whole by then; also how long an idle connection is kept. A scraper
/// that comes less often connects anew, which costs it nothing to speak of.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Threads that write pages, for all scrapes together: more would only take memory and processors.
const WRITERS_MAX: usize = 4;
/// Longest request head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// What is being sent may take so long once the process is told to stop: a little less than `app`
/// waits for all parts.
const GRACE: Duration = Duration::from_millis(350);
/// A client that takes no byte for so long is given up.
const WRITE_STALL_MAX: Duration = Duration::from_secs(10);

/// Serves HTTP on a thread of its own until `stop`. On the runtime of the link, each piece of a
/// page would wait behind every agent that has just pushed: with all of them pushing as fast as
/// they can, a scrape took 4 to 57 s there.
pub async fn thread(listener: TcpListener, context: Arc<Context>, stop: Stop) {
    let (ended, wait) = oneshot::channel::<()>();
    let start = || -> io::Result<()> {
        let listener = listener.into_std()?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().max_blocking_threads(WRITERS_MAX).enable_all().build()?;
        std::thread::Builder::new().name("http".to_owned()).spawn(move || {
            runtime.block_on(async {
                match TcpListener::from_std(listener) {
                    Ok(listener) => serve(listener, context, stop).await,
                    Err(error) => tracing::error!(%error, "HTTP cannot be served"),
                }
            });
            // A piece of a page that is being written must not hold up the end.
            runtime.shutdown_background();
            drop(ended);
        })?;
        Ok(())
    };
    if let Err(error) = start() {
        tracing::error!(%error, "HTTP cannot be served");
    }
    // Nothing is ever sent: the other end is dropped when the thread is gone, however it went.
    let _gone = wait.await;
}

/// Serves HTTP until `stop`; then finishes what is being sent, within a grace period.
async fn serve(listener: TcpListener, context: Arc<Context>, mut stop: Stop) {
    let telemetry = Arc::clone(&context.shared.telemetry);
    let mut crowd = Crowd::new();
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = accept::next(&listener, || telemetry.accept_error("http")) => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            () = stop.requested() => break,
        };
        let (place, turned_away) = crowd.enter(peer.ip()).await;
        if turned_away {
            telemetry.http_refused.inc();
        }
        let Some(place) = place else { continue };
        let (context, stop) = (Arc::clone(&context), stop.clone());
        connections.spawn(async move {
            context.shared.telemetry.http_connections.inc();
            let held = place.slot;
            tokio::select! {
                () = enter(stream, peer, &context, place.activity, stop) => {}
                // An error means that nobody will ever need this place.
                Ok(()) = place.leave => {}
            }
            context.shared.telemetry.http_connections.dec();
            drop::<OwnedSemaphorePermit>(held);
        });
    }
    drop(listener);
    let rest = async { while connections.join_next().await.is_some() {} };
    let _cut_if_not = tokio::time::timeout(GRACE, rest).await;
}

/// The handshake, where there is one, and what is asked then.
async fn enter(stream: TcpStream, peer: SocketAddr, context: &Arc<Context>, activity: Activity, stop: Stop) {
    let entered = context.shared.access.enter(stream, peer, Listener::Http, stop.clone()).await;
    if let Some((stream, has_certificate)) = entered {
        connection(stream, (peer, has_certificate), context, activity, stop).await;
    }
}

/// One connection, with any number of requests.
async fn connection(
    stream: Stream,
    (peer, has_certificate): (SocketAddr, bool),
    context: &Arc<Context>,
    activity: Activity,
    mut stop: Stop,
) {
    let filter = routes(Arc::clone(context), activity);
    let inner = TowerToHyperService::new(warp::service(filter));
    let service = service_fn(|request: Request<Incoming>| {
        let asked = (request.method(), request.uri().path(), request.headers());
        let passed = gate::pass(&context.shared.access, peer, has_certificate, asked);
        let answer = passed.map(|()| inner.call(request));
        async move {
            match answer {
                Ok(answer) => answer.await,
                Err(refused) => Ok(context.answered("refused", *refused)),
            }
        }
    });
    let io = TokioIo::new(Patient::new(stream, WRITE_STALL_MAX));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.requested() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // hyper has answered these by itself.
        if error.is_parse_too_large() {
            context.shared.telemetry.request("unreadable", 431);
        } else if error.is_parse() {
            context.shared.telemetry.request("unreadable", 400);
        }
        tracing::debug!(%error, "an HTTP connection ended early");
    }
}
