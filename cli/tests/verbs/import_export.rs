//! Many numbers in and out.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::binary::{command, end, nobody, run, run_with, says};
use crate::folder::{Folder, gives_up_once, lines};
use crate::line_server;

#[test]
fn what_is_exported_is_imported_again() {
    let (one, other) = (line_server::start().to_string(), line_server::start().to_string());
    let folder = Folder::with(&format!(
        "# a comment\n\n{} #odd 1 7\nodd,key nan -9223372036854775808\r\nlast -1e-7 9",
        lines(25_000)
    ));
    let said = run(&["import", "--server", &one, &folder.path()]).well();
    assert!(said.starts_with("imported 25003 points in "), "{said}");
    assert_eq!(folder.files(), 1);
    let all = run(&["export", "--server", &one]).well();
    assert_eq!(all.lines().count(), 25_003);
    assert!(all.starts_with(" #odd 1.0 7\n"), "{}", &all[..30]);
    let copy = folder.directory().join("copy.txt");
    let said = run(&["export", "--server", &one, "-o", copy.to_str().unwrap()]);
    assert_eq!((said.code, said.error), (Some(0), format!("wrote 25003 points to {}\n", copy.display())));
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), all);
    run_with(&["import", "--server", &other, "-"], &all).well();
    assert_eq!(run(&["export", "--server", &other]).well(), all);
    assert_eq!(run(&["export", "--server", &other, "--from", "24998"]).well(), "k 98.5 24998\nk 99.5 24999\n");
}

#[test]
fn wrong_lines_are_named_and_the_rest_is_stored() {
    let server = line_server::start().to_string();
    let folder = Folder::with("k 1 1\nk much 2\nrefused 1 3\n\nk 4 4\nk 5\n");
    let path = folder.path();
    let ended = run(&["import", "--server", &server, &path]).badly(1, "error: 3 wrong lines, not stored\n");
    assert!(ended.out.starts_with("imported 2 points"), "{ended:?}");
    assert!(ended.error.contains(&format!("{path}:2: the value \"much\" is not a number\n")), "{ended:?}");
    assert!(ended.error.contains(&format!("{path}:3: the server answered with an error: no such luck\n")), "{ended:?}");
    assert!(ended.error.contains(&format!("{path}:6: \"k 5\" is not a key, a value and a timestamp\n")), "{ended:?}");
    assert_eq!(run(&["get", "--server", &server, "*"]).well(), "k 1.0 1\nk 4.0 4\n");
    assert_eq!(folder.files(), 1);
    run_with(&["import", "--server", &server, "-"], "k 1\n")
        .badly(1, "stdin:1: \"k 1\" is not a key")
        .badly(1, "1 wrong line,");
}

#[test]
fn timestamps_are_those_of_put_but_for_how_long_ago() {
    let server = line_server::start().to_string();
    let import =
        |arguments: &[&str], lines| run_with(&[&["import", "--server", &server, "-"], arguments].concat(), lines);
    import(&[], "k 1 2022-01-20T09:39:07+01:00\nk 2 2022-01-20T08:39:08Z\n").well();
    assert_eq!(run(&["get", "--server", &server, "k"]).well(), "k 1.0 1642667947\nk 2.0 1642667948\n");
    import(&[], "k 1 1h\n").badly(1, "stdin:1: the timestamp \"1h\" is neither Unix seconds nor a time such as");
    import(&[], "m 1 1642667947000\nm 2 5\n")
        .badly(1, "stdin:1: the timestamp 1642667947000 is more than a day ahead and looks like milliseconds");
    assert_eq!(run(&["get", "--server", &server, "m"]).well(), "m 2.0 5\n");
    import(&["--allow-future"], "m 1 1642667947000\n").well();
    assert_eq!(run(&["get", "--server", &server, "m"]).well(), "m 2.0 5\nm 1.0 1642667947000\n");
}

