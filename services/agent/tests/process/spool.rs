//! What an agent leaves on the disk, and finds there again.

use super::*;

/// How many bytes the segments of a spool have.
fn segment_bytes(spool: &Path) -> u64 {
    let entries = std::fs::read_dir(spool).into_iter().flatten().map(Result::unwrap);
    let segments = entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "seg"));
    // One may be removed meanwhile.
    segments.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

/// Waits until something is seen.
fn wait_until(what: &str, mut is_seen: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_seen() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn what_was_measured_before_a_kill_comes_late_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let spool = directory.path().join("made/on/demand");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let settings = [
        ("FLEETGAUGE_AGGREGATOR", address.as_str()),
        ("FLEETGAUGE_INTERVAL", "100ms"),
        ("FLEETGAUGE_SPOOL_DIR", spool.to_str().unwrap()),
    ];
    let began = lifecycle::clock::unix_ms();
    // Nobody answers this agent, and it is killed.
    let agent = Running::start(&settings);
    wait_until("something is on the disk", || segment_bytes(&spool) > 0);
    let first = segment_bytes(&spool);
    wait_until("more is", || segment_bytes(&spool) > first + 10_000);
    drop(agent);
    let killed = lifecycle::clock::unix_ms();
    drop(listener.accept());

    let agent = Running::start(&settings);
    let mut aggregator = Aggregator::accept(&listener);
    let second = aggregator.welcome_from(Acked::default());
    assert_eq!(second.incarnation, 2);
    let mut late: Vec<(Push, usize)> = Vec::new();
    let mut live = 0;
    // Late ones come faster than live ones: when there are only live ones, there is nothing more.
    while late.is_empty() || live < 10 {
        let (push, sets) = aggregator.take_any();
        match push.stream {
            Stream::Live => {
                assert_eq!(push.seq >> 32, 2, "numbers never go back");
                assert!(push.lost.is_empty(), "{:?}", push.lost);
                live += 1;
            }
            Stream::Late => {
                late.push((push, sets));
                live = 0;
            }
        }
    }
    late.retain(|(push, _)| push.seq >> 32 == 1);
    let times: Vec<i64> = late.iter().map(|(push, _)| push.measured_ms).collect();
    assert!(times.is_sorted() && times[0] >= began && times[0] < began + 2000, "{times:?}, from {began}");
    assert!(times.windows(2).all(|two| (50..400).contains(&(two[1] - two[0]))), "none is missing: {times:?}");
    let last = *times.last().unwrap();
    assert!(last <= killed && killed - last < 2500, "up to the last moments: {last}, {killed}");
    assert!(late.windows(2).all(|two| two[0].0.seq < two[1].0.seq));
    assert!(late[0].1 > 10, "the first of a segment says all sets: {}", late[0].1);

    // What is done with is done with: a third process has nothing to say of it.
    wait_until("the file is removed", || segment_bytes(&spool) == 0);
    drop(agent);
    drop(aggregator);
    let _agent = Running::start(&settings);
    let mut aggregator = Aggregator::accept(&listener);
    let hello = aggregator.welcome_from(Acked { live: 0, late: 0 });
    assert_eq!((hello.session, hello.incarnation), (second.session, 3));
    for _ in 0..10 {
        let (push, _) = aggregator.take_any();
        assert!(push.seq >> 32 == 3 || (push.stream == Stream::Late && push.seq >> 32 == 2), "{push:?}");
    }
}

#[test]
fn a_stop_leaves_what_waits_on_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let settings =
        [("FLEETGAUGE_AGGREGATOR", address.as_str()), ("FLEETGAUGE_SPOOL_DIR", directory.path().to_str().unwrap())];
    let agent = Running::start(&settings);
    let mut aggregator = Aggregator::accept(&listener);
    aggregator.welcome();
    // It is under way, and nobody says that he has it.
    while !matches!(aggregator.next(), Some(ToAggregator::End(_))) {}
    assert_eq!(segment_bytes(directory.path()), 0, "what can be sent does not touch the disk");
    drop(aggregator);
    check_stops(agent);
    assert!(segment_bytes(directory.path()) > 0, "it waits");
}

#[test]
fn a_spool_is_one_agent_s_and_must_be_usable() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("spool");
    let address = format!("127.0.0.1:{}", dead_port());
    let settings = [("FLEETGAUGE_AGGREGATOR", address.as_str()), ("FLEETGAUGE_SPOOL_DIR", dir.to_str().unwrap())];
    let mut agent = Running::start(&settings);
    agent.says("agent starts");
    check_refused(&settings, 78, &format!("another process (process {}) uses it", agent.0.id()));
    drop(agent);
    let file = directory.path().join("file");
    std::fs::write(&file, "no directory").unwrap();
    check_refused(&[("FLEETGAUGE_SPOOL_DIR", file.to_str().unwrap())], 78, "FLEETGAUGE_SPOOL_DIR=");
}
