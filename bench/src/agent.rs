//! One simulated agent: one connection to the aggregator's link, with the real frames in the real
//! order and never more unacknowledged pushes than granted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use lifecycle::clock;
use protocol::frame::{Bye, End, Hello, Push, Stream};
use protocol::limits::{LINE_BYTES_MAX, LIVE_UNACKED_MAX};
use protocol::{Labels, LineDecoder, ToAgent, ToAggregator, VERSION, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{Error, Result};

/// The interval that agents say in their `hello`, whatever the generator's pace. The longest that
/// needs no pings: an aggregator allows 30 s of silence then, and a flooded one may fall 20 s
/// behind before a push counts as late.
const INTERVAL: Duration = Duration::from_secs(10);
/// The longest wait for any one thing that the aggregator has to do.
const WITHIN: Duration = Duration::from_secs(30);

/// How a simulated agent is called.
#[must_use]
pub fn name(number: usize) -> String {
    format!("bench-{number:05}")
}

/// One connected agent.
#[derive(Debug)]
pub struct Agent {
    name: String,
    stream: TcpStream,
    decoder: LineDecoder,
    started: Instant,
    sent: u64,
    acked: u64,
    unacked_max: u64,
}

impl Agent {
    /// Connects, says hello and declares all sets.
    ///
    /// # Errors
    /// When the aggregator is not there or refuses.
    pub async fn connect(link: SocketAddr, number: usize, session: &str, declaration: &[u8]) -> Result<Self> {
        let connected = timeout(WITHIN, TcpStream::connect(link)).await.unwrap_or_else(|late| Err(late.into()));
        let stream = connected.map_err(Error::io(format!("connecting to {link}")))?;
        stream.set_nodelay(true).map_err(Error::io("setting TCP_NODELAY"))?;
        let mut agent = Self {
            name: name(number),
            stream,
            decoder: LineDecoder::new(LINE_BYTES_MAX),
            started: Instant::now(),
            sent: 0,
            acked: 0,
            unacked_max: u64::from(LIVE_UNACKED_MAX),
        };
        agent.greet(format!("{session}-{number}")).await?;
        agent.write(&mut &*declaration).await?;
        Ok(agent)
    }

    async fn greet(&mut self, session: String) -> Result<()> {
        let hello = Hello {
            versions: (VERSION, VERSION),
            features: vec![],
            agent: self.name.clone(),
            labels: Labels::default(),
            info: Labels::of(&[("version", env!("CARGO_PKG_VERSION")), ("os", std::env::consts::OS)]),
            interval_ms: millis(INTERVAL),
            now_ms: clock::unix_ms(),
            mono_ms: millis(self.started.elapsed()),
            session,
            incarnation: 1,
            ephemeral: true,
            shown_elsewhere_ms: 0,
        };
        let mut line = Vec::new();
        encode(&ToAggregator::Hello(hello), &mut line);
        self.write(&mut line.as_slice()).await?;
        match self.read().await? {
            ToAgent::Welcome(welcome) => {
                self.unacked_max = u64::from(welcome.limits.live_unacked).clamp(1, u64::from(LIVE_UNACKED_MAX));
                Ok(())
            }
            other => Err(self.broken(format!("wanted a welcome, got {other:?}"))),
        }
    }

    /// Pushes encoded `values` lines, as soon as fewer pushes than granted wait for their ack.
    ///
    /// # Errors
    /// When the connection breaks or no ack comes.
    pub async fn push(&mut self, values: Bytes) -> Result<()> {
        self.wait_for_acks(self.unacked_max - 1).await?;
        self.sent += 1;
        let now_ms = clock::unix_ms();
        let push = Push {
            stream: Stream::Live,
            seq: self.sent,
            measured_ms: now_ms,
            now_ms,
            mono_ms: millis(self.started.elapsed()),
            backlog_ms: 0,
            lost: BTreeMap::new(),
        };
        let (mut head, mut end) = (Vec::with_capacity(160), Vec::with_capacity(40));
        encode(&ToAggregator::Push(push), &mut head);
        encode(&ToAggregator::End(End { seq: self.sent }), &mut end);
        self.write(&mut Buf::chain(head.as_slice(), values).chain(end.as_slice())).await
    }

    /// Waits until at most `unacked` pushes are without their ack.
    ///
    /// # Errors
    /// When the connection breaks, the agent is refused, or no ack comes in time.
    pub async fn wait_for_acks(&mut self, unacked: u64) -> Result<()> {
        while self.sent - self.acked > unacked {
            match self.read().await? {
                ToAgent::Ack(ack) if ack.stream == Stream::Live && (self.acked..=self.sent).contains(&ack.seq) => {
                    self.acked = ack.seq;
                }
                ToAgent::Ping(ping) => {
                    let mut line = Vec::new();
                    encode(&ToAggregator::Pong(ping), &mut line);
                    self.write(&mut line.as_slice()).await?;
                }
                other => return Err(self.broken(format!("wanted an ack, got {other:?}"))),
            }
        }
        Ok(())
    }

    /// How many pushes are acknowledged.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// The name, which is the `instance` on the page.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says bye, so that the aggregator forgets the agent, and waits for the end of the connection.
    ///
    /// # Errors
    /// When the connection breaks before that.
    pub async fn bye(mut self) -> Result<()> {
        let mut line = Vec::new();
        encode(&ToAggregator::Bye(Bye {}), &mut line);
        self.write(&mut line.as_slice()).await?;
        self.stream.shutdown().await.map_err(Error::io("ending a connection"))?;
        let mut rest = Vec::new();
        let end = timeout(WITHIN, self.stream.read_to_end(&mut rest)).await;
        end.unwrap_or_else(|late| Err(late.into())).map_err(Error::io("waiting for the end after bye"))?;
        Ok(())
    }

    async fn write(&mut self, bytes: &mut impl Buf) -> Result<()> {
        let written = timeout(WITHIN, self.stream.write_all_buf(bytes)).await;
        match written.unwrap_or_else(|late| Err(late.into())) {
            Ok(()) => Ok(()),
            // What the aggregator said before it closed tells more than a broken pipe.
            Err(error) => match self.read().await {
                Ok(frame) => Err(self.broken(format!("the aggregator said {frame:?} ({error})"))),
                Err(_) => Err(self.broken(format!("writing: {error}"))),
            },
        }
    }

    async fn read(&mut self) -> Result<ToAgent> {
        loop {
            match self.decoder.next_frame() {
                Ok(Some(ToAgent::Refuse(refuse))) => {
                    return Err(self.broken(format!("refused: {}: {}", refuse.code.as_str(), refuse.reason)));
                }
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => {}
                Err(error) => return Err(self.broken(error.to_string())),
            }
            let read = timeout(WITHIN, self.stream.read_buf(self.decoder.buffer())).await;
            match read.unwrap_or_else(|late| Err(late.into())) {
                Ok(0) => return Err(self.broken("the aggregator closed the connection".into())),
                Ok(_) => {}
                Err(error) => return Err(self.broken(format!("reading: {error}"))),
            }
        }
    }

    fn broken(&self, what: String) -> Error {
        Error::Link { agent: self.name.clone(), what }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::net::tcp::OwnedWriteHalf;

    use super::*;

    const WELCOME: &str = r#"{"welcome":{"version":1,"aggregator":"x","now_ms":1,"acked":{"live":0,"late":0},"limits":{"line_bytes":65536,"sets":9,"series":9,"live_unacked":2,"late_unacked":16},"late_rate":10.0}}"#;

    /// The other end: says `answer` to each line that starts with `{"` and the key of a pair.
    async fn aggregator(listener: TcpListener, answers: &[(&str, &str)]) -> Vec<String> {
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut write): (_, OwnedWriteHalf) = stream.into_split();
        let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(read));
        let mut heard = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            for (key, answer) in answers {
                if line.starts_with(&format!("{{\"{key}\"")) {
                    write.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
                }
            }
            heard.push(line);
        }
        heard
    }

    async fn talk<T>(answers: &[(&str, &str)], work: impl AsyncFnOnce(Result<Agent>) -> T) -> (T, Vec<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let link = listener.local_addr().unwrap();
        let agent = async { work(Agent::connect(link, 7, "s", b"{\"declare\":{}}\n").await).await };
        tokio::join!(agent, aggregator(listener, answers))
    }

    #[tokio::test]
    async fn the_frames_of_a_push_stand_in_order() {
        let ack = r#"{"ack":{"stream":"live","seq":1}}"#;
        let ping = r#"{"ping":{"id":5}}"#;
        let ((), heard) = talk(&[("hello", WELCOME), ("values", ping), ("end", ack)], async |agent| {
            let mut agent = agent.unwrap();
            agent.push(Bytes::from_static(b"{\"values\":{}}\n")).await.unwrap();
            agent.wait_for_acks(0).await.unwrap();
            assert_eq!(agent.acked(), 1);
            agent.bye().await.unwrap();
        })
        .await;
        let keys: Vec<&str> = heard.iter().map(|line| line.split('"').nth(1).unwrap()).collect();
        assert_eq!(keys, ["hello", "declare", "push", "values", "end", "pong", "bye"]);
        assert!(heard[0].contains("\"agent\":\"bench-00007\"") && heard[0].contains("\"session\":\"s-7\""));
    }

    #[tokio::test]
    async fn no_third_push_without_an_ack() {
        let push = Bytes::from_static(b"{\"values\":{}}\n");
        let ((), heard) = talk(&[("hello", WELCOME)], async |agent| {
            let mut agent = agent.unwrap();
            agent.push(push.clone()).await.unwrap();
            agent.push(push.clone()).await.unwrap();
            let third = timeout(Duration::from_millis(50), agent.push(push.clone())).await;
            assert!(third.is_err(), "it waits for the first ack");
        })
        .await;
        assert_eq!(heard.iter().filter(|line| line.starts_with("{\"push\"")).count(), 2);
    }

    #[tokio::test]
    async fn a_refusal_is_told_with_its_reason() {
        let refuse = r#"{"refuse":{"code":"name_in_use","reason":"bench-00007 is here"}}"#;
        let (error, _) = talk(&[("hello", refuse)], async |agent| agent.unwrap_err().to_string()).await;
        assert_eq!(error, "agent bench-00007: refused: name_in_use: bench-00007 is here");
    }
}
