//! One connection: bytes in and out, frames, deadlines. It decides nothing about others.

use std::collections::VecDeque;
use std::time::Duration;

use protocol::frame::{Bye, Hello, Ping, Stream, ToAgent, ToAggregator, Welcome};
use protocol::limits::{
    HELLO_BYTES_MAX, HELLO_WITHIN, LINE_BYTES_MAX, PING_FROM_INTERVAL, clamp_interval, late_after, silence_after,
};
use protocol::{LineDecoder, VERSION, encode};
use security::Secret;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::Instant;

use super::Ended;
use super::link::{Link, Unsent};
use super::token::Token;
use crate::clock::Moment;
use crate::measurement::Measurement;
use crate::telemetry::{Failure, Telemetry};

/// Room that an idle connection keeps for what it sends.
const KEEP_BYTES: usize = 64 * 1024;
/// Answers to pings that may wait to be sent; an aggregator that asks more often reads nothing.
const PONGS_MAX: usize = 100;
/// A connection that cannot be written to may still hold the reason why, to be read.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);

/// An acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AckedUpTo {
    /// All pushes up to this one.
    pub(super) seq: u64,
    /// Is it the first of this connection?
    pub(super) first: bool,
}

/// Why a connection has to do something at a certain time.
#[derive(Debug, Clone, Copy)]
enum Due {
    Welcome,
    Ack,
    Pong,
    Ping,
    LastWords,
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
    /// Up to which number pushes were safe before this connection.
    safe: u64,
    sent: u64,
    interval: Duration,
    opened: Instant,
    last_push: Option<Instant>,
    last_said: Instant,
    pinged: Option<(u64, Instant)>,
    pings: u64,
}

