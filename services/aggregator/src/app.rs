//! The aggregator put together: everything binds first, then it runs until it is told to stop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use crate::accept::Slots;
use crate::access::Access;
use crate::alive::{AliveFile, Former};
use crate::data_dir::DataDir;
use crate::fleet::known::{KnownAgent, KnownFile};
use crate::fleet::room::Room;
use crate::fleet::{Fleet, Rules};
use crate::forward::{Forwarder, Outbox};
use crate::history::{self, History};
use crate::house::{keep_house, save};
use crate::limits::Limits;
use crate::limits::addresses::Addresses;
use crate::lines::Lines;
use crate::link::{Shared, moment};
use crate::quota::Quota;
use crate::settings::Settings;
use crate::stop;
use crate::telemetry::Telemetry;
use crate::{accept, http};

/// What connections may take to end once the process is told to stop. With the two times below it
/// is 800 ms: a stop takes less than a second, whatever hangs.
const GRACE: Duration = Duration::from_millis(400);

/// Where in the data directory the history is.
const HISTORY_DIR: &str = "history";
/// What the last write of the list of known agents may take, on a slow disk.
const SAVE_WITHIN: Duration = Duration::from_millis(200);
/// What the history may take to close. All that was acknowledged is on the disk before.
const CLOSE_WITHIN: Duration = Duration::from_millis(200);

