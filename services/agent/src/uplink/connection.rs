//! One connection: bytes in and out, frames, deadlines. It decides nothing about others.

mod due;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use protocol::frame::{Acked, Bye, Hello, Ping, Push, Stream, ToAgent, ToAggregator, Welcome};
use protocol::limits::{HELLO_BYTES_MAX, LINE_BYTES_MAX, LIVE_UNACKED_MAX, clamp_interval, late_after};
use protocol::{LineDecoder, VERSION, encode};
use security::Secret;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::Instant;

use super::Ended;
use super::late::Late;
use super::link::{Link, Unsent};
use super::token::Token;
use crate::clock::Moment;
use crate::mailbox::IN_HAND;
use crate::measurement::Measurement;
use crate::spool::{Status, Stored};
use crate::telemetry::{Failure, Telemetry};

/// Room that an idle connection keeps for what it sends.
const KEEP_BYTES: usize = 64 * 1024;
/// Answers to pings that may wait to be sent; an aggregator that asks more often reads nothing.
const PONGS_MAX: usize = 100;

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Event {
    /// Nothing that others need to know.
    None,
    /// The aggregator welcomes the agent.
    Welcome {
        /// It has all pushes up to these numbers.
        acked: Acked,
        /// Its time.
        now_ms: i64,
    },
    /// All live pushes up to this one are safe.
    Live {
        /// Its number.
        seq: u64,
        /// Is it the first ack of this connection?
        is_first: bool,
    },
    /// All late pushes up to this one are safe.
    Late(u64),
}

/// A connection to an aggregator.
pub(super) struct Connection<S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    decoder: LineDecoder,
    /// Whole lines that are to be sent, and how much of them is.
    out: Vec<u8>,
    written: usize,
    pongs: usize,
    /// Why nothing can be sent any more, and since when.
    broken: Option<(std::io::Error, Instant)>,
    /// The token that the aggregator may ask for.
    token: Token,
    /// What is declared; `None` before `welcome`.
    link: Option<Link>,
    /// What the agent's labels take of each series' room.
    labels: usize,
    live_unacked_max: usize,
    /// Pushes that wait for their ack, and when they were sent.
    unacked: VecDeque<(u64, Instant)>,
    acked: u64,
    /// The highest numbers that were ever pushed.
    sent: Acked,
    /// Did the aggregator claim more than that?
    is_overclaimed: bool,
    /// The other stream; `None` before `welcome`.
    late: Option<Late>,
    interval: Duration,
    opened: Instant,
    last_push: Option<Instant>,
    last_said: Instant,
    pinged: Option<(u64, Instant)>,
    pings: u64,
}

