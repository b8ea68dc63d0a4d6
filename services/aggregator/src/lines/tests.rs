//! Connections of put/get over pipes in memory, with a real history in a folder of its own.

mod byte_logs;
mod limits;
mod model;
mod pace;
mod table;

use std::panic::Location;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

use super::*;
use crate::fleet::{Fleet, Rules};
use crate::history;
use crate::quota::Quota;
use crate::stop::{self, Stopper};
use crate::telemetry::Telemetry;

/// Longer than anything takes that works.
const SOON: Duration = Duration::from_secs(60);

/// An aggregator's inside: what connections share.
struct Inside {
    lines: Arc<Lines>,
    stopper: Stopper,
    stop: Stop,
    // Dropped last.
    _dir: TempDir,
}

impl Inside {
    /// With a history.
    fn new() -> Self {
        Self::with(1 << 20, Some(rules()))
    }

    fn without_history() -> Self {
        Self::with(1 << 20, None)
    }

    fn with(buffer: usize, kept: Option<history::Rules>) -> Self {
        let rules = Rules {
            job: "node".into(),
            tombstone: Duration::from_secs(3600),
            agents_max: 10,
            series_max: 1000,
            series_per_agent_max: 100,
        };
        let telemetry = Arc::new(Telemetry::new(10).unwrap());
        let dir = tempfile::tempdir().unwrap();
        let open = |rules| History::open(dir.path(), rules, Arc::clone(&telemetry), link::moment).unwrap();
        let history = kept.map(open);
        let shared = Arc::new(link::Shared {
            fleet: Arc::new(Fleet::new(rules)),
            name: "muninn".into(),
            buffers: Room::new(buffer),
            text: Room::new(1 << 20),
            warnings: Quota::new(0, Duration::from_secs(1)),
            exact: false,
            forward: None,
            late_max: Duration::from_secs(30 * 24 * 3600),
            telemetry,
            vitals: None,
            history,
        });
        let (stopper, stop) = stop::pair();
        Self { lines: Arc::new(Lines::new(shared)), stopper, stop, _dir: dir }
    }

    /// A new connection.
    fn connect(&self) -> Client {
        self.connect_through(256 * 1024)
    }

    /// A new connection over a pipe that takes so many bytes before somebody must read.
    fn connect_through(&self, bytes: usize) -> Client {
        self.connect_from("192.0.2.1", bytes)
    }

    /// The same, from this address.
    fn connect_from(&self, address: &str, bytes: usize) -> Client {
        let (stream, far) = tokio::io::duplex(bytes);
        let peer = SocketAddr::new(address.parse().unwrap(), 4000);
        let task = tokio::spawn(serve(far, peer, Arc::clone(&self.lines), self.stop.clone()));
        Client { stream, task }
    }

    /// The value of a metric of put/get, by what follows `fleetgauge_line_` on the page.
    fn metric(&self, name: &str) -> f64 {
        let families = self.lines.shared.telemetry.gather(crate::telemetry::Levels::default());
        let text = prometheus::TextEncoder::new().encode_to_string(&families).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("fleetgauge_line_{name} ")));
        line.unwrap_or_else(|| panic!("no fleetgauge_line_{name}")).parse().unwrap()
    }
}

/// Those of the history's own tests, without syncs, which are not the subject here.
fn rules() -> history::Rules {
    history::Rules { sync: false, ..history::tests::rules() }
}

/// A client's end of a connection.
struct Client {
    stream: DuplexStream,
    task: JoinHandle<()>,
}

impl Client {
    async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Expects exactly these bytes.
    #[track_caller]
    fn hear(&mut self, expected: impl AsRef<[u8]>) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move { self.hear_at(expected.as_ref(), caller).await }
    }

    async fn hear_at(&mut self, expected: &[u8], caller: &Location<'_>) {
        let mut heard = vec![0; expected.len()];
        let mut count = 0;
        let all = async {
            while count < expected.len() {
                match self.stream.read(&mut heard[count..]).await.unwrap() {
                    0 => break,
                    more => count += more,
                }
            }
        };
        let in_time = tokio::time::timeout(SOON, all).await.is_ok();
        heard.truncate(count);
        let (heard, expected) = (String::from_utf8_lossy(&heard), String::from_utf8_lossy(expected));
        assert!(heard == expected, "heard {heard:?} instead of {expected:?} (in time: {in_time}), at {caller}");
    }

    /// Says it and expects this.
    #[track_caller]
    fn ask(&mut self, said: impl AsRef<[u8]>, expected: impl AsRef<[u8]>) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move {
            self.say(said).await;
            self.hear_at(expected.as_ref(), caller).await;
        }
    }

    /// Sends no more, and gives what still comes until the aggregator closes.
    async fn end(mut self) -> String {
        self.stream.shutdown().await.unwrap();
        self.rest().await
    }

    /// What comes until the aggregator closes.
    async fn rest(mut self) -> String {
        let mut heard = Vec::new();
        tokio::time::timeout(SOON, self.stream.read_to_end(&mut heard)).await.unwrap().unwrap();
        drop(self.stream);
        self.task.await.unwrap();
        String::from_utf8(heard).unwrap()
    }
}

/// `count` puts of one key, and the bytes of a `get` of it.
fn many_points(count: usize) -> (String, String) {
    let puts = (0..count).map(|ts| format!("put many.points {ts}.5 {ts}\n")).collect();
    let rows: String = (0..count).map(|ts| format!("many.points {ts}.5 {ts}\n")).collect();
    (puts, format!("ok\n{rows}\n"))
}
