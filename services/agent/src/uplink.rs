//! The one connection of an agent: which aggregator to go to, when, and what became of it.
//!
//! Only this module opens sockets (`connect`) and speaks on them (`connection`). What is to be
//! said on a connection (`link`) and where to go next (`route`) is decided by pure code.

#[cfg(test)]
mod account_tests;
mod connect;
mod connection;
mod guest;
mod late;
mod late_sets;
#[cfg(test)]
mod late_tests;
mod left_out;
mod link;
mod pushes;
mod room;
mod route;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod tests;
mod token;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use protocol::VERSION;
use protocol::frame::{Acked, Hello};
use protocol::limits::{grace_after_close, silence_after};
use tokio::time::{Instant, sleep_until};

use crate::clock::Moment;
use crate::mailbox::{IN_HAND, Mailbox};
use crate::measurement::Measurement;
use crate::settings::Settings;
use crate::telemetry::{Failure, Spooled, Telemetry};

pub(crate) use connect::{Connect, TcpConnect};
use connection::{Connection, Event};
use left_out::LeftOut;
use route::Route;

/// How long a clean stop may take: the stop of a process has a second for everything.
const FAREWELL_WITHIN: Duration = Duration::from_millis(400);
/// Most different reasons that the log remembers as told.
const TOLD_MAX: usize = 100;

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

/// Keeps an agent connected, for ever.
pub(crate) struct Uplink<C: Connect> {
    connect: C,
    settings: Arc<Settings>,
    mailbox: Arc<Mailbox>,
    telemetry: Arc<Telemetry>,
    now: fn() -> Moment,
    route: Route,
    /// Which aggregator of the list this connection, or attempt, is to.
    target: usize,
    connection: Option<Connection<C::Stream>>,
    /// What was sent and is not acknowledged: no more than the connection may have under way.
    kept: VecDeque<Measurement>,
    /// The highest number that was sent live.
    sent: u64,
    /// What was under way when the last connection ended, by its numbers on both streams: in the
    /// spool, unless the next aggregator says that it has it.
    doubtful: Vec<(u64, u64)>,
    /// How often in a row an aggregator refused this late push.
    suspect: Option<(u64, u32)>,
    /// The aggregator that may still show this agent's series, and until when.
    shown: Option<(usize, Instant)>,
    /// When the next late push may go.
    late_due: Option<Instant>,
    told: HashSet<String>,
    /// The sets of which the log said that they are not sent, why, and when.
    told_unsent: HashMap<(&'static str, &'static str), Instant>,
    /// What was pushed of each set, for counting what was left out.
    left_out: LeftOut,
    random: fastrand::Rng,
}

impl<C: Connect> Uplink<C> {
    pub(crate) fn new(
        connect: C,
        settings: Arc<Settings>,
        mailbox: Arc<Mailbox>,
        telemetry: Arc<Telemetry>,
        now: fn() -> Moment,
        seed: u64,
    ) -> Self {
        let route = Route::new(settings.aggregators.len());
        let random = fastrand::Rng::with_seed(seed);
        let sent = mailbox.spool().base();
        Self {
            connect,
            settings,
            mailbox,
            telemetry,
            now,
            route,
            target: 0,
            connection: None,
            kept: VecDeque::new(),
            sent,
            doubtful: vec![],
            suspect: None,
            shown: None,
            late_due: None,
            told: HashSet::new(),
            told_unsent: HashMap::new(),
            left_out: LeftOut::default(),
            random,
        }
    }