impl<S: AsyncRead + AsyncWrite> Connection<S> {
    /// A connection that begins with this `hello`. `sent` are the highest numbers that
    /// were ever pushed.
    pub(super) fn new(stream: S, hello: &Hello, token: Option<Secret>, sent: Acked, now: Instant) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let mut out = Vec::new();
        encode(&ToAggregator::Hello(hello.clone()), &mut out);
        Self {
            reader,
            writer,
            decoder: LineDecoder::new(HELLO_BYTES_MAX),
            out,
            written: 0,
            pongs: 0,
            broken: None,
            token: Token::new(token, hello),
            link: None,
            labels: protocol::cost::of_agent(hello),
            live_unacked_max: 0,
            unacked: VecDeque::new(),
            acked: 0,
            sent,
            is_overclaimed: false,
            late: None,
            interval: clamp_interval(Duration::from_millis(hello.interval_ms)),
            opened: now,
            last_push: None,
            last_said: now,
            pinged: None,
            pings: 0,
        }
    }

    /// May a push be sent now? Not while the one before it is still on its way out.
    pub(super) fn may_push(&self) -> bool {
        self.link.is_some()
            && self.broken.is_none()
            && self.out.is_empty()
            && self.unacked.len() < self.live_unacked_max
    }

    /// Puts a push on its way.
    pub(super) fn push(
        &mut self,
        measurement: &Measurement,
        moment: Moment,
        waiting: &Status,
        now: Instant,
    ) -> Vec<Unsent> {
        let Some(link) = &mut self.link else { return vec![] };
        if waiting.records == 0 {
            link.late.retire(&mut self.out);
        }
        let unsent = link.push(measurement, moment, waiting, &mut self.out);
        self.unacked.push_back((measurement.seq, now));
        self.sent.live = self.sent.live.max(measurement.seq);
        self.last_push = Some(now);
        self.last_said = now;
        unsent
    }

    /// How long a measurement may wait for this connection: while that is writing, as long as it is
    /// worth a live push.
    pub(super) fn patience(&self) -> Duration {
        let is_busy = self.link.is_some() && self.broken.is_none() && !self.out.is_empty();
        if is_busy { self.stale_after().max(IN_HAND) } else { IN_HAND }
    }

    /// When a late push may be sent, if one may be: not while anything else is on its way out, and not
    /// before a live push is safe. On a slow line it would keep the first one from coming in time.
    pub(super) fn late_due(&self) -> Option<Instant> {
        let is_free = self.broken.is_none() && self.out.is_empty() && self.acked > 0;
        let late = self.late.as_ref().filter(|_| is_free);
        late.and_then(Late::due)
    }

    /// The late push after which to look for the next one.
    pub(super) fn late_after(&self) -> u64 {
        self.late.as_ref().map_or(0, Late::after)
    }

    /// The first late push that waits for its ack.
    pub(super) fn first_late(&self) -> Option<u64> {
        self.late.as_ref().and_then(Late::first)
    }

    /// Puts a late push on its way; gives how many of its samples have no room.
    pub(super) fn push_late(&mut self, push: &Stored, measured_ms: i64, moment: Moment, now: Instant) -> u64 {
        let (Some(link), Some(late)) = (&mut self.link, &mut self.late) else { return 0 };
        let head = Push {
            stream: Stream::Late,
            seq: push.seq,
            measured_ms,
            now_ms: moment.wall_ms,
            mono_ms: moment.mono_ms,
            backlog_ms: 0,
            lost: BTreeMap::new(),
        };
        let refused = link.push_late(push, head, &mut self.out);
        late.sent(push.seq, now);
        self.sent.late = self.sent.late.max(push.seq);
        self.last_said = now;
        refused
    }

    /// Does one thing: handles a frame, or reads, or writes, or notes that time is up.
    /// May be dropped at any time without losing anything.
    pub(super) async fn step(&mut self, telemetry: &Telemetry) -> Result<Event, Ended> {
        match self.decoder.next_frame() {
            Ok(Some(frame)) => return self.take(frame, telemetry),
            Ok(None) => {}
            Err(error) => return Err(Ended::new(Failure::Protocol, error.to_string())),
        }
        let (deadline, due) = self.due();
        let unwritten = self.out.get(self.written..).unwrap_or_default();
        self.decoder.buffer().reserve(1024);
        tokio::select! {
            read = self.reader.read_buf(self.decoder.buffer()) => match read {
                Ok(0) => Err(self.closed("the aggregator closed the connection")),
                Ok(_) => Ok(Event::None),
                Err(error) => Err(self.closed(&error.to_string())),
            },
            wrote = self.writer.write(unwritten), if !unwritten.is_empty() && self.broken.is_none() => {
                match wrote {
                    Ok(0) => self.broken = Some((std::io::ErrorKind::WriteZero.into(), Instant::now())),
                    Ok(bytes) => self.wrote(bytes, telemetry),
                    Err(error) => self.broken = Some((error, Instant::now())),
                }
                Ok(Event::None)
            }
            () = tokio::time::sleep_until(deadline) => self.time_is_up(due).map(|()| Event::None),
        }
    }

    fn wrote(&mut self, bytes: usize, telemetry: &Telemetry) {
        telemetry.sent(bytes);
        self.written += bytes;
        if self.written >= self.out.len() {
            self.out.clear();
            // The first push of a connection carries all declarations; their room is given back.
            self.out.shrink_to(KEEP_BYTES);
            self.written = 0;
            self.pongs = 0;
        }
    }

    fn closed(&self, why: &str) -> Ended {
        match &self.broken {
            Some((error, _)) => Ended::new(Failure::Closed, format!("cannot send: {error}")),
            None => Ended::new(Failure::Closed, why),
        }
    }

    fn take(&mut self, frame: ToAgent, telemetry: &Telemetry) -> Result<Event, Ended> {
        match frame {
            ToAgent::Welcome(welcome) => self.welcome(&welcome, telemetry),
            ToAgent::Ack(ack) if ack.stream == Stream::Live => self.ack(ack.seq, telemetry),
            ToAgent::Ack(ack) => match self.late.as_mut().and_then(|late| late.acked(ack.seq)) {
                Some(count) => {
                    telemetry.late_acked(count);
                    Ok(Event::Late(ack.seq))
                }
                None => Err(never_sent(ack.seq)),
            },
            ToAgent::Ping(ping) => self.pong(ping).map(|()| Event::None),
            ToAgent::Pong(pong) => {
                self.pinged.take_if(|(id, _)| *id == pong.id);
                Ok(Event::None)
            }
            ToAgent::Challenge(challenge) if self.link.is_none() => {
                encode(&ToAggregator::Proof(self.token.prove(&challenge)?), &mut self.out);
                Ok(Event::None)
            }
            ToAgent::Challenge(_) => {
                Err(Ended::new(Failure::Protocol, "the aggregator asks for a token after it has welcomed"))
            }
            ToAgent::Refuse(refuse) => Err(Ended {
                failure: Failure::Refused(refuse.code),
                reason: format!("refused, {}: {}", refuse.code.as_str(), clipped(&refuse.reason)),
                retry_after: Duration::from_millis(refuse.retry_after_ms),
                said_bye: false,
            }),
            ToAgent::Goaway(goaway) => Err(Ended {
                failure: Failure::Goaway,
                reason: clipped(&goaway.reason),
                retry_after: Duration::from_millis(goaway.retry_after_ms),
                said_bye: false,
            }),
        }
    }

    fn welcome(&mut self, welcome: &Welcome, telemetry: &Telemetry) -> Result<Event, Ended> {
        let limits = welcome.limits;
        let wrong = if self.link.is_some() {
            Some("it welcomes twice".to_owned())
        } else if welcome.version != VERSION {
            Some(format!("it wants to speak version {}", welcome.version))
        } else if limits.line_bytes < HELLO_BYTES_MAX as u64 || limits.live_unacked == 0 {
            Some(format!("nobody can keep to its limits: {limits:?}"))
        } else if welcome.acked.live > self.sent.live || welcome.acked.late > self.sent.late {
            // It would silently ignore all pushes up to there.
            self.is_overclaimed = true;
            Some(format!("it claims pushes {:?}, and only {:?} were sent", welcome.acked, self.sent))
        } else {
            None
        };
        if let Some(what) = wrong {
            return Err(Ended::new(Failure::Protocol, format!("the aggregator is not to be spoken with: {what}")));
        }
        self.decoder.set_max(LINE_BYTES_MAX);
        self.link = Some(Link::new(limits, self.labels));
        self.live_unacked_max = usize::try_from(limits.live_unacked.min(LIVE_UNACKED_MAX)).unwrap_or(1);
        self.late = Some(Late::new(welcome, self.interval, Instant::now()));
        telemetry.connected();
        tracing::info!(aggregator = %clipped(&welcome.aggregator), token = self.token.outcome(), "connected");
        Ok(Event::Welcome { acked: welcome.acked, now_ms: welcome.now_ms })
    }

    fn ack(&mut self, seq: u64, telemetry: &Telemetry) -> Result<Event, Ended> {
        if seq > self.sent.live || self.link.is_none() {
            return Err(never_sent(seq));
        }
        let before = self.acked;
        while let Some((_, sent)) = self.unacked.pop_front_if(|(waiting, _)| *waiting <= seq) {
            telemetry.acked(Some(sent.elapsed()));
            self.acked += 1;
        }
        Ok(if self.acked > before { Event::Live { seq, is_first: before == 0 } } else { Event::None })
    }

    fn pong(&mut self, ping: Ping) -> Result<(), Ended> {
        self.pongs += 1;
        if self.pongs > PONGS_MAX {
            return Err(Ended::new(Failure::Protocol, "the aggregator pings and does not read"));
        }
        encode(&ToAggregator::Pong(ping), &mut self.out);
        self.last_said = Instant::now();
        Ok(())
    }

    /// Says what is still to be said and `bye`, and waits until the aggregator has closed. False
    /// when it may not have heard it: then it shows the agent's series for a while yet.
    pub(super) async fn say_bye(&mut self) -> bool {
        if self.link.is_none() || self.broken.is_some() {
            return false;
        }
        encode(&ToAggregator::Bye(Bye {}), &mut self.out);
        let rest = self.out.get(self.written..).unwrap_or_default();
        if self.writer.write_all(rest).await.is_err() || self.writer.shutdown().await.is_err() {
            return false;
        }
        // Closing with something unread would reset the connection, and might take the bye with it.
        let mut last_words = [0; 1024];
        loop {
            match self.reader.read(&mut last_words).await {
                Ok(0) => return true,
                Ok(_) => {}
                // It was closed with the bye unread.
                Err(_) => return false,
            }
        }
    }

    /// From which age on a measurement is not worth a live push.
    pub(super) fn stale_after(&self) -> Duration {
        late_after(self.interval)
    }

    /// How many pushes were acknowledged.
    pub(super) fn acked(&self) -> u64 {
        self.acked
    }

    /// When the last push was sent.
    pub(super) fn last_push(&self) -> Option<Instant> {
        self.last_push
    }

    /// Did the aggregator, in its `welcome`, claim pushes that were never sent?
    pub(super) fn is_overclaimed(&self) -> bool {
        self.is_overclaimed
    }

    /// Did the aggregator say `welcome`?
    pub(super) fn was_welcomed(&self) -> bool {
        self.link.is_some()
    }

    /// How long it lasted.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.opened)
    }
}

fn never_sent(seq: u64) -> Ended {
    Ended::new(Failure::Protocol, format!("the aggregator acknowledges push {seq}, never sent"))
}

/// Text of the other end, fit for a log.
fn clipped(text: &str) -> String {
    let text = text.chars().take(300);
    text.flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
