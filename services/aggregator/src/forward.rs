//! Remote write: what no scrape could see goes where the scrapes go, so that the gap in the graph
//! closes. Prometheus remote write 1.0, one agent a request.
//!
//! `labels` makes a page's series those of a scrape, `proto` and `batch` a request, `queue` says whose
//! turn it is, `client` sends. This file is the task around them. It keeps nothing on disk: what a
//! connection waits for stays in its agent's spool until it is written, or dropped for a counted
//! reason.

mod batch;
mod client;
mod labels;
mod proto;
mod queue;
mod standing;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
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
#[cfg(test)]
pub(crate) use self::proto::WriteRequest;
use self::queue::Queue;
use self::standing::Standing;
use crate::fleet::dropped::Dropped;
use crate::fleet::room::Room;
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
/// What a push takes besides its values.
const PUSH_BYTES: usize = 512;

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
    room: Room,
    rules: Rules,
    telemetry: Arc<Telemetry>,
}

/// The other end: what the task needs.
#[derive(Debug)]
pub struct Outbox {
    messages: mpsc::Receiver<Moments>,
    client: Client,
    rules: Rules,
    telemetry: Arc<Telemetry>,
}

impl Forwarder {
    /// Both ends.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(rules: Rules, telemetry: Arc<Telemetry>) -> io::Result<(Self, Outbox)> {
        let (sender, messages) = mpsc::channel(MESSAGES_MAX);
        let client = Client::new(rules.url.clone(), rules.token_file.clone())?;
        let outbox = Outbox { messages, client, rules: rules.clone(), telemetry: Arc::clone(&telemetry) };
        telemetry.forward.limit(rules.buffer);
        Ok((Self { messages: sender, room: Room::new(rules.buffer), rules, telemetry }, outbox))
    }

    /// What it keeps to.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Bytes of room that are taken.
    #[must_use]
    pub fn used(&self) -> usize {
        self.room.used()
    }

    /// Hands over samples. Those for which there is no room are dropped and counted.
    pub fn submit(&self, mut push: Moments) {
        let values: usize = push.sets.iter().map(|set| set.values.len()).sum();
        let mut share = self.room.share();
        let has_room = share.resize(PUSH_BYTES + values * size_of::<f64>());
        push.room = share;
        let pending = push.pending.clone();
        let is_taken = has_room && self.messages.try_send(push).is_ok();
        if is_taken {
            return;
        }
        self.telemetry.forward.lost(Dropped::NoRoom, values);
        if let Some(pending) = pending {
            pending.dropped(Dropped::NoRoom, u64::MAX);
        }
    }

    /// An empty part of the room, for a push that is made.
    #[must_use]
    pub fn room(&self) -> crate::fleet::room::Share {
        self.room.share()
    }
}

/// What became of a request and those that it was split into.
struct Sent {
    agent: String,
    left: Vec<Part>,
    retry_after: Option<Duration>,
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
                        ended.into_iter().for_each(|ended| self.put(&mut queue, ended));
                    } else {
                        self.put(&mut queue, push);
                    }
                }
                Some(sent) = sending.join_next() => {
                    let Ok(Sent { agent, left, retry_after }) = sent else { continue };
                    is_failing = told(is_failing, !left.is_empty(), &self.rules.url);
                    queue.answered(&agent, left, retry_after, fastrand::f64(), now());
                }
                _ = looks.tick() => {
                    queue.retain(|part: &Part| !is_given_up(part));
                    if self.rules.which == Which::All {
                        let gone = standing.gone(&shared.fleet, moment());
                        gone.into_iter().for_each(|ended| self.put(&mut queue, ended));
                    }
                    let used = shared.forward.as_ref().map_or(0, |forward| forward.used());
                    self.telemetry.forward.used(used);
                }
                () = until(due) => {}
            }
        }
    }

    fn put(&self, queue: &mut Queue<Part>, push: Moments) {
        let agent = push.agent.clone();
        queue.push(agent.as_str(), parts(push));
    }

    /// The next request, without what nobody wants and what is too old by now.
    fn next(&self, queue: &mut Queue<Part>) -> Option<(String, Vec<Part>)> {
        let window_ms = i64::try_from(self.rules.window.as_millis()).unwrap_or(i64::MAX);
        loop {
            let (agent, parts) = queue.next(now(), SAMPLES_MAX, |part| part.samples)?;
            let oldest_ms = moment().wall_ms.saturating_sub(window_ms);
            let (wanted, old): (Vec<Part>, Vec<Part>) = parts
                .into_iter()
                .filter(|part| !is_given_up(part))
                .partition(|part| part.of.at_ms >= oldest_ms || part.of.is_end);
            old.iter().for_each(|part| self.telemetry.forward.drop_part(part, Dropped::TooOld));
            if !wanted.is_empty() {
                return Some((agent, wanted));
            }
            queue.answered(&agent, Vec::new(), None, 0.0, now());
        }
    }
}

fn is_given_up(part: &Part) -> bool {
    part.of.pending.as_ref().is_some_and(|pending| pending.is_given_up())
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

/// Says once when it begins to fail, and once when that is over.
fn told(is_failing: bool, fails: bool, url: &Uri) -> bool {
    if is_failing && !fails {
        tracing::info!(%url, "remote write goes on");
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
                tracing::warn!(%agent, %why, "remote write fails; it is tried again");
                let left = parts.into_iter().chain(stack.into_iter().rev().flatten()).collect();
                return Sent { agent, left, retry_after: after };
            }
        }
    }
    Sent { agent, left: Vec::new(), retry_after: None }
}
