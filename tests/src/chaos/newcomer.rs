//! An agent that comes and goes all the time, and counts how long it takes until it is welcome.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use protocol::limits::LINE_BYTES_MAX;
use protocol::{LineDecoder, ToAgent};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use super::attack::connect;
use crate::sim::Settings;
use crate::sim::frames::{self, Clocks};

/// Between two arrivals.
const EVERY: Duration = Duration::from_millis(500);
/// An answer takes no longer, and nobody is told to stay away for longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// One arrival after the other.
#[derive(Debug)]
pub struct Newcomer {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Since when it tries now.
    tries_since: Option<Instant>,
    arrivals: Vec<Arrival>,
}

/// One arrival.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    took: Duration,
    tries: usize,
}

/// What one found.
#[derive(Debug, Clone, Copy)]
pub struct Arrivals {
    /// How many.
    pub count: usize,
    /// How many of them were welcome at once.
    pub at_first_try: usize,
    /// The longest.
    pub longest: Duration,
}

impl Newcomer {
    /// Comes from the address with this last number, again and again.
    #[must_use]
    pub fn start(link: SocketAddr, host: u8) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let task = tokio::spawn(come_and_go(link, host, Arc::clone(&seen)));
        Self { seen, task }
    }

    /// What it has found so far; what is not over has taken as long as it takes now.
    pub fn end(self) -> Arrivals {
        self.task.abort();
        let Seen { tries_since, arrivals } = &*self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = tries_since.map(|since| since.elapsed());
        Arrivals {
            count: arrivals.len(),
            at_first_try: arrivals.iter().filter(|arrival| arrival.tries == 1).count(),
            longest: arrivals.iter().map(|arrival| arrival.took).chain(under_way).max().unwrap_or(Duration::MAX),
        }
    }
}

async fn come_and_go(link: SocketAddr, host: u8, seen: Arc<Mutex<Seen>>) {
    let seen = || seen.lock().unwrap_or_else(PoisonError::into_inner);
    let settings = Settings::new(&format!("newcomer{host}"), link);
    for incarnation in 1.. {
        let (began, mut tries) = (Instant::now(), 0);
        seen().tries_since = Some(began);
        loop {
            tries += 1;
            match tokio::time::timeout(ANSWER_WITHIN, arrive(&settings, host, incarnation)).await {
                Ok(Ok(None)) => break,
                Ok(Ok(Some(away))) => tokio::time::sleep(away.min(ANSWER_WITHIN)).await,
                Ok(Err(_)) | Err(_) => tokio::time::sleep(EVERY).await,
            }
        }
        {
            let mut seen = seen();
            seen.tries_since = None;
            seen.arrivals.push(Arrival { took: began.elapsed(), tries });
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// `None`: it is welcome; else for how long it shall stay away.
async fn arrive(settings: &Settings, host: u8, incarnation: u64) -> std::io::Result<Option<Duration>> {
    let mut stream = connect(settings.target, host).await?;
    let clocks = Clocks { wall_ms: lifecycle::clock::unix_ms(), mono: Duration::ZERO };
    stream.write_all(&frames::hello(settings, incarnation, clocks)).await?;
    let mut decoder = LineDecoder::new(LINE_BYTES_MAX);
    loop {
        match decoder.next_frame().map_err(std::io::Error::other)? {
            Some(ToAgent::Welcome(_)) => return Ok(None),
            Some(ToAgent::Refuse(refuse)) => {
                return Ok(Some(Duration::from_millis(refuse.retry_after_ms)));
            }
            Some(_) => {}
            None if stream.read_buf(decoder.buffer()).await? == 0 => {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            None => {}
        }
    }
}