    /// Connects, pushes, and does so again, for ever. Dropping this future loses nothing that
    /// [`Uplink::farewell`] needs.
    pub(crate) async fn run(&mut self) {
        let (mailbox, telemetry) = (Arc::clone(&self.mailbox), Arc::clone(&self.telemetry));
        let talk = async {
            loop {
                let ended = match self.open().await {
                    Ok(()) => self.serve().await,
                    Err(ended) => ended,
                };
                self.close(self.target, &ended);
            }
        };
        let keep = async {
            loop {
                let measurement = mailbox.overdue().await;
                mailbox.keep(measurement);
                telemetry.spooled(Spooled::NotSent);
            }
        };
        tokio::select! {
            () = talk => {}
            () = keep => {}
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
        let token = token.map_err(|why| Ended::new(Failure::Auth, format!("FLEETGAUGE_TOKEN_FILE: {why}")))?;
        let stream = self.connect.connect(target, address).await?;
        let hello = self.hello(target);
        let sent = Acked { live: self.sent, late: self.mailbox.spool().last() };
        self.connection = Some(Connection::new(stream, &hello, token, sent, Instant::now()));
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
            session: self.mailbox.spool().session(),
            incarnation: self.mailbox.spool().incarnation(),
            ephemeral: self.settings.ephemeral,
            shown_elsewhere_ms: millis(shown),
        }
    }

    /// Speaks on the open connection until it ends.
    async fn serve(&mut self) -> Ended {
        loop {
            self.push();
            self.push_late();
            let Some(connection) = &mut self.connection else {
                return Ended::new(Failure::Closed, "there is no connection");
            };
            let (may_push, late_due) = (connection.may_push(), self.late_due.take());
            self.mailbox.be_patient(connection.patience());
            let event = tokio::select! {
                result = connection.step(&self.telemetry) => match result {
                    Ok(event) => event,
                    Err(mut ended) => {
                        if ended.failure == Failure::Goaway {
                            let bye = tokio::time::timeout(FAREWELL_WITHIN, connection.say_bye());
                            ended.said_bye = bye.await.unwrap_or(false);
                        }
                        return ended;
                    }
                },
                () = self.mailbox.arrived(), if may_push => Event::None,
                () = self.mailbox.spool().changed() => Event::None,
                () = sleep_until(late_due.unwrap_or_else(Instant::now)), if late_due.is_some() => Event::None,
            };
            self.take(event);
        }
    }

    /// Writes down how a connection ended, and lets go of it.
    fn close(&mut self, target: usize, ended: &Ended) {
        let now = Instant::now();
        self.telemetry.failed(ended.failure);
        let address = self.settings.aggregators.get(target).map(ToString::to_string).unwrap_or_default();
        let connection = self.connection.take();
        self.mailbox.be_patient(IN_HAND);
        let acked = connection.as_ref().map_or(0, |connection| connection.acked());
        if let Some(connection) = connection {
            let interval = self.settings.interval;
            if ended.said_bye {
                self.shown.take_if(|(elsewhere, _)| *elsewhere == target);
            } else if let Some(pushed) = connection.last_push() {
                let silent = pushed + silence_after(interval);
                self.shown = Some((target, silent.max(now + grace_after_close(interval))));
            }
            self.suspect(ended.failure, connection.first_late());
            self.keep_unacked(Spooled::NotAcked);
            if connection.is_overclaimed() {
                self.begin_anew();
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

    /// A clean stop: puts away what waits, and says `bye` if there is someone to say it to.
    pub(crate) async fn farewell(mut self) {
        self.keep_unacked(Spooled::Stopped);
        if let Some(waiting) = self.mailbox.take() {
            self.mailbox.keep(waiting);
            self.telemetry.spooled(Spooled::Stopped);
        }
        let waiting = self.mailbox.spool().status((self.now)());
        let bye = async {
            let Some(mut connection) = self.connection.take() else { return };
            if !tokio::time::timeout(FAREWELL_WITHIN, connection.say_bye()).await.unwrap_or(false) {
                tracing::debug!("the aggregator did not take the bye");
            }
        };
        let ((), is_kept) = tokio::join!(bye, self.mailbox.spool().finish(FAREWELL_WITHIN));
        if waiting.records > 0 {
            tracing::info!(pushes = waiting.records, is_kept, "what waits in the spool");
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
