//! One connection, spoken to over a pipe in memory, with time that only passes when everybody
//! waits.

mod identity;
mod late;
mod overload;
mod pushes;
mod quotas;
mod refusals;
#[cfg(feature = "tls")]
mod tls;
mod tokens;
mod vitals;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf, split};
use tokio::task::JoinHandle;

use super::*;
use crate::fleet::{AgentView, Rules};
use crate::limits::Caps;
use crate::stop::{self, Stopper};

/// An aggregator's inside: what connections share.
struct Inside {
    shared: Arc<Shared>,
    stopper: Stopper,
    stop: Stop,
}

impl Inside {
    fn new() -> Self {
        Self::with(|_| {}, 1 << 20)
    }

    /// One with limits of its own.
    fn limited(change: impl FnOnce(&mut Caps)) -> Self {
        let (mut inside, mut caps) = (Self::new(), Caps::default());
        change(&mut caps);
        Arc::get_mut(&mut inside.shared).unwrap().limits = Limits::new(caps, moment().instant);
        inside
    }

    /// How often anybody went over a limit.
    fn exceeded(&self, limit: &str) -> f64 {
        self.counter("fleetgauge_limit_exceeded_total", limit)
    }

    /// A counter of the aggregator with one label, which has this value.
    fn counter(&self, name: &str, label: &str) -> f64 {
        let registry = self.shared.telemetry.gather(crate::telemetry::Levels::default());
        let family = registry.iter().find(|family| family.name() == name).unwrap();
        let metric = family.get_metric().iter().find(|metric| metric.get_label().iter().all(|l| l.value() == label));
        metric.unwrap().get_counter().get_value()
    }

    fn with(change: impl FnOnce(&mut Rules), buffer: usize) -> Self {
        Self::with_history(change, buffer, |_| None)
    }

    fn with_history(
        change: impl FnOnce(&mut Rules),
        buffer: usize,
        history: impl FnOnce(Arc<Telemetry>) -> Option<Arc<History>>,
    ) -> Self {
        let telemetry = Arc::new(Telemetry::new(10).unwrap());
        let history = history(Arc::clone(&telemetry));
        let mut rules = Rules {
            job: "node".into(),
            tombstone: Duration::from_secs(3600),
            agents_max: 10,
            series_max: 1000,
            series_per_agent_max: 100,
        };
        change(&mut rules);
        let (stopper, stop) = stop::pair();
        let shared = Arc::new(Shared {
            fleet: Arc::new(Fleet::new(rules)),
            access: Arc::new(crate::access::Access::open(telemetry.auth.clone())),
            name: "muninn".into(),
            buffers: Room::new(buffer),
            text: Room::new(1 << 20),
            warnings: Quota::new(0, Duration::from_secs(1)),
            limits: Default::default(),
            exact: false,
            forward: None,
            late_max: Duration::from_secs(30 * 24 * 3600),
            vitals: history.clone(),
            history,
            telemetry,
        });
        Self { shared, stopper, stop }
    }

    /// The same with other rules about who gets in.
    fn with_access(rules: crate::access::Rules) -> Self {
        let mut inside = Self::new();
        let shared = Arc::get_mut(&mut inside.shared).unwrap();
        shared.access = Arc::new(Access::new(rules, shared.telemetry.auth.clone()).unwrap());
        inside
    }

    /// The value of a metric.
    fn metric(&self, series: &str) -> f64 {
        let families = self.shared.telemetry.gather(crate::telemetry::Levels::default());
        let text = prometheus::TextEncoder::new().encode_to_string(&families).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{series} ")));
        line.unwrap_or_else(|| panic!("no {series}")).parse().unwrap()
    }

    /// A new connection.
    fn connect(&self) -> Talk {
        self.connect_from([192, 0, 2, 1])
    }

    /// The same, from this address.
    fn connect_from(&self, from: [u8; 4]) -> Talk {
        let (near, far) = tokio::io::duplex(256 * 1024);
        let peer = SocketAddr::from((from, 4000));
        let task = tokio::spawn(serve(far, peer, Arc::clone(&self.shared), self.stop.clone()));
        let (read, write) = split(near);
        Talk { read: BufReader::new(read), write, task }
    }

