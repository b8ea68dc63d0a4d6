//! The one connection of an agent: which aggregator to go to, when, and what became of it.
//!
//! Only this module opens sockets (`connect`) and speaks on them (`connection`). What is to be
//! said on a connection (`link`) and where to go next (`route`) is decided by pure code.

/// Of what goes on the log is told once an hour.
fn is_to_be_told<K>(told: Entry<'_, K, Instant>, now: Instant) -> bool {
    match told {
        Entry::Vacant(never) => {
            never.insert(now);
            true
        }
        Entry::Occupied(mut then) if now.saturating_duration_since(*then.get()) >= TELL_EVERY => {
            then.insert(now);
            true
        }
        Entry::Occupied(_) => false,
    }
}

#[cfg(test)]
mod account_tests;
mod connect;
mod connection;
mod guest;
mod link;
mod room;
mod route;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod tests;
mod token;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use protocol::VERSION;
use protocol::frame::Hello;
use protocol::limits::{grace_after_close, silence_after};
use tokio::time::Instant;

use crate::clock::Moment;
use crate::mailbox::Mailbox;
use crate::measurement::Measurement;
use crate::settings::Settings;
use crate::telemetry::{Dropped, Failure, Telemetry};

pub(crate) use connect::{Connect, TcpConnect};
use connection::Connection;
use route::Route;

/// How long a clean stop may take: the stop of a process has a second for everything.
const FAREWELL_WITHIN: Duration = Duration::from_millis(400);
/// Most different reasons that the log remembers as told.
const TOLD_MAX: usize = 100;
/// What goes on for long is told again after this: logs are rotated.
const TELL_EVERY: Duration = Duration::from_secs(3600);

/// How a connection, or the attempt at one, ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// What the metric says.
    pub(crate) failure: Failure,
    /// What the log says.
    pub(crate) reason: String,
    /// What the aggregator asked for.
    pub(crate) retry_after: Duration,
    /// Did it hear a `bye`? Then it shows nothing of this agent any more.
    pub(crate) said_bye: bool,
}

impl Ended {
    pub(crate) fn new(failure: Failure, reason: impl Into<String>) -> Self {
        Self { failure, reason: reason.into(), retry_after: Duration::ZERO, said_bye: false }
    }
}

/// Who the agent is, for every connection the same.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// The numbering of the pushes: as long as there is no spool, that of this process.
    pub(crate) session: String,
    /// Grows with every process.
    pub(crate) incarnation: u64,
}

/// Keeps an agent connected, for ever.
pub(crate) struct Uplink<C: Connect> {
    connect: C,
    settings: Arc<Settings>,
    identity: Identity,
    mailbox: Arc<Mailbox>,
    telemetry: Arc<Telemetry>,
    now: fn() -> Moment,
    route: Route,
    /// Which aggregator of the list this connection, or attempt, is to.
    target: usize,
    connection: Option<Connection<C::Stream>>,
    /// The newest measurement that was sent and is not acknowledged.
    kept: Option<Measurement>,
    /// Its number, which also stays known when it is acknowledged.
    sent: u64,
    /// The aggregator that may still show this agent's series, and until when.
    shown: Option<(usize, Instant)>,
    told: HashSet<String>,
    /// The sets of which the log said that they are not sent, why, and when.
    told_unsent: HashMap<(&'static str, &'static str), Instant>,
    random: fastrand::Rng,
}

impl<C: Connect> Uplink<C> {
    pub(crate) fn new(
        connect: C,
        settings: Arc<Settings>,
        identity: Identity,
        mailbox: Arc<Mailbox>,
        telemetry: Arc<Telemetry>,
        now: fn() -> Moment,
        seed: u64,
    ) -> Self {
        let route = Route::new(settings.aggregators.len());
        let random = fastrand::Rng::with_seed(seed);
        Self {
            connect,
            settings,
            identity,
            mailbox,
            telemetry,
            now,
            route,
            target: 0,
            connection: None,
            kept: None,
            sent: 0,
            shown: None,
            told: HashSet::new(),
            told_unsent: HashMap::new(),
            random,
        }
    }