/// Why an aggregator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An address is taken, or not one of this host.
    #[error("cannot listen on {address} ({error}); {variable} sets another address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The setting that changes it.
        variable: &'static str,
        /// What the system says.
        error: io::Error,
    },
    /// The data directory cannot be used.
    #[error("cannot keep data in {} ({why}); FLEETGAUGE_DATA_DIR sets another directory, empty keeps nothing", dir.display())]
    Data {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file of tokens or certificates cannot be used.
    #[error("tokens or certificates cannot be used: {0}")]
    Access(String),
    /// TLS for remote write cannot be set up.
    #[error("remote write cannot be set up: {0}")]
    RemoteWrite(io::Error),
    /// A metric of our own is wrong (a mistake of the program).
    #[error("the aggregator's own metrics are wrong: {0}")]
    Telemetry(#[from] prometheus::Error),
}

/// An aggregator that listens, and does not answer yet.
#[derive(Debug)]
pub struct App {
    settings: Settings,
    http: TcpListener,
    link: TcpListener,
    line: TcpListener,
    lines: Arc<Lines>,
    shared: Arc<Shared>,
    context: Arc<http::Context>,
    kept: Option<Kept>,
    /// What is to be written remotely.
    outbox: Option<Outbox>,
}

/// What is on disk.
#[derive(Debug)]
struct Kept {
    known: KnownFile,
    alive: AliveFile,
    history: Arc<History>,
    /// Nobody else touches it meanwhile.
    dir: DataDir,
}

impl App {
    /// Binds all listeners, and reads what was kept. It is async because sockets belong to the
    /// runtime inside which they are made. A history with a million keys takes seconds to open, on a
    /// thread that may block: dropping this future does not wait for it.
    ///
    /// Meanwhile HTTP refuses connections, which is clearer to a health check than one that hangs.
    /// Agents and clients of put and get may connect, and are served as soon as it is open.
    ///
    /// # Errors
    /// When an address or the data directory cannot be used.
    pub async fn bind(settings: Settings) -> Result<Self, BindError> {
        let telemetry = Arc::new(Telemetry::new(settings.connections_max.min(settings.files_max))?);
        let access = Access::new(settings.access.clone(), telemetry.auth.clone()).map_err(BindError::Access)?;
        let fleet = Arc::new(Fleet::new(Rules {
            job: settings.job.clone(),
            tombstone: settings.tombstone,
            agents_max: settings.agents_max,
            series_max: settings.series_max,
            series_per_agent_max: settings.series_per_agent_max,
        }));
        let http = Bound::new(settings.http_listen, "FLEETGAUGE_HTTP_LISTEN")?;
        let link = Bound::new(settings.link_listen, "FLEETGAUGE_LINK_LISTEN")?.listen()?;
        let line = Bound::new(settings.line_listen, "FLEETGAUGE_LINE_LISTEN")?.listen()?;
        let kept = match settings.data_dir.clone() {
            Some(dir) => Some(open_data(dir, settings.history.clone(), Arc::clone(&telemetry)).await?),
            None => None,
        };
        let kept = match kept {
            Some((agents, former, kept)) => {
                fleet.recall(agents, former, moment());
                Some(kept)
            }
            None => {
                fleet.recall(Vec::new(), None, moment());
                tracing::warn!(
                    "FLEETGAUGE_DATA_DIR is not set: a restart forgets which agents are gone, and nothing can be put"
                );
                None
            }
        };
        let forward = settings.forward.clone().map(|rules| Forwarder::new(rules, Arc::clone(&telemetry)));
        let (forward, outbox) = forward.transpose().map_err(BindError::RemoteWrite)?.unzip();
        let buffers = Room::new(settings.receive_buffer);
        let history = kept.as_ref().map(|kept| Arc::clone(&kept.history));
        let shared = Arc::new(Shared {
            fleet,
            access: Arc::new(access),
            name: settings.name.clone(),
            buffers,
            text: Room::new(settings.declared_max),
            telemetry,
            warnings: Quota::new(100, Duration::from_secs(10)),
            limits: Limits::new(settings.caps.clone(), moment().instant),
            exact: settings.exact,
            forward: forward.map(Arc::new),
            late_max: settings.history.retention,
            vitals: history.clone().filter(|_| settings.record_vitals),
            history,
        });
        // Before any agent can come: the aggregator's own families are its own.
        let context = Arc::new(http::Context::new(Arc::clone(&shared), settings.scrapes_max));
        shared.telemetry.lines.set_connections_max(settings.line_connections_max.min(settings.files_max));
        let lines = Arc::new(Lines::new(Arc::clone(&shared)));
        let http = http.listen()?;
        Ok(Self { settings, http, link, line, lines, shared, context, kept, outbox })
    }

    /// Where HTTP is served.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http.local_addr().unwrap_or(self.settings.http_listen)
    }

    /// Where agents push.
    #[must_use]
    pub fn link_addr(&self) -> SocketAddr {
        self.link.local_addr().unwrap_or(self.settings.link_listen)
    }

    /// Where put/get is served.
    #[must_use]
    pub fn line_addr(&self) -> SocketAddr {
        self.line.local_addr().unwrap_or(self.settings.line_listen)
    }

    /// Serves until `stop` completes; then agents are told to go, pages that are being sent are
    /// finished within a grace period, and what must survive is written. Memory is freed by a
    /// thread of the runtime that may outlive this: a million keys take seconds.
    ///
    /// # Errors
    /// When a part of it ends by itself: an aggregator that serves only half of what it should
    /// must end, so that whoever watches it starts it again.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), Ended> {
        // Before anybody can connect: what changes from now on is not on disk.
        let saved = self.shared.fleet.version();
        let (http_addr, link_addr, line_addr) = (self.http_addr(), self.link_addr(), self.line_addr());
        tracing::info!(http = %http_addr, link = %link_addr, line = %line_addr, name = %self.settings.name, "listening");
        let Self { settings, http, link, line, lines, shared, context, kept, outbox } = self;
        shared.access.warn_of(http_addr, link_addr, line_addr);
        let (stopper, stopping) = stop::pair();
        let mut parts = JoinSet::new();
        let (of_link, of_house) = (Arc::clone(&shared), Arc::clone(&shared));
        let (stop_link, stop_line, stop_house) = (stopping.clone(), stopping.clone(), stopping.clone());
        let files = Arc::new(Semaphore::new(settings.files_max.min(Semaphore::MAX_PERMITS)));
        let (enforce, link_addresses) = (settings.caps.enforce, Arc::clone(&shared.limits.link_addresses));
        let line_addresses = Arc::new(Addresses::new(settings.caps.per_address));
        let link_slots =
            Slots::new(settings.connections_max, "FLEETGAUGE_MAX_CONNECTIONS", &files, &link_addresses, enforce);
        let line_max = settings.line_connections_max;
        let line_slots = Slots::new(line_max, "FLEETGAUGE_MAX_LINE_CONNECTIONS", &files, &line_addresses, enforce);
        parts.spawn(async move {
            accept::link(link, link_slots, of_link, stop_link).await;
            "link"
        });
        parts.spawn(async move {
            accept::lines(line, line_slots, lines, stop_line).await;
            "put/get"
        });
        let watched = Arc::clone(&shared.access).watch(stopping.clone());
        parts.spawn(async move {
            watched.await;
            "tokens and certificates"
        });
        parts.spawn(async move {
            http::thread(http, context, stopping).await;
            "HTTP"
        });
        if let Some(outbox) = outbox {
            let (of_outbox, stop_outbox) = (Arc::clone(&shared), stop_house.clone());
            parts.spawn(async move {
                outbox.run(of_outbox, stop_outbox).await;
                "remote write"
            });
        }
        let of_known = kept.as_ref().map(|kept| (kept.known.clone(), kept.alive.clone()));
        parts.spawn(async move {
            keep_house(of_known, saved, of_house, stop_house).await;
            "house-keeping"
        });
        let ended = tokio::select! {
            Some(part) = parts.join_next() => Err(Ended(part.unwrap_or("a part that failed"))),
            () = stop => Ok(()),
        };
        stopper.stop();
        let rest = async { while parts.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, rest).await.is_err() {
            tracing::warn!(after = ?GRACE, "connections that did not end in time are cut");
        }
        // Those that were cut hold what is freed now.
        drop(parts);
        match kept {
            Some(kept) => kept.close(shared).await,
            None => drop(tokio::task::spawn_blocking(move || drop(shared))),
        }
        tracing::info!("stopped");
        ended
    }
}

