//! What is acknowledged is on the disk before it is: told by the calls to the system.
#![cfg(target_os = "linux")]

use std::io::{BufRead, Write};
use std::process::Command;

use crate::common::{BINARY, program};
use crate::lines::{Server, can_run, connect};

const PUTS: usize = 20;

/// Counts the syncs that are over before each reply. A call that another thread interrupts is two
/// lines: it is over at the second.
fn syncs_before_replies(trace: &str) -> Vec<usize> {
    let mut syncs = 0;
    let mut before = Vec::new();
    for line in trace.lines() {
        let is_sync = ["fdatasync", "fsync"].iter().any(|call| {
            line.contains(&format!("{call}(")) && !line.contains("unfinished")
                || line.contains(&format!("<... {call} resumed"))
        });
        if is_sync && line.trim_end().ends_with("= 0") {
            syncs += 1;
        } else if line.contains("\"ok\\n\\n\"") && !line.contains("resumed") {
            before.push(syncs);
        }
    }
    before
}

#[test]
fn a_sync_comes_before_each_acknowledgement() {
    if !can_run("strace", &["-f", "true"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let mut command: Command = program("strace");
    command.args(["-f", "-qq", "-e", "trace=fdatasync,fsync,sendto,write,writev", "-e", "signal=none", "-o"]);
    command.arg(&trace).arg(BINARY).env("FLEETGAUGE_DATA_DIR", dir.path().join("data"));
    let mut server = Server::start(&mut command);
    let mut stream = connect(server.line);
    for ts in 0..PUTS {
        stream.get_mut().write_all(format!("put k 1 {ts}\n").as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_line(&mut reply).unwrap();
        stream.read_line(&mut reply).unwrap();
        assert_eq!(reply, "ok\n\n");
    }
    // What is traced ends with it, and strace with what is traced; its log is whole then.
    let child = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.child.id())).unwrap();
    let child = rustix::process::Pid::from_raw(child.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(child, rustix::process::Signal::TERM).unwrap();
    server.child.wait().unwrap();
    let before = syncs_before_replies(&std::fs::read_to_string(&trace).unwrap());
    assert_eq!(before.len(), PUTS);
    let between = before.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(before[0] >= 1 && between.clone().all(|syncs| syncs >= 1), "{before:?}");
}

#[test]
fn what_was_not_synced_is_told_apart() {
    let synced = "7 fdatasync(9) = 0\n8 sendto(5, \"ok\\n\\n\", 4, 0, NULL, 0) = 4\n";
    let late = "7 fdatasync(9 <unfinished ...>\n8 sendto(5, \"ok\\n\\n\", 4) = 4\n7 <... fdatasync resumed>) = 0\n";
    let failed = "7 fdatasync(9) = -1 EIO\n8 sendto(5, \"ok\\n\\n\", 4) = 4\n";
    assert_eq!([synced, late, failed].map(syncs_before_replies), [[1], [0], [0]]);
}