    /// Connects, pushes, and does so again, for ever. Dropping this future loses nothing that
    /// [`Uplink::farewell`] needs.
    pub(crate) async fn run(&mut self) {
        loop {
            let ended = match self.open().await {
                Ok(()) => self.serve().await,
                Err(ended) => ended,
            };
            self.close(self.target, &ended);
        }
    }

    /// Opens a connection and puts the `hello` on its way, unless there is one.
    async fn open(&mut self) -> Result<(), Ended> {
        if self.connection.is_some() {
            return Ok(());
        }
        let (target, wait) = self.route.next(Instant::now(), self.random.f64());
        tokio::time::sleep(wait).await;
        self.target = target;
        let Some(address) = self.settings.aggregators.get(target) else {
            return Err(Ended::new(Failure::Resolve, "there is no aggregator to go to"));
        };
        // The file of a token is read each time: one that was changed counts at once.
        let shown = self.settings.token.clone();
        let token = tokio::task::spawn_blocking(move || shown.read()).await;
        let token = token.unwrap_or_else(|error| Err(error.to_string()));
        let token = token.map_err(|why| Ended::new(Failure::Auth, why))?;
        let stream = self.connect.connect(target, address).await?;
        let hello = self.hello(target);
        self.connection = Some(Connection::new(stream, &hello, token, self.sent, Instant::now()));
        Ok(())
    }

    fn hello(&self, target: usize) -> Hello {
        let now = (self.now)();
        let shown = self.shown.filter(|(elsewhere, _)| *elsewhere != target);
        let shown = shown.map_or(Duration::ZERO, |(_, until)| until.saturating_duration_since(Instant::now()));
        Hello {
            versions: (VERSION, VERSION),
            features: vec![],
            agent: self.settings.agent.as_str().to_owned(),
            labels: self.settings.labels.clone(),
            info: crate::host::info(),
            interval_ms: millis(self.settings.interval),
            now_ms: now.wall_ms,
            mono_ms: now.mono_ms,
            session: self.identity.session.clone(),
            incarnation: self.identity.incarnation,
            ephemeral: self.settings.ephemeral,
            shown_elsewhere_ms: millis(shown),
        }
    }

    /// Speaks on the open connection until it ends.
    async fn serve(&mut self) -> Ended {
        let Some(connection) = &mut self.connection else {
            return Ended::new(Failure::Closed, "there is no connection");
        };
        loop {
            if connection.may_push()
                && let Some(measurement) =
                    next_measurement(&mut self.kept, connection, &self.mailbox, &self.telemetry, self.now)
            {
                for unsent in connection.push(&measurement, (self.now)(), Instant::now()) {
                    self.telemetry.series_dropped(unsent.set, unsent.why, unsent.series);
                    let told = self.told_unsent.entry((unsent.set, unsent.why));
                    if is_to_be_told(told, Instant::now()) {
                        let (set, family, series, why) = (unsent.set, &unsent.family, unsent.series, unsent.why);
                        tracing::warn!(set, family, series, why, "{}", unsent.sentence());
                    }
                }
                self.sent = self.sent.max(measurement.seq);
                if let Some(older) = self.kept.replace(measurement) {
                    self.mailbox.give_back(older);
                }
            }
            let was_welcomed = connection.was_welcomed();
            tokio::select! {
                result = connection.step(&self.telemetry) => match result {
                    Ok(Some(acked)) => {
                        if let Some(safe) = self.kept.take_if(|kept| kept.seq <= acked.seq) {
                            self.mailbox.give_back(safe);
                        }
                        if acked.first {
                            self.route.works();
                            self.told.clear();
                        }
                        if let Some(path) = &self.settings.heartbeat {
                            crate::health::beat(path, &mut self.told);
                        }
                    }
                    Ok(None) => {
                        if connection.was_welcomed() && !was_welcomed {
                            self.mailbox.pace.ask();
                        }
                    }
                    Err(mut ended) => {
                        if ended.failure == Failure::Goaway {
                            let bye = tokio::time::timeout(FAREWELL_WITHIN, connection.say_bye());
                            ended.said_bye = bye.await.unwrap_or(false);
                        }
                        return ended;
                    }
                },
                () = self.mailbox.arrived(), if connection.may_push() => {}
            }
        }
    }

