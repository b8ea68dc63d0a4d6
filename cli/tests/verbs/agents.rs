//! Who is there, and why something is not on the page.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use aggregator::{App, Settings};

use crate::binary::{nobody, run, says};

/// An aggregator in this process, which runs as long as the tests do; where its HTTP and its link are.
pub(crate) fn start(more: &[(&str, &str)]) -> (SocketAddr, SocketAddr) {
    let (say, hear) = std::sync::mpsc::sync_channel(1);
    let listen = ["FLEETGAUGE_HTTP_LISTEN", "FLEETGAUGE_LINK_LISTEN", "FLEETGAUGE_LINE_LISTEN"];
    let pairs = listen.map(|name| (name, "127.0.0.1:0")).into_iter().chain(more.iter().copied());
    let settings = Settings::resolve(&lifecycle::Settings::from_pairs(pairs).unwrap()).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let app = App::bind(settings).await.unwrap();
            say.send((app.http_addr(), app.link_addr())).unwrap();
            app.run(std::future::pending()).await.unwrap();
        });
    });
    hear.recv().unwrap()
}

/// Says this, and hears the word.
fn say(stream: &mut BufReader<TcpStream>, lines: &str, word: &str) {
    stream.get_mut().write_all(lines.as_bytes()).unwrap();
    let mut line = String::new();
    while !line.contains(word) {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the connection closed without {word}");
    }
}

fn hello(link: SocketAddr, name: &str) -> BufReader<TcpStream> {
    let mut stream = BufReader::new(TcpStream::connect(link).unwrap());
    let hello = format!(
        "{{\"hello\":{{\"versions\":[1,1],\"agent\":\"{name}\",\"interval_ms\":60000,\"now_ms\":0,\"mono_ms\":0,\"session\":\"s\",\"incarnation\":1}}}}\n"
    );
    say(&mut stream, &hello, "welcome");
    stream
}

const PUSH: &str = r#"{"declare":{"set":1,"name":"loadavg","total":1,"families":[{"name":"node_load1","type":"gauge","series":[{}]}]}}
{"declare":{"set":2,"name":"hwmon","total":1,"families":[{"name":"node_hwmon_temp_celsius","type":"gauge","series":[{}]}]}}
{"push":{"stream":"live","seq":1,"measured_ms":0,"now_ms":0,"mono_ms":0,"lost":{"spool_full":9}}}
{"values":{"set":1,"values":[0.25]}}
{"failed":{"set":2,"reason":"/sys/class/hwmon: permission denied"}}
{"end":{"seq":1}}
"#;

#[test]
fn why_it_is_not_on_the_page() {
    let (http, link) = start(&[]);
    let http = format!("http://{http}");
    let explain = |arguments: &[&str]| run(&[&["explain", "--http", &http], arguments].concat()).well();
    assert!(explain(&["huginn"]).starts_with("huginn is not on the page\n- never_heard: "));

    let mut huginn = hello(link, "huginn");
    assert!(explain(&["huginn"]).starts_with("huginn is not on the page\n- no_push: it has been connected for "));
    say(&mut huginn, PUSH, "ack");
    assert_eq!(explain(&["huginn"]), "huginn is on the page\n- missing: the agent itself lost 9 samples: spool_full\n");
    let load = explain(&["huginn", "node_load1"]);
    assert!(load.starts_with("node_load1 of huginn is on the page\n"), "{load}");
    assert!(load.ends_with("  node_load1{instance=\"huginn\",job=\"node\"} 0.25\n"), "{load}");
    let temperature = explain(&["huginn", "node_hwmon_temp_celsius"]);
    assert!(temperature.starts_with("node_hwmon_temp_celsius of huginn is not on the page\n"), "{temperature}");
    assert!(
        temperature
            .contains("- failed_set: the set hwmon failed, and it may be there: /sys/class/hwmon: permission denied\n")
    );
    assert!(temperature.ends_with("the sets are hwmon, loadavg\n"), "{temperature}");

    let json = explain(&["huginn", "node_load1", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (json.get("on_page").unwrap(), json.pointer("/reasons/0/reason").unwrap()),
        (&true.into(), &"missing".into())
    );

    let table = run(&["agents", "--http", &http]).well();
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["huginn", "yes", "1", "0s", "ago", "-", "9", "0"], "{table}");

    say(&mut huginn, "{\"retire\":{\"set\":7}}\n", "unknown_set");
    let expired = explain(&["huginn"]);
    assert!(expired.contains("refused: 0s ago, from 127.0.0.1:"), "{expired}");
    assert!(expired.contains(": unknown_set, set 7 to retire is not declared\n"), "{expired}");
}

#[test]
fn what_goes_wrong_is_said() {
    run(&["explain", "bad name"]).badly(2, "bad name");
    run(&["explain", "huginn", "x{y}"]).badly(2, "accepted: a metric's name such as node_load1");
    run(&["explain", "huginn", "--http", "ftp://x"]).badly(2, "accepted: a URL such as http://aggregator:9400");
    let nobody = format!("http://{}", nobody());
    run(&["explain", "huginn", "--http", &nobody]).badly(69, "--http URL or FLEETGAUGE_HTTP names another");
    run(&["agents", "--http", &nobody]).badly(69, &nobody);
    let asked = |reply: &str| run(&["agents", "--http", &format!("http://{}", says(reply))]);
    asked("HTTP/1.1 403 Forbidden\r\nContent-Length: 8\r\n\r\nno token").badly(1, "answered 403: no token");
    asked("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").badly(1, "is this the HTTP port of an aggregator");
    asked("HTTP/1.1 200 OK\r\nContent-Length: 70000000\r\n\r\n{").badly(69, "an answer of 70000000 bytes is too long");
    asked("error\nwrong command\n\n").badly(69, "does an aggregator run there?");
    let waits = format!("http://{}", says(""));
    run(&["agents", "--timeout", "100ms", "--http", &waits]).badly(69, "no answer within 100ms");
}
