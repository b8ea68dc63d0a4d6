//! A real Prometheus whose gaps are filled: what an agent measured while its link was down is there
//! afterwards, and no counter seems to have begun anew.

#![cfg(test)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Hub, Prometheus, http, peers};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep_until, timeout};

const EVERY: Duration = Duration::from_millis(100);
/// What the counter grows in a second.
const PER_SECOND: f64 = 1_000.0;
const LIVE: Duration = Duration::from_secs(4);
const DOWN: Duration = Duration::from_secs(8);

fn wall_ms() -> i64 {
    lifecycle::clock::unix_ms()
}

/// An agent by hand, whose counter is known at every moment.
struct Agent {
    name: &'static str,
    /// Its wall clock minus ours.
    ahead_ms: i64,
    start: Instant,
    start_ms: i64,
    seq: [u64; 2],
    link: Option<(OwnedWriteHalf, mpsc::Receiver<Value>)>,
    /// What was measured while the link was down, by our clock.
    spool: VecDeque<i64>,
    late_acked: u64,
}

impl Agent {
    fn new(name: &'static str, ahead_ms: i64) -> Self {
        let (start, start_ms) = (Instant::now(), wall_ms());
        Self { name, ahead_ms, start, start_ms, seq: [0; 2], link: None, spool: VecDeque::new(), late_acked: 0 }
    }

    fn mono_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap()
    }

    /// Our wall clock now, as told by the one that never steps.
    fn now_ms(&self) -> i64 {
        self.start_ms + i64::try_from(self.mono_ms()).unwrap()
    }

    async fn connect(&mut self, hub: SocketAddr) {
        let (read, write) = TcpStream::connect(hub).await.unwrap().into_split();
        let (heard, hears) = mpsc::channel(1_000);
        let mut lines = BufReader::new(read).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let _nobody_listens = heard.send(serde_json::from_str(&line).unwrap()).await;
            }
        });
        self.link = Some((write, hears));
        self.say(&json!({"hello": {"versions": [1, 1], "agent": self.name, "interval_ms": 100,
            "now_ms": self.now_ms() + self.ahead_ms, "mono_ms": self.mono_ms(), "session": "s", "incarnation": 1}}))
            .await;
        assert!(self.hear().await["welcome"].is_object());
        // Bounds that Prometheus stores as 1.0 and 1.234567e+06: what is written must be the same series.
        let bucket = |le: &str| json!({"suffix": "_bucket", "labels": {"le": le}});
        self.say(&json!({"declare": {"set": 1, "name": "s", "total": 4, "families": [
            {"name": "walked_total", "type": "counter", "series": [{"labels": {"path": "a\\b\"c", "none": ""}}]},
            {"name": "h", "type": "histogram", "series": [bucket("1"), bucket("1234567"), bucket("+Inf")]}]}}))
            .await;
    }

    async fn say(&mut self, frame: &Value) {
        let (write, _) = self.link.as_mut().unwrap();
        write.write_all(format!("{frame}\n").as_bytes()).await.unwrap();
    }

    async fn hear(&mut self) -> Value {
        let (_, hears) = self.link.as_mut().unwrap();
        timeout(Duration::from_secs(10), hears.recv()).await.expect("an answer").expect("the link is up")
    }

    async fn push(&mut self, stream: usize, at_ms: i64) {
        self.seq[stream] += 1;
        let (seq, value) = (self.seq[stream], truth(at_ms - self.start_ms));
        let stream = ["live", "late"][stream];
        let (now_ms, mono_ms) = (self.now_ms() + self.ahead_ms, self.mono_ms());
        let measured_ms = at_ms + self.ahead_ms;
        for frame in [
            json!({"push": {"stream": stream, "seq": seq, "measured_ms": measured_ms, "now_ms": now_ms, "mono_ms": mono_ms}}),
            json!({"values": {"set": 1, "values": [value, value, value, value]}}),
            json!({"end": {"seq": seq}}),
        ] {
            self.say(&frame).await;
        }
    }

    /// Pushes live for a while, and what waits beside it.
    async fn live(&mut self, until: Instant) {
        let mut ticks = interval(EVERY);
        while Instant::now() < until {
            ticks.tick().await;
            self.push(0, self.now_ms()).await;
            while self.seq[1] - self.late_acked < 16 && !self.spool.is_empty() {
                let at_ms = self.spool.pop_front().unwrap();
                self.push(1, at_ms).await;
            }
            let (_, hears) = self.link.as_mut().unwrap();
            while let Ok(frame) = hears.try_recv() {
                assert!(frame["ack"].is_object(), "{frame}");
                if frame["ack"]["stream"] == "late" {
                    self.late_acked = frame["ack"]["seq"].as_u64().unwrap();
                }
            }
        }
    }

    async fn run(mut self, hub: SocketAddr) -> Self {
        self.connect(hub).await;
        self.live(self.start + LIVE).await;
        // The link stalls: nothing says that it is down, and for three seconds the page has the last
        // values still.
        let up_again = self.start + LIVE + DOWN;
        let mut ticks = interval(EVERY);
        while Instant::now() < up_again {
            ticks.tick().await;
            self.spool.push_back(self.now_ms());
        }
        self.connect(hub).await;
        self.live(up_again + LIVE).await;
        assert_eq!((self.late_acked, self.spool.len()), (self.seq[1], 0), "all is safe");
        self
    }
}