impl<S: AsyncRead + AsyncWrite> Connection<S> {
    /// A connection that begins with this `hello`. `sent` is the highest number that was ever
    /// pushed.
    pub(super) fn new(stream: S, hello: &Hello, token: Option<Secret>, sent: u64, now: Instant) -> Self {
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
            safe: 0,
            sent,
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
    pub(super) fn push(&mut self, measurement: &Measurement, moment: Moment, now: Instant) -> Vec<Unsent> {
        let Some(link) = &mut self.link else { return vec![] };
        let unsent = link.push(measurement, moment, &mut self.out);
        self.unacked.push_back((measurement.seq, now));
        self.sent = self.sent.max(measurement.seq);
        self.last_push = Some(now);
        self.last_said = now;
        unsent
    }

    /// Does one thing: handles a frame, or reads, or writes, or notes that time is up.
    /// May be dropped at any time without losing anything.
    pub(super) async fn step(&mut self, telemetry: &Telemetry) -> Result<Option<AckedUpTo>, Ended> {
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
                Ok(_) => Ok(None),
                Err(error) => Err(self.closed(&error.to_string())),
            },
            wrote = self.writer.write(unwritten), if !unwritten.is_empty() && self.broken.is_none() => {
                match wrote {
                    Ok(0) => self.broken = Some((std::io::ErrorKind::WriteZero.into(), Instant::now())),
                    Ok(bytes) => self.wrote(bytes, telemetry),
                    Err(error) => self.broken = Some((error, Instant::now())),
                }
                Ok(None)
            }
            () = tokio::time::sleep_until(deadline) => self.time_is_up(due).map(|()| None),
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

    fn take(&mut self, frame: ToAgent, telemetry: &Telemetry) -> Result<Option<AckedUpTo>, Ended> {
        match frame {
            ToAgent::Welcome(welcome) => self.welcome(&welcome, telemetry).map(|()| None),
            ToAgent::Ack(ack) if ack.stream == Stream::Live => self.ack(ack.seq, telemetry),
            // Nothing is ever sent on the other stream.
            ToAgent::Ack(_) => Ok(None),
            ToAgent::Ping(ping) => self.pong(ping).map(|()| None),
            ToAgent::Pong(pong) => {
                self.pinged.take_if(|(id, _)| *id == pong.id);
                Ok(None)
            }
            ToAgent::Challenge(challenge) if self.link.is_none() => {
                encode(&ToAggregator::Proof(self.token.prove(&challenge)?), &mut self.out);
                Ok(None)
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

    fn welcome(&mut self, welcome: &Welcome, telemetry: &Telemetry) -> Result<(), Ended> {
        let limits = welcome.limits;
        let wrong = if self.link.is_some() {
            Some("it welcomes twice".to_owned())
        } else if welcome.version != VERSION {
            Some(format!("it wants to speak version {}", welcome.version))
        } else if limits.line_bytes < HELLO_BYTES_MAX as u64 || limits.live_unacked == 0 {
            Some(format!("nobody can keep to its limits: {limits:?}"))
        } else if welcome.acked.live > self.sent {
            // It would silently ignore all pushes up to there.
            Some(format!("it claims push {}, and only {} were sent", welcome.acked.live, self.sent))
        } else {
            None
        };
        if let Some(what) = wrong {
            return Err(Ended::new(Failure::Protocol, format!("the aggregator is not to be spoken with: {what}")));
        }
        self.decoder.set_max(LINE_BYTES_MAX);
        self.link = Some(Link::new(limits, self.labels));
        self.live_unacked_max = usize::try_from(limits.live_unacked).unwrap_or(usize::MAX).min(1000);
        self.safe = welcome.acked.live;
        telemetry.connected();
        tracing::info!(aggregator = %clipped(&welcome.aggregator), token = self.token.outcome(), "connected");
        Ok(())
    }

    fn ack(&mut self, seq: u64, telemetry: &Telemetry) -> Result<Option<AckedUpTo>, Ended> {
        if seq > self.sent || self.link.is_none() {
            return Err(Ended::new(Failure::Protocol, format!("the aggregator acknowledges push {seq}, never sent")));
        }
        let before = self.acked;
        while let Some((_, sent)) = self.unacked.pop_front_if(|(waiting, _)| *waiting <= seq) {
            telemetry.acked(Some(sent.elapsed()));
            self.acked += 1;
        }
        Ok((self.acked > before).then_some(AckedUpTo { seq, first: before == 0 }))
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

    /// When something has to happen even if nothing comes.
    fn due(&self) -> (Instant, Due) {
        let silence = silence_after(self.interval);
        let welcome = self.link.is_none().then(|| (self.opened + HELLO_WITHIN, Due::Welcome));
        let ack = self.unacked.front().map(|(_, sent)| (*sent + silence, Due::Ack));
        let idle = (self.interval > PING_FROM_INTERVAL && self.link.is_some()).then_some(match self.pinged {
            Some((_, since)) => (since + silence_after(PING_FROM_INTERVAL), Due::Pong),
            None => (self.last_said + PING_FROM_INTERVAL, Due::Ping),
        });
        let broken = self.broken.as_ref().map(|(_, since)| (*since + LAST_WORDS_WITHIN, Due::LastWords));
        let all = [welcome, ack, idle, broken].into_iter().flatten();
        // Before the first push of a welcomed connection nothing is due; look again some time.
        all.min_by_key(|(when, _)| *when).unwrap_or((Instant::now() + silence, Due::Ping))
    }

    fn time_is_up(&mut self, due: Due) -> Result<(), Ended> {
        let what = match due {
            Due::LastWords => return Err(self.closed("")),
            Due::Welcome => "the aggregator did not answer the hello",
            Due::Ack => "the aggregator did not acknowledge a push",
            Due::Pong => "the aggregator did not answer a ping",
            Due::Ping => {
                if self.interval > PING_FROM_INTERVAL {
                    self.pings += 1;
                    self.pinged = Some((self.pings, Instant::now()));
                    self.last_said = Instant::now();
                    encode(&ToAggregator::Ping(Ping { id: self.pings }), &mut self.out);
                }
                return Ok(());
            }
        };
        Err(Ended::new(Failure::Timeout, format!("{what} in time")))
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

    /// Is this push sent on this connection, and not acknowledged?
    pub(super) fn is_under_way(&self, seq: u64) -> bool {
        self.unacked.iter().any(|(waiting, _)| *waiting == seq)
    }

    /// Was this push safe before this connection?
    pub(super) fn is_safe(&self, seq: u64) -> bool {
        seq <= self.safe
    }

    /// From which age on a measurement is not worth a live push.
    pub(super) fn late_after(&self) -> Duration {
        late_after(self.interval)
    }

    /// Pushes that wait for their ack.
    pub(super) fn unacked(&self) -> impl Iterator<Item = u64> {
        self.unacked.iter().map(|(seq, _)| *seq)
    }

    /// How many pushes were acknowledged.
    pub(super) fn acked(&self) -> u64 {
        self.acked
    }

    /// When the last push was sent.
    pub(super) fn last_push(&self) -> Option<Instant> {
        self.last_push
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

/// Text of the other end, fit for a log.
fn clipped(text: &str) -> String {
    let text = text.chars().take(300);
    text.flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