    /// A connection that was welcomed and has declared set 1: `a` and `b`.
    async fn agent(&self, name: &str, session: &str, incarnation: u64) -> Talk {
        let mut talk = self.connect();
        talk.say(hello(name, session, incarnation)).await;
        assert!(talk.hear().await["welcome"].is_object());
        talk.say(declare(1, "s", &["a", "b"])).await;
        talk
    }

    fn view(&self, name: &str) -> Option<AgentView> {
        self.shared.fleet.view_one(name, moment())
    }

    /// What the page shows of an agent, as `name value` lines without labels.
    fn page(&self, name: &str) -> Vec<String> {
        let sets = self.view(name).map(|view| view.shown).unwrap_or_default();
        let lines = sets.iter().flat_map(|set| {
            (0..set.declared.len()).map(|series| {
                let prefix = String::from_utf8_lossy(set.declared.prefix(series)).into_owned();
                format!("{} {}", prefix.split('{').next().unwrap(), set.values[series])
            })
        });
        lines.collect()
    }
}

/// The agent's end of a connection.
struct Talk {
    read: BufReader<ReadHalf<DuplexStream>>,
    write: WriteHalf<DuplexStream>,
    task: JoinHandle<()>,
}

impl Talk {
    async fn say(&mut self, frame: Value) {
        self.say_raw(format!("{frame}\n").as_bytes()).await;
    }

    async fn say_raw(&mut self, bytes: &[u8]) {
        self.write.write_all(bytes).await.unwrap();
    }

    /// The next frame; `Null` when the connection is closed.
    async fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.read.read_line(&mut line).await.unwrap();
        if line.is_empty() { Value::Null } else { serde_json::from_str(&line).unwrap() }
    }

    async fn push(&mut self, seq: u64, values: &[f64]) {
        self.push_at(seq, 0, values).await;
        assert_eq!(self.hear().await, json!({"ack": {"stream": "live", "seq": seq}}));
    }

    /// A push measured `age_ms` ago.
    async fn push_at(&mut self, seq: u64, age_ms: i64, values: &[f64]) {
        self.say(head("live", seq, age_ms)).await;
        self.say(json!({"values": {"set": 1, "values": values}})).await;
        self.say(json!({"end": {"seq": seq}})).await;
    }

    /// Expects to be refused with this code, and closed.
    #[track_caller]
    fn expect_refusal(mut self, code: &'static str) -> impl Future<Output = String> {
        let caller = std::panic::Location::caller();
        async move {
            let heard = self.hear().await;
            assert_eq!(heard["refuse"]["code"], code, "{heard} at {caller}");
            assert_eq!(self.hear().await, Value::Null, "closed after it, at {caller}");
            drop(self.write);
            drop(self.read);
            self.task.await.unwrap();
            heard["refuse"]["reason"].as_str().unwrap().to_owned()
        }
    }
}

fn hello(name: &str, session: &str, incarnation: u64) -> Value {
    json!({"hello": {"versions": [1, 1], "agent": name, "interval_ms": 1000, "now_ms": 0, "mono_ms": 0,
        "session": session, "incarnation": incarnation}})
}

fn declare(set: u64, name: &str, families: &[&str]) -> Value {
    let families: Vec<Value> =
        families.iter().map(|family| json!({"name": family, "type": "gauge", "series": [{}]})).collect();
    json!({"declare": {"set": set, "name": name, "total": families.len(), "families": families}})
}

/// The head of a push that is sent now.
fn head(stream: &str, seq: u64, age_ms: i64) -> Value {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let now = Instant::now().into_std();
    let mono_ms = u64::try_from(now.duration_since(*START.get_or_init(|| now)).as_millis()).unwrap();
    json!({"push": {"stream": stream, "seq": seq, "measured_ms": -age_ms, "now_ms": 0, "mono_ms": mono_ms}})
}

fn values(set: u64, offset: u64, values: &[f64]) -> Value {
    json!({"values": {"set": set, "offset": offset, "values": values}})
}
