//! Where late pushes go, and that each of their samples is counted once.

use prost::Message as _;
use tokio::io::AsyncReadExt as _;

use super::*;
use crate::fleet::dropped::Dropped;
use crate::forward::{Rules as ForwardRules, Which};

impl Inside {
    /// One that writes remotely, to a receiver that takes everything; gives what it got, as
    /// `name value` and how long ago.
    async fn forwarding(exact: bool) -> (Self, tokio::sync::mpsc::Receiver<(f64, i64)>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let mut inside = Self::new();
        let rules = ForwardRules {
            url,
            token_file: None,
            which: Which::Late,
            window: Duration::from_secs(1800),
            buffer: 1 << 20,
        };
        let telemetry = Arc::clone(&inside.shared.telemetry);
        let (forward, outbox) = Forwarder::new(rules, telemetry).unwrap();
        let shared = Arc::get_mut(&mut inside.shared).unwrap();
        (shared.forward, shared.exact) = (Some(Arc::new(forward)), exact);
        tokio::spawn(outbox.run(Arc::clone(&inside.shared), inside.stop.clone()));
        let (sender, got) = tokio::sync::mpsc::channel(100);
        tokio::spawn(async move {
            loop {
                let (mut io, _) = listener.accept().await.unwrap();
                let sender = sender.clone();
                tokio::spawn(async move {
                    let mut bytes = Vec::new();
                    while io.read_buf(&mut bytes).await.unwrap_or(0) > 0 {
                        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
                        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
                        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                        let whole = end + 4 + length.parse::<usize>().unwrap();
                        if bytes.len() < whole {
                            continue;
                        }
                        let body = snap::raw::Decoder::new().decompress_vec(&bytes[end + 4..whole]).unwrap();
                        bytes.drain(..whole);
                        let request = crate::forward::WriteRequest::decode(body.as_slice()).unwrap();
                        for sample in request.timeseries.iter().flat_map(|series| &series.samples) {
                            sender.send((sample.value, moment().wall_ms - sample.timestamp)).await.unwrap();
                        }
                        io.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                    }
                });
            }
        });
        (inside, got)
    }

    /// Sums of what became of samples: received, and all that it must be the sum of.
    fn samples(&self) -> (f64, f64) {
        let families = self.shared.telemetry.gather(crate::telemetry::Levels::default());
        let sum = |name: &str| {
            let family = families.iter().find(|family| family.name() == format!("fleetgauge_samples_{name}"));
            let metrics = family.unwrap().get_metric().iter();
            metrics.map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value()).sum::<f64>()
        };
        let became =
            ["visible_total", "stored_total", "forwarded_total", "duplicate_total", "dropped_total", "pending"];
        (sum("received_total"), became.into_iter().map(sum).sum())
    }
}

impl Talk {
    async fn late(&mut self, seq: u64, age_ms: i64, value: f64) {
        self.say(head("late", seq, age_ms)).await;
        self.say(values(1, 0, &[value, value])).await;
        self.say(json!({"end": {"seq": seq}})).await;
        assert_eq!(self.hear().await, json!({"ack": {"stream": "late", "seq": seq}}));
    }
}

#[tokio::test]
async fn what_a_scrape_may_have_seen_is_not_written_unless_the_page_is_exact() {
    for exact in [false, true] {
        let (inside, mut got) = Inside::forwarding(exact).await;
        let mut talk = inside.agent("a", "s", 1).await;
        talk.late(1, 60_000, 1.0).await;
        assert_eq!(got.recv().await.unwrap().0, 1.0);
        let (_, age_ms) = got.recv().await.unwrap();
        assert!((60_000..70_000).contains(&age_ms), "{age_ms}");
        talk.push(1, &[5.0, 5.0]).await;
        talk.late(2, 0, 6.0).await;
        talk.late(3, 2_000_000, 2.0).await;
        talk.late(4, 40 * 24 * 3_600_000, 2.0).await;
        talk.late(5, -5_000, 2.0).await;
        let facts = inside.view("a").unwrap().facts;
        let dropped = [Dropped::OnPage, Dropped::TooOld, Dropped::AbsurdTime].map(|reason| facts.dropped.get(reason));
        assert_eq!(dropped, [if exact { 0 } else { 2 }, 2, 4]);
        assert_eq!(facts.filled, if exact { 4 } else { 2 });
        assert_eq!(inside.samples(), (12.0, 12.0));
        // A live push that came late is late, too, and its ack covers it.
        talk.push_at(2, 30_000, &[3.0, 3.0]).await;
        assert_eq!(talk.hear().await["ack"]["seq"], 2);
        assert_eq!(inside.page("a"), ["a 5", "b 5"]);
        // Sent again, it is counted as such.
        let mut again = inside.agent("a", "s", 1).await;
        again.late(5, 60_000, 1.0).await;
        let (received, became) = inside.samples();
        assert_eq!((received, became), (16.0, 16.0));
    }
}

