//! Simulated agents, which speak the link themselves, with both streams and a spool in memory, and
//! whose every measurement is known: what they say is the truth that a test holds the page, the
//! history and remote write against. They share the frames with the real agent and nothing else.

pub mod frames;
pub mod state;
mod wire;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinSet;

use self::frames::Clocks;
pub use self::state::{Fate, State, Tick};

/// Refusals that are remembered.
const REFUSALS_MAX: usize = 20;

/// How an agent is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name.
    pub name: String,
    /// Where it pushes.
    pub target: SocketAddr,
    /// Between two measurements.
    pub interval: Duration,
    /// How many counters it has besides its vital sign.
    pub counters: usize,
    /// How far its wall clock is ahead.
    pub ahead_ms: i64,
    /// The id of its spool.
    pub session: String,
    /// The longest wait before it tries again.
    pub backoff_max: Duration,
}

impl Settings {
    /// An agent that measures a few times a second.
    #[must_use]
    pub fn new(name: &str, target: SocketAddr) -> Self {
        Self {
            name: name.to_owned(),
            target,
            interval: Duration::from_millis(250),
            counters: 5,
            ahead_ms: 0,
            session: format!("sim-{}", fastrand::u64(..)),
            backoff_max: Duration::from_millis(500),
        }
    }
}

/// What the tasks of an agent share.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    /// Where its clock that never steps began.
    began: Instant,
    state: Mutex<State>,
    news: Notify,
    seen: Mutex<Seen>,
}

/// What it has been told.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// How many connections were welcomed.
    pub welcomes: u64,
    /// When the last one was.
    pub welcomed: Option<Instant>,
    /// Why it was refused, the newest last.
    pub refusals: Vec<String>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mono(&self) -> Duration {
        self.began.elapsed()
    }

    fn clocks(&self) -> Clocks {
        Clocks { wall_ms: lifecycle::clock::unix_ms(), mono: self.mono() }
    }

    fn refused(&self, why: String) {
        let mut seen = self.seen();
        if seen.refusals.len() < REFUSALS_MAX {
            seen.refusals.push(why);
        }
    }
}

/// A simulated agent; its connection breaks when it is dropped.
#[derive(Debug)]
pub struct Sim {
    shared: Arc<Shared>,
    incarnation: u64,
    tasks: JoinSet<()>,
    is_measuring: bool,
}

impl Sim {
    /// Starts one.
    #[must_use]
    pub fn start(settings: Settings) -> Self {
        let shared = Shared {
            settings,
            began: Instant::now(),
            state: Mutex::default(),
            news: Notify::new(),
            seen: Mutex::default(),
        };
        let mut sim = Self { shared: Arc::new(shared), incarnation: 0, tasks: JoinSet::new(), is_measuring: true };
        sim.start_again();
        sim
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.settings.name
    }

    /// How it is.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Starts after [`Sim::kill`], with the spool that it had.
    pub fn start_again(&mut self) {
        self.incarnation += 1;
        self.is_measuring = true;
        self.tasks.spawn(measure(Arc::clone(&self.shared)));
        self.tasks.spawn(wire::run(Arc::clone(&self.shared), self.incarnation));
    }

    /// Ends at once, and says nothing. Its spool is as good as one on a disk.
    pub async fn kill(&mut self) {
        self.tasks.shutdown().await;
        self.shared.state().disconnected();
    }

    /// Measures no more, and goes on sending what it has.
    pub async fn rest(&mut self) {
        if std::mem::take(&mut self.is_measuring) {
            // The task that sends goes on with what is there.
            self.tasks.shutdown().await;
            self.shared.state().disconnected();
            self.tasks.spawn(wire::run(Arc::clone(&self.shared), self.incarnation));
        }
    }

    /// What its clock that never steps said then.
    #[must_use]
    pub fn mono_at(&self, then: Instant) -> Duration {
        then.saturating_duration_since(self.shared.began)
    }

    /// What the true wall clock said when that one said this, Unix milliseconds.
    #[must_use]
    pub fn wall_ms_at(&self, mono: Duration) -> i64 {
        let ago = self.shared.mono().saturating_sub(mono);
        lifecycle::clock::unix_ms().saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX))
    }

    /// Looks at what it has measured, sent and heard.
    pub fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.shared.state())
    }

    /// What it was told.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.shared.seen().clone()
    }
}

/// Measures at every interval, whatever the connection does.
async fn measure(shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(shared.settings.interval);
    // One that was late is not made up for: a measurement is of its time.
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        interval.tick().await;
        let now = shared.clocks();
        shared.state().measure(now.wall_ms, now.mono);
        shared.news.notify_one();
    }
}
