//! What is acknowledged is there after the process was killed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::common::command;
use crate::lines::{Server, connect, stored};

const SEED: u64 = 20;
/// How often it is killed. In an optimized build, `cargo test --release`, more often.
const ROUNDS: u32 = if cfg!(debug_assertions) { 50 } else { 500 };
const WRITERS: u64 = 4;
const OK: &str = "ok\n\n";

/// What a writer knows of a key and second: the last acknowledged value, and those sent after it.
#[derive(Debug, Default, Clone)]
struct Known {
    acknowledged: Option<u64>,
    sent: Vec<u64>,
}

type Model = BTreeMap<(String, i64), Known>;

fn run(dir: &Path) -> Server {
    Server::start(command().env("FLEETGAUGE_DATA_DIR", dir).env("FLEETGAUGE_DISK_RESERVE", "0"))
}

/// Puts until the connection breaks, some of it pipelined. Values only grow.
fn write(
    mut stream: BufReader<TcpStream>,
    model: &Mutex<Model>,
    writer: u64,
    mut random: fastrand::Rng,
    values: &mut u64,
) {
    loop {
        let pipelined = if random.bool() { 1 } else { random.usize(2..20) };
        let mut said = String::new();
        let mut points = Vec::new();
        for _ in 0..pipelined {
            *values += 1;
            let key = if random.u8(..10) == 0 {
                format!("new{writer}.{values}")
            } else {
                format!("known{writer}.{}", random.u8(..5))
            };
            let point = (key, random.i64(0..8));
            said += &format!("put {} {values} {}\n", point.0, point.1);
            model.lock().unwrap().entry(point.clone()).or_default().sent.push(*values);
            points.push((point, *values));
        }
        if stream.get_mut().write_all(said.as_bytes()).is_err() {
            return;
        }
        for (point, value) in points {
            let mut reply = String::new();
            for _ in 0..2 {
                if !matches!(stream.read_line(&mut reply), Ok(1..)) {
                    return;
                }
            }
            assert_eq!(reply, OK);
            let mut model = model.lock().unwrap();
            let known = model.get_mut(&point).unwrap();
            known.acknowledged = Some(value);
            known.sent.retain(|sent| *sent > value);
        }
    }
}

fn check(round: u32, model: &mut Model, stored: &BTreeMap<(String, i64), u64>) {
    for (point, value) in stored {
        assert!(model.contains_key(point), "seed {SEED}, round {round}: {point:?} = {value} was invented");
    }
    for (point, known) in model {
        let is = stored.get(point).copied();
        let is_right = is == known.acknowledged || is.is_some_and(|is| known.sent.contains(&is));
        assert!(is_right, "seed {SEED}, round {round}: {point:?} is {is:?}, and was {known:?}");
        // What was not acknowledged may have been stored: from now on it is as it is.
        *known = Known { acknowledged: is, sent: Vec::new() };
    }
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(SEED);
    let model = Arc::new(Mutex::new(Model::new()));
    let mut counts = vec![0_u64; usize::try_from(WRITERS).unwrap()];
    for round in 0..ROUNDS {
        let mut running = run(dir.path());
        let line = running.line;
        check(round, &mut model.lock().unwrap(), &stored(line));
        let writer = |(writer, mut values): (u64, u64)| -> JoinHandle<u64> {
            let (model, random) = (Arc::clone(&model), random.fork());
            // On a busy machine a thread may begin when the aggregator is gone already.
            let stream = connect(line);
            std::thread::spawn(move || {
                write(stream, &model, writer, random, &mut values);
                values
            })
        };
        let writers: Vec<_> = (0..WRITERS).zip(counts.iter().copied()).map(writer).collect();
        let until = Instant::now() + Duration::from_millis(random.u64(5..120));
        while Instant::now() < until {
            std::thread::yield_now();
        }
        running.kill();
        counts = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
    }
    let running = run(dir.path());
    let stored = stored(running.line);
    check(ROUNDS, &mut model.lock().unwrap(), &stored);
    assert!(stored.len() > 100, "{} points: nothing was tried", stored.len());
}
