//! What is said once about ports that everybody reaches.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use crate::common::command;

/// The warnings about who gets in of a start on these addresses.
fn warnings(address: &str, more: &[(&str, &str)]) -> Vec<String> {
    let mut command = command();
    for name in ["FLEETGAUGE_HTTP_LISTEN", "FLEETGAUGE_LINK_LISTEN", "FLEETGAUGE_LINE_LISTEN"] {
        command.env(name, address);
    }
    let mut child = command.envs(more.iter().copied()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let (mut said, mut line) = (String::new(), String::new());
    while !line.contains("\"listening\"") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "{said}");
        said.push_str(&line);
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    log.read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!said.contains("0123456789"), "{said}");
    let of_access = |line: &&str| line.contains("whoever reaches") || line.contains("in the clear");
    said.lines().filter(of_access).map(str::to_owned).collect()
}

#[test]
fn open_ports_are_warned_of_once() {
    let open = warnings("0.0.0.0:0", &[]);
    assert!(open.len() == 1 && open[0].contains("FLEETGAUGE_TOKENS_FILE"), "{open:?}");
    let clear = warnings("0.0.0.0:0", &[("FLEETGAUGE_TOKEN", "0123456789abcdef")]);
    assert!(clear.len() == 1 && clear[0].contains("FLEETGAUGE_TLS_CERT_FILE"), "{clear:?}");
    assert_eq!(warnings("127.0.0.1:0", &[]), Vec::<String>::new());
}