/// What the counter of an agent is so long after its start.
fn truth(elapsed_ms: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "some seconds")]
    let seconds = elapsed_ms as f64 / 1000.0;
    (seconds * PER_SECOND).round() + 1_000_000.0
}

/// The raw samples of a series: seconds and value.
async fn samples(prometheus: &Prometheus, series: &str) -> Vec<(f64, f64)> {
    let data = prometheus.raw(&format!("{series}[2m]")).await.unwrap();
    let result = data.pointer("/result").and_then(Value::as_array).unwrap();
    assert_eq!(result.len(), 1, "{series} is one series: {result:?}");
    let pairs = result[0]["values"].as_array().unwrap().iter();
    pairs.map(|pair| (pair[0].as_f64().unwrap(), pair[1].as_str().unwrap().parse().unwrap())).collect()
}

async fn check(prometheus: &Prometheus, agent: &Agent, exact: bool) {
    let name = agent.name;
    for family in ["walked_total{", "h_bucket{le=\"1.0\",", "h_bucket{le=\"1.234567e+06\",", "h_bucket{le=\"+Inf\","] {
        let series = format!("{family}instance=\"{name}\"}}");
        let raw = samples(prometheus, &series).await;
        let resets = prometheus.query(&format!("resets({series}[2m])")).await.unwrap();
        assert!(resets.iter().all(|one| one.value == 0.0), "{series}, exact {exact}: {resets:?}");
        let (first, last) = (raw.first().unwrap(), raw.last().unwrap());
        let gap = raw.windows(2).map(|pair| pair[1].0 - pair[0].0).fold(0.0, f64::max);
        // Scraped every second; where times are not known, up to a second after it left is left out.
        assert!(gap < if exact { 1.6 } else { 2.6 }, "{series}, exact {exact}: a gap of {gap} s in {raw:?}");
        assert!(last.0 - first.0 > 12.0, "{series}: {first:?} to {last:?}");
        let grown = last.1 - first.1;
        let expected = (last.0 - first.0) * PER_SECOND;
        assert!((grown / expected - 1.0).abs() < 0.02, "{series}, exact {exact}: grew {grown}, not {expected}");
        let increase = format!("increase({series}[7s] @ {})", last.0);
        let increase = prometheus.query(&increase).await.unwrap()[0].value;
        let truth_of_it = 7.0 * PER_SECOND;
        let most = if exact { 0.01 } else { 0.05 };
        assert!((increase / truth_of_it - 1.0).abs() < most, "{series}, exact {exact}: increase() {increase}");
        if exact {
            for (seconds, value) in &raw {
                #[expect(clippy::cast_possible_truncation, reason = "a time in milliseconds")]
                let at_ms = (seconds * 1000.0).round() as i64 - agent.start_ms;
                let off = value - truth(at_ms);
                assert!(off.abs() < 0.1 * PER_SECOND, "{series}: {value} at {at_ms} ms is {off} off");
            }
        }
    }
}

async fn fill(exact: bool) {
    let Some(program) = peers::program("PROMETHEUS", "prometheus") else { return };
    let folder = tempfile::tempdir().unwrap();
    let targets = folder.path().join("targets.json");
    std::fs::write(&targets, "[]").unwrap();
    let scrape = format!(
        "  - job_name: fleetgauge\n    honor_labels: true\n    track_timestamps_staleness: {exact}\n    \
         file_sd_configs:\n      - files: [\"{}\"]\n        refresh_interval: 1s\n",
        targets.display()
    );
    let prometheus = Prometheus::receiver(&program, &scrape, "30m").await;
    let url = format!("http://{}/api/v1/write", prometheus.addr());
    let hub = Hub::builder().with("FLEETGAUGE_REMOTE_WRITE_URL", url).with("FLEETGAUGE_EXACT", exact).start().await;
    std::fs::write(&targets, format!("[{{\"targets\": [\"{}\"]}}]", hub.http())).unwrap();
    prometheus.query_until("it scrapes", "up == 1", |found| !found.is_empty()).await;
    let (right, ahead) =
        tokio::join!(Agent::new("right", 0).run(hub.link()), Agent::new("ahead", 10_000).run(hub.link()),);
    // The newest is scraped still.
    sleep_until(Instant::now() + Duration::from_millis(100)).await;
    for agent in [&right, &ahead] {
        check(&prometheus, agent, exact).await;
    }
    let page = http::get(hub.http(), "/metrics?timestamps=0", &[]).await.unwrap();
    let page = tests::Page::parse(page.text());
    let of = |name: &str| page.of(&format!("fleetgauge_samples_{name}")).map(|sample| sample.value).sum::<f64>();
    let sum = ["visible", "stored", "forwarded", "duplicate", "dropped"].map(|name| of(&format!("{name}_total")));
    assert_eq!(of("received_total"), sum.iter().sum::<f64>() + of("pending"));
    let filled = page.value("fleetgauge_agent_samples_filled_total", &[("instance", "ahead")]).unwrap();
    assert!(filled > 100.0, "only {filled} samples were filled in");
}

#[tokio::test]
async fn a_gap_is_filled_without_a_false_reset() {
    fill(false).await;
}

#[tokio::test]
async fn with_exact_times_nothing_is_missing_at_all() {
    fill(true).await;
}
