//! When memory is short, and when an operator wants an agent forgotten.

use super::*;
use crate::fleet::upkeep::Forgotten;
use crate::limits::overload::Level;

const LIMIT: u64 = 1000;

fn inside() -> Inside {
    Inside::limited(|caps| caps.memory = Some(LIMIT))
}

impl Inside {
    /// House-keeping reads so much memory.
    fn read(&self, bytes: u64) -> Level {
        let connected = self.shared.fleet.connected();
        if let Some(count) = self.shared.limits.overload.look(bytes, moment().instant, connected) {
            self.shared.fleet.shed(count);
        }
        self.shared.limits.level()
    }
}

#[tokio::test(start_paused = true)]
async fn above_the_soft_mark_nobody_new_comes_in_and_who_is_there_stays() {
    let inside = inside();
    let mut talk = inside.agent("a", "s", 1).await;
    talk.push(1, &[1.0, 2.0]).await;
    assert_eq!(inside.read(850), Level::Soft);
    let mut newcomer = inside.connect();
    newcomer.say(hello("b", "s", 1)).await;
    let heard = newcomer.hear().await;
    assert_eq!(heard["refuse"]["code"], "overloaded");
    assert!(
        heard["refuse"]["reason"].as_str().unwrap().contains("850 of 1000 bytes of memory, FLEETGAUGE_MEMORY_LIMIT")
    );
    assert!((10_000..=30_000).contains(&heard["refuse"]["retry_after_ms"].as_u64().unwrap()));
    assert_eq!(inside.counter("fleetgauge_overload_refused_total", "agent"), 1.0);
    // A set that changes a little is no new one.
    talk.say(declare(2, "s", &["a", "b", "c"])).await;
    talk.say(json!({"retire": {"set": 1}})).await;
    talk.say(json!({"ping": {"id": 1}})).await;
    assert!(talk.hear().await["pong"].is_object());
    talk.say(declare(3, "new", &["d"])).await;
    talk.expect_refusal("overloaded").await;
    assert_eq!(inside.counter("fleetgauge_overload_refused_total", "set"), 1.0);
    // It comes back at once, with what it had and a little more.
    let mut talk = inside.connect();
    talk.say(hello("a", "s", 1)).await;
    assert_eq!(talk.hear().await["welcome"]["limits"]["series"], 100, "never more than the limit for all");
    assert_eq!(inside.read(740), Level::Normal);
    inside.agent("b", "s", 1).await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_comes_back_is_granted_little_more_than_it_had() {
    let mut inside = Inside::with(|rules| (rules.series_max, rules.series_per_agent_max) = (100_000, 50_000), 1 << 20);
    let caps = Caps { memory: Some(LIMIT), ..Caps::default() };
    Arc::get_mut(&mut inside.shared).unwrap().limits = Limits::new(caps, moment().instant);
    let granted = async |session: &str| {
        let mut talk = inside.connect();
        talk.say(hello("a", session, 1)).await;
        let granted = talk.hear().await["welcome"]["limits"]["series"].as_u64().unwrap();
        talk.say(declare(1, "s", &["a", "b"])).await;
        talk.push(1, &[1.0, 2.0]).await;
        granted
    };
    assert_eq!(granted("s").await, 50_000);
    tokio::task::yield_now().await;
    inside.read(850);
    assert_eq!(granted("t").await, 2 + 1 + 256);
    inside.read(700);
    assert_eq!(granted("u").await, 50_000);
}

#[tokio::test(start_paused = true)]
async fn above_the_hard_mark_the_newest_go_a_few_at_a_time() {
    let inside = inside();
    let mut talks = Vec::new();
    for at in 0..10 {
        let mut talk = inside.agent(&format!("a{at}"), "s", 1).await;
        talk.push(1, &[1.0, 2.0]).await;
        talks.push(talk);
    }
    assert_eq!(inside.read(960), Level::Hard);
    let newest = talks.pop().unwrap();
    let reason = newest.expect_refusal("overloaded").await;
    assert!(reason.contains("the newest agents go first"), "{reason}");
    for _ in 0..20 {
        assert_eq!(inside.read(960), Level::Hard, "it does not grow, so nobody else goes");
    }
    for talk in &mut talks {
        talk.push(2, &[1.0, 2.0]).await;
    }
    let mut back = inside.connect();
    back.say(hello("a0", "s", 2)).await;
    back.expect_refusal("overloaded").await;
    assert_eq!(inside.read(0), Level::Normal);
    inside.agent("a9", "s", 1).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_forgotten_is_told_and_may_come_back() {
    let inside = Inside::new();
    let mut talk = inside.agent("web-1", "s", 1).await;
    talk.push(1, &[1.0, 2.0]).await;
    let mut gone = inside.agent("web-2", "s", 1).await;
    gone.push(1, &[1.0, 2.0]).await;
    gone.say(json!({"bye": {}})).await;
    assert_eq!(gone.hear().await, Value::Null);
    let mut other = inside.agent("db", "s", 1).await;
    other.push(1, &[1.0, 2.0]).await;
    let forget = |dry_run| inside.shared.fleet.forget_matching(|name| name.starts_with("web"), dry_run, moment());
    let both = [
        Forgotten { name: "web-1".into(), was_connected: true },
        Forgotten { name: "web-2".into(), was_connected: false },
    ];
    assert_eq!(forget(true), both);
    talk.push(2, &[3.0, 4.0]).await;
    assert_eq!(forget(false), both);
    assert_eq!(inside.shared.fleet.names(), ["db"]);
    assert!(inside.page("web-1").is_empty() && forget(false).is_empty());
    let heard = talk.hear().await;
    assert!(heard["goaway"]["reason"].as_str().unwrap().contains("forgotten"), "{heard}");
    assert_eq!(talk.hear().await, Value::Null);
    other.push(2, &[1.0, 2.0]).await;
    inside.agent("web-1", "s", 1).await.push(3, &[5.0, 6.0]).await;
    assert_eq!(inside.page("web-1"), ["a 5", "b 6"]);
    assert_eq!(inside.shared.fleet.families().len(), 2);
}
