//! Which page a request gets.

use super::*;
use crate::fleet::room::Room;
use crate::fleet::{Fleet, Rules};
use crate::history::History;
use crate::page::encode::Format;
use crate::page::tests::text;
use crate::quota::Quota;
use crate::telemetry::Telemetry;

fn query(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn context(history: Option<Arc<History>>, telemetry: Arc<Telemetry>) -> Context {
    let rules = Rules {
        job: "node".into(),
        tombstone: Duration::ZERO,
        agents_max: 10,
        series_max: 1000,
        series_per_agent_max: 100,
    };
    let shared = Shared {
        fleet: Arc::new(Fleet::new(rules)),
        name: "muninn".into(),
        buffers: Room::new(1000),
        text: Room::new(1000),
        warnings: Quota::new(0, Duration::from_secs(1)),
        exact: false,
        forward: None,
        late_max: Duration::from_secs(30 * 24 * 3600),
        history,
        vitals: None,
        telemetry,
    };
    Context::new(Arc::new(shared), 2)
}

/// The lines of the page that are about puts.
fn puts(context: &Context) -> Vec<String> {
    let (page, _) = page(&HashMap::new(), context).unwrap();
    let text = text(&page, Format::Text);
    text.lines()
        .filter(|line| line.contains("fleetgauge_put ") || line.contains("fleetgauge_put{"))
        .map(str::to_owned)
        .collect()
}

/// How many keys the page says it does not show.
fn hidden(context: &Context) -> String {
    let text = text(&page(&HashMap::new(), context).unwrap().0, Format::Text);
    let line = text.lines().find_map(|line| line.strip_prefix("fleetgauge_put_series_hidden "));
    line.unwrap().to_owned()
}

#[tokio::test]
async fn what_was_put_a_short_while_ago_is_on_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let telemetry = Arc::new(Telemetry::new(1).unwrap());
    let rules = crate::history::tests::rules();
    let expiry = rules.put_expiry;
    let history = History::open(dir.path(), rules, Arc::clone(&telemetry), moment).unwrap();
    let context = context(Some(Arc::clone(&history)), telemetry);
    assert!(puts(&context).is_empty(), "not even its head");
    let mut batch = history.batch().await;
    let now = moment().wall_ms / 1000;
    for (key, ts, value) in [("h.jobs", 1, 1.0), ("h.jobs", 9, 2.5), ("h.jobs", 5, 3.0), ("x", 1, 7.0)] {
        batch.put(key, value, now - 10 + ts).unwrap();
    }
    batch.put(&"n".repeat(2000), 1.0, now).unwrap();
    batch.put("of.another.time", 1.0, 1).unwrap();
    batch.put("in.milliseconds", 1.0, now * 1000).unwrap();
    history.commit(batch).await.unwrap();
    let expected = [
        "# HELP fleetgauge_put The newest value of a key that a program put a short while ago.",
        "# TYPE fleetgauge_put gauge",
        "fleetgauge_put{instance=\"h\",name=\"jobs\"} 2.5",
        "fleetgauge_put{instance=\"in\",name=\"milliseconds\"} 1",
        "fleetgauge_put{instance=\"of\",name=\"another.time\"} 1",
        "fleetgauge_put{name=\"x\"} 7",
    ];
    assert_eq!(puts(&context), expected);
    for _ in 0..3 {
        assert_eq!(hidden(&context), "1", "a name that is too long: one key");
    }
    // Not before: the writer is a thread, for which paused time does not wait.
    tokio::time::pause();
    tokio::time::advance(expiry + Duration::from_secs(1)).await;
    assert!(puts(&context).is_empty());
    assert_eq!(hidden(&context), "0");
}

#[test]
fn times_are_shown_to_those_who_ask_or_by_default() {
    for exact in [false, true] {
        let mut context = context(None, Arc::new(Telemetry::new(1).unwrap()));
        Arc::get_mut(&mut context.shared).unwrap().exact = exact;
        let times = |pairs: &[(&str, &str)]| page(&query(pairs), &context).map(|(_, times)| times == Times::Shown);
        assert_eq!(times(&[]), Ok(exact));
        assert_eq!(times(&[("timestamps", "0")]), Ok(false));
        assert_eq!(times(&[("timestamps", "1")]), Ok(true));
        assert_eq!(times(&[("timestamps", "yes")]).unwrap_err().0, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn without_a_history_there_are_no_puts() {
    assert!(puts(&context(None, Arc::new(Telemetry::new(1).unwrap()))).is_empty());
}
