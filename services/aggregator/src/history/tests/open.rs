//! What a history says of itself once it is open.

use super::*;

/// The lines of these metrics on the page.
fn lines(telemetry: &Telemetry, metric: &str) -> Vec<String> {
    let families = telemetry.gather(crate::telemetry::Levels::default());
    let text = prometheus::TextEncoder::new().encode_to_string(&families).unwrap();
    text.lines().filter(|line| line.starts_with(metric)).map(str::to_owned).collect()
}

#[tokio::test]
async fn it_is_up_before_the_first_point_and_says_how_durable_it_is() {
    let telemetry = Arc::new(Telemetry::new(1).unwrap());
    assert_eq!(lines(&telemetry, "fleetgauge_history_up"), ["fleetgauge_history_up 0"]);
    for (sync, expected) in [(true, ["os\"} 0", "sync\"} 1"]), (false, ["os\"} 1", "sync\"} 0"])] {
        let dir = tempfile::tempdir().unwrap();
        let history = History::open(dir.path(), Rules { sync, ..rules() }, Arc::clone(&telemetry), moment).unwrap();
        assert_eq!(lines(&telemetry, "fleetgauge_history_up"), ["fleetgauge_history_up 1"]);
        let expected = expected.map(|end| format!("fleetgauge_history_durability{{mode=\"{end}"));
        assert_eq!(lines(&telemetry, "fleetgauge_history_durability"), expected);
        history.close();
    }
}