/// A part of the aggregator that ended although nobody had said stop.
#[derive(Debug, thiserror::Error)]
#[error("{0} ended by itself; the log says why")]
pub struct Ended(&'static str);

/// What the data directory has.
type Opened = (Vec<KnownAgent>, Option<Former>, Kept);

/// Takes the data directory, and opens what is in it.
async fn open_data(dir: PathBuf, rules: history::Rules, telemetry: Arc<Telemetry>) -> Result<Opened, BindError> {
    let opened = {
        let dir = dir.clone();
        tokio::task::spawn_blocking(move || -> Result<Opened, String> {
            let taken = DataDir::take(&dir).map_err(|refused| refused.to_string())?;
            let known = KnownFile::open(&dir).map_err(|error| error.to_string())?;
            let agents = known.load().map_err(|error| error.to_string())?;
            let history = History::open(&dir.join(HISTORY_DIR), rules, telemetry, moment);
            let history = history.map_err(|error| error.to_string())?;
            let alive = AliveFile::new(&dir);
            Ok((agents, alive.load(), Kept { known, alive, history, dir: taken }))
        })
    };
    let opened = opened.await.unwrap_or_else(|error| Err(error.to_string()));
    opened.map_err(|why| BindError::Data { dir, why })
}

impl Kept {
    /// Writes what must survive, and closes the history, each within its time. What takes longer
    /// keeps the data directory until it is done, or until the process ends.
    async fn close(self, shared: Arc<Shared>) {
        let Self { known, alive, history, dir } = self;
        match tokio::time::timeout(SAVE_WITHIN, save(known, &shared)).await {
            // Nobody scrapes any more.
            Ok(Ok(())) => drop(alive.save(moment().wall_ms, moment().wall_ms)),
            Ok(Err(error)) => tracing::error!(%error, "the list of known agents was not written"),
            Err(_) => tracing::error!(after = ?SAVE_WITHIN, "the list of known agents was not written in time"),
        }
        let (say_closed, mut is_closed) = oneshot::channel();
        let freed = tokio::task::spawn_blocking(move || {
            history.close();
            let _nobody_waits = say_closed.send(());
            drop((history, shared));
            drop(dir);
        });
        let in_time = tokio::time::timeout(CLOSE_WITHIN, freed).await.is_ok();
        if !in_time && is_closed.try_recv().is_err() {
            // What was acknowledged is on the disk already.
            tracing::warn!(after = ?CLOSE_WITHIN, "the history was not closed in time");
        }
    }
}

/// Connections that may wait to be accepted. When a fleet comes back all at once, each one over
/// the system's usual 128 would wait a second for its next try.
const BACKLOG: u32 = 4096;

/// A socket that has its address, and refuses connections until it listens.
struct Bound {
    socket: TcpSocket,
    address: SocketAddr,
    variable: &'static str,
}

impl Bound {
    fn new(address: SocketAddr, variable: &'static str) -> Result<Self, BindError> {
        let bind = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            #[cfg(unix)]
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            Ok(socket)
        };
        let socket = bind().map_err(|error| BindError::Listen { address, variable, error })?;
        Ok(Self { socket, address, variable })
    }

    fn listen(self) -> Result<TcpListener, BindError> {
        let Self { socket, address, variable } = self;
        socket.listen(BACKLOG).map_err(|error| BindError::Listen { address, variable, error })
    }
}