impl Inside {
    /// One that writes remotely to where nobody listens.
    fn forwarding_to_nobody() -> Self {
        let mut inside = Self::new();
        let rules = ForwardRules {
            url: "http://127.0.0.1:1/".parse().unwrap(),
            token_file: None,
            which: Which::Late,
            window: Duration::from_secs(1800),
            buffer: 1 << 20,
        };
        let (forward, outbox) = Forwarder::new(rules, Arc::clone(&inside.shared.telemetry)).unwrap();
        Arc::get_mut(&mut inside.shared).unwrap().forward = Some(Arc::new(forward));
        tokio::spawn(outbox.run(Arc::clone(&inside.shared), inside.stop.clone()));
        inside
    }

    fn pending(&self) -> i64 {
        self.shared.telemetry.forward.pending.get()
    }

    /// What the next connection of agent `a` is told to be safe.
    pub(super) async fn welcomed_with(&self) -> Value {
        let mut talk = self.connect();
        talk.say(hello("a", "s", 1)).await;
        talk.hear().await["welcome"]["acked"].clone()
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_broken_link_leaves_undecided_is_counted_and_comes_again() {
    let inside = Inside::forwarding_to_nobody();
    let mut talk = inside.agent("a", "s", 1).await;
    talk.push(1, &[1.0, 2.0]).await;
    talk.say(head("late", 1, 60_000)).await;
    talk.say(values(1, 0, &[1.0, 1.0])).await;
    talk.say(json!({"end": {"seq": 1}})).await;
    talk.push(2, &[1.0, 2.0]).await;
    assert_eq!(inside.pending(), 2);
    drop(talk);
    while inside.pending() > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(inside.samples(), (6.0, 6.0));
    assert_eq!(inside.welcomed_with().await, json!({"live": 2, "late": 0}));
}

#[tokio::test(start_paused = true)]
async fn a_live_push_that_came_late_is_safe_when_it_is_written_or_kept_here() {
    // Its connection breaks before its ack: it comes again, and nothing of it is kept.
    let inside = Inside::forwarding_to_nobody();
    let mut talk = inside.agent("a", "s", 1).await;
    talk.push(1, &[1.0, 2.0]).await;
    talk.push_at(2, 30_000, &[3.0, 3.0]).await;
    talk.say(json!({"ping": {"id": 7}})).await;
    assert_eq!(talk.hear().await, json!({"pong": {"id": 7}}), "it is not acknowledged yet");
    assert_eq!(inside.pending(), 2);
    drop(talk);
    while inside.pending() > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(inside.welcomed_with().await, json!({"live": 1, "late": 0}));
    assert_eq!(inside.samples(), (4.0, 4.0));

    // Acknowledged after a second it does not come again, and stays. What is shown after it covers it with its
    // ack, and no sooner: both come again.
    for is_shown in [false, true] {
        let inside = Inside::forwarding_to_nobody();
        let mut talk = inside.agent("a", "s", 1).await;
        talk.push(1, &[1.0, 2.0]).await;
        let began = Instant::now();
        talk.push_at(2, 30_000, &[3.0, 3.0]).await;
        if is_shown {
            talk.push_at(3, 0, &[4.0, 4.0]).await;
            talk.say(json!({"ping": {"id": 7}})).await;
            assert_eq!(talk.hear().await, json!({"pong": {"id": 7}}), "acks come in order");
        } else {
            assert_eq!(talk.hear().await, json!({"ack": {"stream": "live", "seq": 2}}));
            assert!((1000..1100).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
        }
        drop(talk);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(inside.pending(), if is_shown { 0 } else { 2 }, "{is_shown}");
        assert_eq!(inside.welcomed_with().await, json!({"live": if is_shown { 1 } else { 2 }, "late": 0}));
    }
}
