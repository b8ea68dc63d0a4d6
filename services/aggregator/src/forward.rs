//! Remote write: what no scrape could see goes where the scrapes go, so that the gap in the graph
//! closes. Prometheus remote write 1.0, one agent a request.
//!
//! `labels` makes a page's series those of a scrape, `proto` and `batch` a request, `queue` says whose
//! turn it is, `client` sends. This file is the task around them. It keeps nothing on disk: what a
//! connection waits for stays in its agent's spool until it is written, or dropped for a counted
//! reason.

mod batch;
mod client;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod labels;
mod ledger;
mod proto;
mod queue;
mod standing;
#[cfg(test)]
mod tests;
mod waiting;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::Uri;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub(crate) use self::batch::Part;
pub use self::batch::{Moments, Vector};
use self::batch::{SAMPLES_MAX, encode, halves, parts};
pub(crate) use self::client::Answer as RequestAnswer;
use self::client::Answer;
use self::client::Client;
pub use self::ledger::Held;
use self::ledger::Ledger;
#[cfg(test)]
pub(crate) use self::proto::WriteRequest;
use self::queue::Queue;
use self::standing::Standing;
use self::waiting::Waiting;
use crate::fleet::dropped::Dropped;
use crate::link::{Shared, moment};
use crate::stop::Stop;
use crate::telemetry::Telemetry;

/// Requests that are under way at the same time.
const SIDE_BY_SIDE: usize = 4;
/// Requests that one batch may be split into: of 5,000 samples with a few that are refused, some 15
/// for each of those. What is refused then is dropped whole.
const SPLITS_MAX: usize = 64;
/// Pushes on their way to the task. Their samples are held by the room for what waits.
const MESSAGES_MAX: usize = 4 * 1024;
/// How often it is looked who has left, and what nobody wants any more.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Which samples are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that no scrape could see.
    Late,
    /// All, and where series end.
    All,
}

/// Where to, and what.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The receiver.
    pub url: Uri,
    /// Its token.
    pub token_file: Option<PathBuf>,
    /// Which samples.
    pub which: Which,
    /// How old a sample may be.
    pub window: Duration,
    /// Room for what waits, in bytes.
    pub buffer: usize,
}

/// The way to the task.
#[derive(Debug)]
pub struct Forwarder {
    messages: mpsc::Sender<Moments>,
    ledger: Arc<Ledger>,
    waiting: Arc<Mutex<Waiting>>,
    rules: Rules,
    telemetry: Arc<Telemetry>,
}

/// The other end: what the task needs.
#[derive(Debug)]
pub struct Outbox {
    messages: mpsc::Receiver<Moments>,
    client: Client,
    ledger: Arc<Ledger>,
    waiting: Arc<Mutex<Waiting>>,
    rules: Rules,
    telemetry: Arc<Telemetry>,
    /// The wall clock, Unix ms.
    clock: fn() -> i64,
}

impl Forwarder {
    /// Both ends.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(rules: Rules, telemetry: Arc<Telemetry>) -> io::Result<(Self, Outbox)> {
        let (sender, messages) = mpsc::channel(MESSAGES_MAX);
        let client = Client::new(rules.url.clone(), rules.token_file.clone())?;
        let (ledger, waiting) = (Arc::new(Ledger::new(rules.buffer)), Arc::default());
        telemetry.forward.limit(rules.buffer);
        let outbox = Outbox {
            messages,
            client,
            ledger: Arc::clone(&ledger),
            waiting: Arc::clone(&waiting),
            rules: rules.clone(),
            telemetry: Arc::clone(&telemetry),
            clock: lifecycle::clock::unix_ms,
        };
        Ok((Self { messages: sender, ledger, waiting, rules, telemetry }, outbox))
    }

    /// What it keeps to.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Bytes of room that are taken.
    #[must_use]
    pub fn used(&self) -> usize {
        self.ledger.used()
    }

    /// Hands over samples. When there is no room for them, those of the late stream wait, as their
    /// agent waits; others are dropped and counted.
    pub fn submit(&self, push: Moments) {
        let left = if push.may_wait {
            let mut waiting = locked(&self.waiting);
            let push = if waiting.is_ahead_of(push.agent.as_str()) { Some(push) } else { self.hand_over(push) };
            push.and_then(|push| waiting.add(push))
        } else {
            self.hand_over(push)
        };
        if let Some(push) = left {
            self.telemetry.forward.drop_push(&push, Dropped::NoRoom);
        }
    }

    /// Gives it back when there is no room.
    fn hand_over(&self, mut push: Moments) -> Option<Moments> {
        match self.ledger.hold(&push) {
            Ok(held) => push.room = held,
            Err(_) => return Some(push),
        }
        let back = |push: Moments| Moments { room: Held::default(), ..push };
        self.messages.try_send(push).err().map(|error| back(error.into_inner()))
    }
}