#[test]
fn too_many_wrong_lines_stop_it() {
    let server = line_server::start().to_string();
    let wrong = [lines(5), "refused 1 1\nk one 1\n".repeat(100), lines(50_000)].concat();
    let folder = Folder::with(&wrong);
    let ended = run(&["import", "--server", &server, &folder.path(), "--max-errors", "9"]);
    let ended = ended.badly(1, " wrong lines, and --max-errors allows 9\n");
    assert!(ended.error.contains("the same command goes on at line "), "{ended:?}");
    assert_eq!(ended.error.matches("points.txt:").count(), 10, "{ended:?}");
    assert_eq!(ended.out, "");
    assert!(run(&["get", "--server", &server, "k"]).well().lines().count() < 50_000);
    let ended = run(&["import", "--server", &server, &folder.path(), "--restart", "--max-errors", "200"]);
    ended.badly(1, "200 wrong lines, not stored");
    assert_eq!(run(&["get", "--server", &server, "k"]).well().lines().count(), 50_000);
}

#[test]
fn an_import_goes_on_where_it_was() {
    let (server, connections) = gives_up_once(1000);
    let folder = Folder::with(&format!("# a comment\n{}", lines(3000)));
    let path = folder.path();
    let ended = run(&["import", "--server", &server, &path]);
    let ended = ended.badly(69, "error: 127.0.0.1:");
    let hint = "1000 points stored; the same command goes on at line 1002\n";
    assert!(ended.error.contains("the connection was lost") && ended.error.ends_with(hint), "{ended:?}");
    assert_eq!(connections.recv().unwrap().len(), 3000);
    let ended = run(&["import", "--server", &server, &path]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.error, format!("going on at line 1002 of {path}; --restart begins anew\n"));
    assert!(ended.out.starts_with("imported 2000 points"), "{ended:?}");
    let read = connections.recv().unwrap();
    assert_eq!((read.len(), read[0].as_str()), (2000, "put k 0.5 1000"));
    assert_eq!(folder.files(), 1);
}

/// A server that takes its time with each line of its first connection, and none with the others.
fn slow_once() -> (String, std::sync::mpsc::Receiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (connections, receiver) = std::sync::mpsc::sync_channel(10);
    std::thread::spawn(move || {
        let (_never, nothing) = std::sync::mpsc::sync_channel::<()>(0);
        let mut pause = Duration::from_millis(1);
        for stream in listener.incoming().flatten() {
            stream.set_nodelay(true).unwrap();
            let mut read = Vec::new();
            for line in BufReader::new(&stream).lines().map_while(Result::ok) {
                read.push(line);
                if (&stream).write_all(b"ok\n\n").is_err() {
                    // The client was killed. What it sent is read nevertheless.
                    pause = Duration::ZERO;
                }
                let _in_vain = nothing.recv_timeout(pause);
            }
            connections.send(read).unwrap();
            pause = Duration::ZERO;
        }
    });
    (address, receiver)
}

