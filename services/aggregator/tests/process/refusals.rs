//! Data directories that are refused.
#![cfg(target_os = "linux")]

use crate::common::{BINARY, command, program};
use crate::lines::{Server, can_run};

#[track_caller]
fn check(command: &mut std::process::Command, sentence: &str) {
    for name in ["FLEETGAUGE_HTTP_LISTEN", "FLEETGAUGE_LINK_LISTEN", "FLEETGAUGE_LINE_LISTEN"] {
        command.env(name, "127.0.0.1:0");
    }
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains(sentence) && last.contains("FLEETGAUGE_DATA_DIR sets another"), "{said}");
}

#[test]
fn a_directory_that_another_process_has_is_refused_and_the_process_named() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(command().env("FLEETGAUGE_DATA_DIR", dir.path()));
    check(
        command().env("FLEETGAUGE_DATA_DIR", dir.path()),
        &format!("another process (process {})", server.child.id()),
    );
}

#[test]
fn a_history_of_a_newer_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(Server::start(command().env("FLEETGAUGE_DATA_DIR", dir.path())));
    let version = format!("9 {:08x}\n", crc32fast::hash(b"9"));
    std::fs::write(dir.path().join("history/version"), version).unwrap();
    check(command().env("FLEETGAUGE_DATA_DIR", dir.path()), "newer version");
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    if !can_run("unshare", &["-m", "sh", "-c", "mount -t tmpfs -o ro none /mnt"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut command = program("unshare");
    command.args(["-m", "sh", "-c", "mount -t tmpfs -o ro none \"$0\" && exec \"$1\""]).arg(dir.path()).arg(BINARY);
    check(command.env("FLEETGAUGE_DATA_DIR", dir.path()), "Read-only file system");
}

#[test]
fn a_folder_in_place_of_a_file_is_named() {
    for name in ["lock", "agents.json", ".probe"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        let sentence = format!("({}: Is a directory", path.display());
        check(command().env("FLEETGAUGE_DATA_DIR", dir.path()), &sentence);
    }
}
