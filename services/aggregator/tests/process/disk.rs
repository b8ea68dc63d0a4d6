//! A disk that is full, and then is not any more. The disk is one in memory, which only a process of
//! its own and the server see.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{BINARY, program};
use crate::lines::{Server, ask, can_run, connect, stored};

const WITHIN: Duration = Duration::from_secs(30);
const MIB: usize = 1 << 20;

/// A small disk, which is there as long as this lives.
struct Disk {
    holder: Child,
    dir: tempfile::TempDir,
}

impl Disk {
    /// `None`: that is not permitted here.
    fn new(mib: usize) -> Option<Self> {
        if !can_run("unshare", &["-m", "sh", "-c", "mount -t tmpfs none /mnt && nsenter -m -t $$ true"]) {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let script = format!("mount -t tmpfs -o size={mib}m none \"$0\" && echo there && exec cat");
        let mut command: Command = program("unshare");
        command.args(["-m", "sh", "-c", &script]).arg(dir.path());
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "there\n");
        Some(Self { holder, dir })
    }

    fn start(&self, reserve: &str) -> Server {
        let mut command = program("nsenter");
        command.args(["-m", "-t", &self.holder.id().to_string(), BINARY]);
        command.env("FLEETGAUGE_DATA_DIR", self.dir.path().join("data")).env("FLEETGAUGE_DISK_RESERVE", reserve);
        Server::start(&mut command)
    }

    /// Something else that takes room.
    fn ballast(&self) -> PathBuf {
        let path = self.dir.path().strip_prefix("/").unwrap();
        PathBuf::from(format!("/proc/{}/root", self.holder.id())).join(path).join("ballast")
    }

    /// Leaves no more than this free.
    fn fill(&self, leave: usize) {
        let mut file = fs::File::create(self.ballast()).unwrap();
        while file.write_all(&[1; 64 * 1024]).is_ok() {}
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(leave as u64)).unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _already_gone = self.holder.kill();
        let _reaped = self.holder.wait();
    }
}

/// Puts until the answer is of this kind.
fn put_until(server: &Server, key: &str, start: &str) -> String {
    let until = Instant::now() + WITHIN;
    loop {
        let heard = ask(server.line, &format!("put {key} 1 1\n"));
        if heard.starts_with(start) {
            return heard;
        }
        assert!(Instant::now() < until, "no {start:?} but {heard:?}");
        std::thread::yield_now();
    }
}

#[test]
fn the_reserve_of_the_disk_is_left_alone() {
    let Some(disk) = Disk::new(64) else { return };
    let server = disk.start("8MiB");
    assert_eq!(put_until(&server, "before", "ok"), "ok\n\n");
    disk.fill(4 * MIB);
    let refused = put_until(&server, "refused", "error");
    assert!(refused.contains("the disk is full"), "{refused}");
    assert_eq!(ask(server.line, "get before\n"), "ok\nbefore 1.0 1\n\n");
    let page = crate::common::page(server.http);
    assert!(page.contains("fleetgauge_history_up 0"), "{page}");
    disk.free();
    put_until(&server, "after", "ok");
}

/// Puts large batches until one is refused; gives what was acknowledged.
fn put_until_full(server: &Server, acknowledged: &mut BTreeMap<(String, i64), u64>, first: u64) -> String {
    let mut stream = connect(server.line);
    let until = Instant::now() + WITHIN;
    for batch in 0.. {
        assert!(Instant::now() < until, "the disk is never full");
        let values = first + batch * 2000..first + (batch + 1) * 2000;
        let points: Vec<_> =
            values.map(|value| ((format!("k{}", value % 7), i64::try_from(value).unwrap()), value)).collect();
        let said: String = points.iter().map(|((key, ts), value)| format!("put {key} {value} {ts}\n")).collect();
        stream.get_mut().write_all(said.as_bytes()).unwrap();
        let mut refused = None;
        for point in points {
            let mut reply = String::new();
            while !reply.ends_with("\n\n") {
                assert_ne!(stream.read_line(&mut reply).unwrap(), 0, "the connection closed");
            }
            if reply == "ok\n\n" {
                acknowledged.insert(point.0, point.1);
            } else {
                refused = Some(reply);
            }
        }
        if let Some(refused) = refused {
            return refused;
        }
    }
    unreachable!("it ends with an error")
}

#[test]
fn a_disk_that_is_full_costs_nothing_that_was_acknowledged() {
    let Some(disk) = Disk::new(48) else { return };
    let mut server = disk.start("0");
    let mut acknowledged = BTreeMap::new();
    for round in 0..3 {
        put_until(&server, "there", "ok");
        disk.fill(MIB);
        put_until_full(&server, &mut acknowledged, round * 10_000_000);
        // Small ones may find room; none waits for ever.
        for _ in 0..10 {
            assert!(!ask(server.line, "put there 1 1\n").is_empty());
        }
        disk.free();
        put_until(&server, "there", "ok");
        if round == 1 {
            server.kill();
            server = disk.start("0");
        }
        let stored = stored(server.line);
        let lost: Vec<_> = acknowledged.iter().filter(|(point, value)| stored.get(point) != Some(value)).collect();
        assert!(lost.is_empty(), "round {round}: {} of {} are lost", lost.len(), acknowledged.len());
    }
    assert!(acknowledged.len() > 10_000, "{}", acknowledged.len());
    // It starts on a full disk too, and reads.
    server.kill();
    disk.fill(0);
    server = disk.start("0");
    assert!(stored(server.line).len() >= acknowledged.len());
    put_until_full(&server, &mut acknowledged, 40_000_000);
    disk.free();
    put_until(&server, "there", "ok");
    let stored = stored(server.line);
    assert!(acknowledged.iter().all(|(point, value)| stored.get(point) == Some(value)));
}
