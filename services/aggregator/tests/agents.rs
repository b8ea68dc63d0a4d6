//! `/api/v1/agents/NAME`: why something is not on the page, and that nobody may forget an agent.
#![expect(clippy::unwrap_used, reason = "test code")]

#[expect(dead_code, reason = "this binary asks for no page")]
mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use common::{Running, agent, push, start};
use serde_json::Value;

fn ask(http: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(http).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let status = reply.split(' ').nth(1).unwrap().parse().unwrap();
    // What is small comes in one chunk.
    (status, reply.split_once("\r\n\r\n").unwrap().1.to_owned())
}

fn json(running: &Running, path: &str) -> Value {
    let (status, body) = ask(running.http, "GET", path);
    assert_eq!(status, 200, "{body}");
    let object = body.get(body.find('{').unwrap()..=body.rfind('}').unwrap()).unwrap();
    serde_json::from_str(object).unwrap()
}

fn say(stream: &mut BufReader<TcpStream>, lines: &[&str]) -> String {
    stream.get_mut().write_all(format!("{}\n", lines.join("\n")).as_bytes()).unwrap();
    let mut heard = String::new();
    stream.read_line(&mut heard).unwrap();
    heard
}

#[test]
fn everything_about_one_agent() {
    let running = start(&[]);
    let mut first = agent(running.link, "first");
    let mut one = agent(running.link, "one");
    let set = |number: u64, name: &str, family: &str, kind: &str, suffix: &str| {
        let total = 1;
        format!(
            "{{\"declare\":{{\"set\":{number},\"name\":\"{name}\",\"total\":{total},\"families\":[{{\"name\":\"{family}\",\"type\":\"{kind}\",\"series\":[{{{suffix}}}]}}]}}}}"
        )
    };
    let head = |seq: u64| {
        format!(
            "{{\"push\":{{\"stream\":\"live\",\"seq\":{seq},\"measured_ms\":0,\"now_ms\":0,\"mono_ms\":0,\"backlog_ms\":1500,\"lost\":{{\"spool_full\":7}}}}}}"
        )
    };
    let histogram = set(2, "h", "y", "histogram", "\"suffix\":\"_count\"");
    let lines = [&histogram, &head(2), "{\"values\":{\"set\":2,\"values\":[3]}}", "{\"end\":{\"seq\":2}}"];
    assert!(say(&mut first, &lines).contains("\"ack\""));
    let (counter, clash, broken) =
        (set(2, "c", "x", "counter", ""), set(3, "g", "y_count", "gauge", ""), set(4, "f", "z", "gauge", ""));
    let lines = [
        "{\"retire\":{\"set\":1}}",
        &counter,
        &clash,
        &broken,
        &head(2),
        "{\"values\":{\"set\":2,\"values\":[5]}}",
        "{\"values\":{\"set\":3,\"values\":[6]}}",
        "{\"failed\":{\"set\":4,\"reason\":\"/proc/z: permission denied\"}}",
        "{\"end\":{\"seq\":2}}",
    ];
    assert!(say(&mut one, &lines).contains("\"ack\""));

    let answer = json(&running, "/api/v1/agents/one?metric=x");
    assert_eq!(
        (&answer["state"], &answer["up"], &answer["on_page"]),
        (&"connected".into(), &true.into(), &true.into())
    );
    let known = &answer["known"];
    assert_eq!((&known["backlog_seconds"], &known["samples_missing"]["spool_full"]), (&1.5.into(), &7.into()));
    assert_eq!((&known["series_declared"], &known["series_granted"]), (&3.into(), &100_000.into()));
    let failed = known["sets"].as_array().unwrap().iter().find(|set| set["name"] == "f").unwrap();
    assert_eq!(failed["failed"], "/proc/z: permission denied");
    let found = &answer["metric"]["found"][0];
    assert_eq!(found["samples"][0]["series"], "x{instance=\"one\",job=\"node\"}");
    assert_eq!((&found["samples"][0]["value"], &found["conflict"]["shown_as"]), (&"5".into(), &"gauge".into()));
    assert_eq!(found["conflict"]["with"], serde_json::json!({"family": "x", "type": "gauge", "agent": "first"}));
    let clash = known["conflicts"].as_array().unwrap().iter().find(|one| one["family"] == "y_count").unwrap();
    assert_eq!(clash["with"], serde_json::json!({"family": "y", "type": "histogram", "agent": "first"}));
    assert_eq!((&clash["declared_as"], clash.get("shown_as")), (&"gauge".into(), None));
    let of_first = json(&running, "/api/v1/agents/first?metric=y_count");
    assert_eq!(of_first["metric"]["found"][0]["samples"][0]["value"], "3");
    assert_eq!(json(&running, "/api/v1/agents/one?metric=nothing")["metric"]["found"], serde_json::json!([]));

    assert!(
        say(&mut one, &["{\"declare\":{\"set\":1,\"name\":\"s\",\"total\":1,\"families\":[]}}"]).contains("set_reused")
    );
    let refused = &json(&running, "/api/v1/agents/one")["refusals"][0];
    assert_eq!((&refused["code"], &refused["count"]), (&"set_reused".into(), &1.into()));
    assert_eq!(ask(running.http, "GET", "/api/v1/agents/nobody").0, 404);
    assert_eq!(ask(running.http, "GET", "/api/v1/agents/one?x=1").0, 400);

    let all = json(&running, "/api/v1/agents");
    assert_eq!((&all["overload"]["state"], &all["limits"]["enforced"]), (&"normal".into(), &true.into()));
    assert_eq!(all["agents"][0]["backlog_seconds"], 1.5);
    push(&mut first, 3, 1);
}

#[test]
fn without_a_token_nobody_forgets_an_agent() {
    let running = start(&[]);
    let _agent = agent(running.link, "one");
    for path in ["/api/v1/agents/one", "/api/v1/agents/*?dry_run=true", "/api/v1/agents/nobody"] {
        let (status, body) = ask(running.http, "DELETE", path);
        assert_eq!(status, 403);
        assert!(body.contains("scope admin"), "{body}");
    }
    assert_eq!(json(&running, "/api/v1/agents/one")["up"], true);
    assert_eq!(ask(running.http, "POST", "/api/v1/agents/one").0, 405);
}