    /// Writes down how a connection ended, and lets go of it.
    fn close(&mut self, target: usize, ended: &Ended) {
        let now = Instant::now();
        self.telemetry.failed(ended.failure);
        let address = self.settings.aggregators.get(target).map(ToString::to_string).unwrap_or_default();
        let connection = self.connection.take();
        let acked = connection.as_ref().map_or(0, |connection| connection.acked());
        if let Some(connection) = connection {
            let interval = self.settings.interval;
            if ended.said_bye {
                self.shown.take_if(|(elsewhere, _)| *elsewhere == target);
            } else if let Some(pushed) = connection.last_push() {
                let silent = pushed + silence_after(interval);
                self.shown = Some((target, silent.max(now + grace_after_close(interval))));
            }
            let kept = self.kept.as_ref().map(|kept| kept.seq);
            for _ in connection.unacked().filter(|seq| Some(*seq) != kept) {
                self.telemetry.dropped(Dropped::NotAcked);
            }
            let seconds = connection.age(now).as_secs();
            if ended.failure == Failure::Goaway {
                let said_bye = ended.said_bye;
                tracing::info!(aggregator = %address, reason = %ended.reason, acked, seconds, said_bye, "asked to go, gone");
            } else if connection.was_welcomed() {
                tracing::warn!(aggregator = %address, reason = %ended.reason, acked, seconds, "connection lost");
            } else {
                self.tell(&address, &ended.reason);
            }
        } else {
            self.tell(&address, &ended.reason);
        }
        match ended.failure {
            Failure::Goaway if acked > 0 => self.route.moved(ended.retry_after, now),
            _ if acked > 0 => self.route.lost(ended.retry_after, now),
            _ => self.route.failed(ended.retry_after, now),
        }
    }

    /// A reason is told once, and again after things had worked.
    fn tell(&mut self, address: &str, reason: &str) {
        if self.told.len() < TOLD_MAX && self.told.insert(format!("{address} {reason}")) {
            tracing::warn!(aggregator = address, reason, "not connected, trying again for ever");
        } else {
            tracing::debug!(aggregator = address, reason, "not connected");
        }
    }

    /// A clean stop: says `bye` if there is someone to say it to, and waits for it a moment.
    pub(crate) async fn farewell(mut self) {
        let kept = self.kept.take().map(|kept| kept.seq);
        let under_way = self.connection.iter().flat_map(Connection::unacked).filter(|seq| Some(*seq) != kept);
        let waiting = self.mailbox.take().map(|waiting| waiting.seq);
        for _ in under_way.chain(kept).chain(waiting) {
            self.telemetry.dropped(Dropped::Stopped);
        }
        if let Some(mut connection) = self.connection.take() {
            let bye = connection.say_bye();
            if !tokio::time::timeout(FAREWELL_WITHIN, bye).await.unwrap_or(false) {
                tracing::debug!("the aggregator did not take the bye");
            }
        }
    }
}

/// What to push next: the newest measurement, if it is still fresh and not safe already.
fn next_measurement<S: tokio::io::AsyncRead + tokio::io::AsyncWrite>(
    kept: &mut Option<Measurement>,
    connection: &Connection<S>,
    mailbox: &Mailbox,
    telemetry: &Telemetry,
    now: fn() -> Moment,
) -> Option<Measurement> {
    // One that was sent on an earlier connection, and whose ack may have been lost with it.
    let mut again = kept.take_if(|kept| !connection.is_under_way(kept.seq));
    if let Some(safe) = again.take_if(|again| connection.is_safe(again.seq)) {
        telemetry.acked(None);
        mailbox.give_back(safe);
    }
    let next = match (mailbox.take(), again) {
        (Some(new), Some(old)) => {
            telemetry.dropped(Dropped::NotAcked);
            mailbox.give_back(old);
            Some(new)
        }
        (new, old) => new.or(old),
    }?;
    if next.taken.is_some_and(|taken| taken.age_at(now()) <= connection.late_after()) {
        return Some(next);
    }
    telemetry.dropped(Dropped::Stale);
    mailbox.give_back(next);
    None
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
