//! The connection of a simulated agent: its bytes and waits.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use protocol::frame::{Ack, Welcome};
use protocol::limits::LINE_BYTES_MAX;
use protocol::{LineDecoder, ToAgent, ToAggregator, encode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::state::Outgoing;
use super::{Shared, frames};

/// A connection, and each answer to its opening, takes no longer.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// How often it looks whether an ack is overdue.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Most of what is read at a time.
const READ_BYTES: usize = 16 * 1024;

/// Connects, for ever.
pub(super) async fn run(shared: Arc<Shared>, incarnation: u64) {
    loop {
        // Every connection ends with an error: this agent never says that it goes.
        let Err(error) = connection(&shared, incarnation).await;
        shared.state().disconnected();
        if error.kind() == io::ErrorKind::ConnectionAborted {
            shared.refused(error.to_string());
        }
        let most = u64::try_from(shared.settings.backoff_max.as_millis()).unwrap_or(u64::MAX);
        sleep(Duration::from_millis(fastrand::u64(..=most))).await;
    }
}

async fn connection(shared: &Shared, incarnation: u64) -> io::Result<std::convert::Infallible> {
    let stream = timeout(OPEN_WITHIN, TcpStream::connect(shared.settings.target)).await??;
    stream.set_nodelay(true)?;
    let mut link = Link { stream, decoder: LineDecoder::new(LINE_BYTES_MAX) };
    link.say(shared, &frames::hello(&shared.settings, incarnation, shared.clocks())).await?;
    let welcome = timeout(OPEN_WITHIN, link.welcome()).await??;
    shared.state().welcomed(welcome.acked, welcome.limits.live_unacked, welcome.limits.late_unacked, shared.mono());
    {
        let mut seen = shared.seen();
        seen.welcomes += 1;
        seen.welcomed = Some(std::time::Instant::now());
    }
    link.say(shared, &frames::declare(&shared.settings)).await?;
    talk(shared, &mut link, shared.settings.interval.div_f64(welcome.late_rate.max(0.1))).await
}

/// Pushes what there is, live first, and hears what is said.
async fn talk(shared: &Shared, link: &mut Link, late_pause: Duration) -> io::Result<std::convert::Infallible> {
    let deadline = ack_deadline(shared);
    let mut late_at = Instant::now();
    loop {
        let live = shared.state().next_live();
        if let Some(push) = live {
            link.push(shared, push).await?;
            continue;
        }
        let has_late = shared.state().has_late();
        if has_late && Instant::now() >= late_at {
            let late = shared.state().next_late();
            if let Some(push) = late {
                link.push(shared, push).await?;
            }
            // What could not be sent for a while is not made up for in a burst.
            late_at = late_at.max(Instant::now() - late_pause) + late_pause;
            continue;
        }
        tokio::select! {
            frame = link.hear() => take(shared, link, frame?).await?,
            () = shared.news.notified() => {}
            () = sleep_until(late_at), if has_late => {}
            () = sleep(LOOK_EVERY) => {}
        }
        let since = shared.state().waits_since();
        if since.is_some_and(|since| shared.mono().saturating_sub(since) > deadline) {
            return Err(io::Error::other("no ack"));
        }
    }
}

/// Three intervals, at least three seconds.
fn ack_deadline(shared: &Shared) -> Duration {
    (shared.settings.interval * 3).max(Duration::from_secs(3))
}

async fn take(shared: &Shared, link: &mut Link, frame: ToAgent) -> io::Result<()> {
    match frame {
        ToAgent::Ack(Ack { stream, seq }) => shared.state().acked(stream, seq, shared.mono()),
        ToAgent::Ping(ping) => {
            let mut line = Vec::new();
            encode(&ToAggregator::Pong(ping), &mut line);
            link.say(shared, &line).await?;
        }
        ToAgent::Refuse(refuse) => return Err(refused(&refuse)),
        ToAgent::Goaway(_) => return Err(io::Error::other("asked to go")),
        ToAgent::Pong(_) | ToAgent::Challenge(_) | ToAgent::Welcome(_) => {}
    }
    Ok(())
}

fn refused(refuse: &protocol::frame::Refuse) -> io::Error {
    let why = format!("{}: {}", refuse.code.as_str(), refuse.reason);
    io::Error::new(io::ErrorKind::ConnectionAborted, why)
}

struct Link {
    stream: TcpStream,
    decoder: LineDecoder,
}

impl Link {
    /// Writes within the time that an ack may take: whoever reads nothing is not there.
    async fn say(&mut self, shared: &Shared, bytes: &[u8]) -> io::Result<()> {
        timeout(ack_deadline(shared), self.stream.write_all(bytes)).await?
    }

    async fn push(&mut self, shared: &Shared, push: Outgoing) -> io::Result<()> {
        let lines = {
            let state = shared.state();
            let tick = state.tick(push.tick).ok_or_else(|| io::Error::other("pushes what it has not measured"))?;
            frames::push(&shared.settings, push, tick, state.oldest(), shared.clocks())
        };
        self.say(shared, &lines).await
    }

    /// The next frame. Nothing is lost when this is dropped half way.
    async fn hear(&mut self) -> io::Result<ToAgent> {
        loop {
            let frame = self.decoder.next_frame().map_err(io::Error::other)?;
            if let Some(frame) = frame {
                return Ok(frame);
            }
            self.decoder.buffer().reserve(READ_BYTES);
            if self.stream.read_buf(self.decoder.buffer()).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn welcome(&mut self) -> io::Result<Welcome> {
        match self.hear().await? {
            ToAgent::Welcome(welcome) => Ok(welcome),
            ToAgent::Refuse(refuse) => Err(refused(&refuse)),
            _ => Err(io::Error::other("no welcome")),
        }
    }
}