fn locked(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What became of a request and those that it was split into.
struct Sent {
    agent: String,
    left: Vec<Part>,
    retry_after: Option<Duration>,
    /// Why something is left.
    why: Option<String>,
}

impl Outbox {
    /// Writes until it is told to stop.
    pub async fn run(mut self, shared: Arc<Shared>, mut stop: Stop) {
        let mut queue = Queue::default();
        let mut standing = Standing::default();
        let mut sending: JoinSet<Sent> = JoinSet::new();
        let mut is_failing = false;
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            while sending.len() < SIDE_BY_SIDE
                && let Some((agent, parts)) = self.next(&mut queue)
            {
                let (client, telemetry) = (self.client.clone(), Arc::clone(&self.telemetry));
                sending.spawn(send(client, telemetry, agent, parts));
            }
            let due = queue.due_at().filter(|_| sending.len() < SIDE_BY_SIDE);
            tokio::select! {
                biased;
                () = stop.requested() => return,
                Some(push) = self.messages.recv() => {
                    if self.rules.which == Which::All && push.pending.is_none() {
                        let ended = standing.take(&push);
                        self.put(&mut queue, push);
                        ended.into_iter().for_each(|ended| self.put_end(&mut queue, ended));
                    } else {
                        self.put(&mut queue, push);
                    }
                }
                Some(sent) = sending.join_next() => {
                    let Ok(Sent { agent, left, retry_after, why }) = sent else { continue };
                    queue.answered(&agent, left, retry_after, fastrand::f64(), now());
                    is_failing = told(is_failing, queue.is_failing(), why.as_deref(), &self.rules.url);
                    self.admit(&mut queue);
                }
                _ = looks.tick() => {
                    queue.retain(|part: &Part| !part.of.is_given_up());
                    self.look(&mut queue);
                    if self.rules.which == Which::All {
                        let gone = standing.gone(&shared.fleet, moment());
                        gone.into_iter().for_each(|ended| self.put_end(&mut queue, ended));
                    }
                    self.telemetry.forward.used(self.ledger.used());
                }
                () = until(due) => {}
            }
        }
    }

    fn put(&self, queue: &mut Queue<Part>, push: Moments) {
        let agent = push.agent.clone();
        queue.push(agent.as_str(), parts(push));
    }

    /// The end of series takes room as they do.
    fn put_end(&self, queue: &mut Queue<Part>, push: Moments) {
        match self.ledger.hold(&push) {
            Ok(room) => self.put(queue, Moments { room, ..push }),
            Err(_) => self.telemetry.forward.drop_push(&push, Dropped::NoRoom),
        }
    }

    /// Takes in what has waited for room that is free now.
    fn admit(&self, queue: &mut Queue<Part>) {
        let admitted = locked(&self.waiting).admit(|push| self.ledger.hold(push));
        admitted.into_iter().for_each(|push| self.put(queue, push));
    }

    /// Looks at what waits for room, and lets go of what nobody wants and what is too old by now.
    fn look(&self, queue: &mut Queue<Part>) {
        let oldest_ms = self.oldest_ms();
        let over = locked(&self.waiting).extract(|push| push.is_given_up() || push.at_ms < oldest_ms);
        let old = over.iter().filter(|push| !push.is_given_up());
        old.for_each(|push| self.telemetry.forward.drop_push(push, Dropped::TooOld));
        self.ledger.tidy();
        self.admit(queue);
    }

    fn oldest_ms(&self) -> i64 {
        let window_ms = i64::try_from(self.rules.window.as_millis()).unwrap_or(i64::MAX);
        (self.clock)().saturating_sub(window_ms)
    }

    /// The next request, without what nobody wants and what is too old by now.
    fn next(&self, queue: &mut Queue<Part>) -> Option<(String, Vec<Part>)> {
        loop {
            let (agent, parts) = queue.next(now(), SAMPLES_MAX, |part| part.samples)?;
            let oldest_ms = self.oldest_ms();
            let (wanted, old): (Vec<Part>, Vec<Part>) =
                parts.into_iter().filter(|part| !part.of.is_given_up()).partition(|part| part.of.at_ms >= oldest_ms);
            old.iter().for_each(|part| self.telemetry.forward.drop_part(part, Dropped::TooOld));
            if !wanted.is_empty() {
                return Some((agent, wanted));
            }
            queue.answered(&agent, Vec::new(), None, 0.0, now());
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// Says once when it begins to fail, and once when nothing is left that failed.
fn told(was_failing: bool, fails: bool, why: Option<&str>, url: &Uri) -> bool {
    match (was_failing, fails) {
        (false, true) => {
            let why = why.unwrap_or_default();
            tracing::warn!(%url, %why, "remote write fails; it is tried again, and said when it goes on");
        }
        (true, false) => tracing::info!(%url, "remote write goes on"),
        _ => {}
    }
    fails
}

/// Sends parts of one agent, in halves where they are refused.
async fn send(client: Client, telemetry: Arc<Telemetry>, agent: String, parts: Vec<Part>) -> Sent {
    let mut stack = vec![parts];
    let mut requests = 0;
    while let Some(parts) = stack.pop() {
        let body = encode(&parts);
        let began = Instant::now();
        let answer = client.write(body).await;
        requests += 1;
        telemetry.forward.answered(&answer, began.elapsed());
        match answer {
            Answer::Written => {
                telemetry.forward.written(&parts, moment().wall_ms);
            }
            Answer::Refused(why) => match halves(&parts).filter(|_| requests < SPLITS_MAX) {
                // The first half is the older one, and goes first.
                Some((first, second)) => stack.extend([second, first]),
                None => {
                    tracing::debug!(%agent, %why, "samples are refused by remote write");
                    parts.iter().for_each(|part| telemetry.forward.drop_part(part, Dropped::Refused));
                }
            },
            Answer::Again { why, after } => {
                tracing::debug!(%agent, %why, "remote write fails; it is tried again");
                let left = parts.into_iter().chain(stack.into_iter().rev().flatten()).collect();
                return Sent { agent, left, retry_after: after, why: Some(why) };
            }
        }
    }
    Sent { agent, left: Vec::new(), retry_after: None, why: None }
}