#[test]
fn an_import_that_is_killed_goes_on_too() {
    let (server, connections) = slow_once();
    let folder = Folder::with(&lines(20_000));
    let mut child = command(&["import", "--server", &server, &folder.path()]).spawn().unwrap();
    let began = Instant::now();
    while !folder.position().exists() {
        assert!(began.elapsed() < Duration::from_secs(20), "no position was kept");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    end(child);
    let before = connections.recv().unwrap();
    let ended = run(&["import", "--server", &server, &folder.path()]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let after = connections.recv().unwrap();
    let skipped = 20_000 - after.len();
    assert!(0 < skipped && skipped <= before.len(), "{skipped} of {}", before.len());
    assert!(after[0].ends_with(&format!(" {skipped}")), "{}", after[0]);
}

#[test]
fn it_begins_anew_when_told_so_and_when_the_file_is_another() {
    for (arguments, lines_now, sentence) in [
        (&["--restart"][..], lines(3000), ""),
        (&[], lines(3001), "is of no use, the file has changed since: beginning anew\n"),
    ] {
        let (server, connections) = gives_up_once(1000);
        let folder = Folder::with(&lines(3000));
        run(&["import", "--server", &server, &folder.path()]).badly(69, "goes on at line 1001");
        connections.recv().unwrap();
        assert!(folder.position().exists());
        if arguments.is_empty() {
            std::fs::write(folder.file(), &lines_now).unwrap();
        }
        let ended = run(&[&["import", "--server", &server, &folder.path()], arguments].concat());
        assert!(ended.code == Some(0) && ended.error.ends_with(sentence), "{ended:?}");
        assert_eq!(connections.recv().unwrap().len(), lines_now.lines().count());
        assert!(!folder.position().exists());
    }
}

#[test]
fn one_line_at_a_time_for_servers_that_need_it() {
    // One answer for all that came in one segment.
    let server = says("ok\n\n");
    let ended = run_with(&["import", "--server", &server, "--timeout", "1s", "-"], &lines(3));
    let ended = ended.badly(69, "a server other than FleetGauge may need --window 1");
    assert!(ended.error.ends_with("everything before line 2 is dealt with\n"), "{ended:?}");
    let server = line_server::start().to_string();
    run_with(&["import", "--server", &server, "--window", "1", "-"], &lines(300)).well();
    assert_eq!(run(&["get", "--server", &server, "k"]).well().lines().count(), 300);
}

#[test]
fn lines_that_come_slowly_are_stored_as_they_come() {
    let server = line_server::start().to_string();
    let mut child = command(&["import", "--server", &server, "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let began = Instant::now();
    for second in 0..3 {
        writeln!(input, "slow 1 {second}").unwrap();
        while run(&["get", "--server", &server, "slow"]).well().lines().count() <= second {
            assert!(began.elapsed() < Duration::from_secs(20), "line {second} is still not stored");
        }
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let stopped = Instant::now();
    let ended = end(child).badly(1, "3 points stored; everything before line 4 is dealt with\n");
    assert!(ended.error.starts_with("error: stopped\n"), "{ended:?}");
    assert!(stopped.elapsed() < Duration::from_secs(1), "{:?}", stopped.elapsed());
    drop(input);
}

#[test]
fn files_that_cannot_be_read_or_written_are_named() {
    let server = line_server::start().to_string();
    run(&["import", "--server", &server, "/nonexistent"]).badly(1, "error: cannot read /nonexistent: No such file");
    let folder = Folder::with("");
    let path = folder.directory().to_str().unwrap();
    run(&["import", "--server", &server, path]).badly(1, &format!("error: cannot read {path}: Is a directory"));
    run(&["export", "--server", &server, "-o", "/nonexistent/x"]).badly(
        1,
        "error: cannot write /nonexistent/x: in the directory /nonexistent: No such file or directory (os error 2)\n",
    );
    run(&["import", "--server", &nobody(), &folder.path()]).badly(69, "cannot connect");
    assert_eq!(folder.files(), 1);
}

#[test]
fn an_export_that_fails_leaves_the_file_as_it_was() {
    let cut = says("ok\nk 1.0 1\nk 2.0");
    let folder = Folder::with("the export of yesterday\n");
    let path = folder.path();
    run(&["export", "--server", &cut, "--timeout", "1s", "-o", &path]).badly(69, "no answer within 1s");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "the export of yesterday\n");
    assert_eq!(folder.files(), 1);
}

#[test]
fn an_export_goes_through_links_and_into_devices() {
    let server = line_server::start().to_string();
    run(&["put", "--server", &server, "k", "1", "1"]).well();
    let folder = Folder::with("");
    let link = folder.directory().join("link");
    std::os::unix::fs::symlink("points.txt", &link).unwrap();
    let to = |path: &Path| run(&["export", "--server", &server, "-o", path.to_str().unwrap()]);
    assert_eq!(to(&link).code, Some(0));
    assert!(link.is_symlink());
    assert_eq!(std::fs::read_to_string(folder.file()).unwrap(), "k 1.0 1\n");
    assert_eq!(to(Path::new("/dev/null")).code, Some(0));
    to(Path::new("/dev/full")).badly(1, "error: cannot write to /dev/full: No space left on device");
}
