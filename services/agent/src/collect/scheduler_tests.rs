use std::sync::Mutex;

use super::*;
use crate::clock;
use crate::collect::error::CollectError;
use crate::measurement::Outcome;

/// Does what the test says.
struct Puppet {
    name: &'static str,
    every: Option<Duration>,
    act: Box<Act>,
}

type Act = dyn FnMut(&mut Batch) -> Result<(), CollectError> + Send;

impl Collector for Puppet {
    fn name(&self) -> &'static str {
        self.name
    }

    fn source(&self) -> &'static str {
        ""
    }

    fn every(&self) -> Option<Duration> {
        self.every
    }

    fn read(&mut self, _: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        (self.act)(out)
    }
}

fn puppet(
    name: &'static str,
    act: impl FnMut(&mut Batch) -> Result<(), CollectError> + Send + 'static,
) -> Box<dyn Collector> {
    Box::new(Puppet { name, every: None, act: Box::new(act) })
}

fn ready(name: &'static str) -> Box<dyn Collector> {
    let mut count = 0.0;
    puppet(name, move |out| {
        count += 1.0;
        out.gauge(name, "", &[], count);
        Ok(())
    })
}

/// A scheduler that waits long enough for everything that comes back at all.
fn planned(collectors: Vec<Box<dyn Collector>>) -> Vec<Planned> {
    collectors.into_iter().map(|collector| Planned { every: collector.every(), collector }).collect()
}

fn scheduler(collectors: Vec<Box<dyn Collector>>) -> Scheduler {
    let interval = Duration::from_millis(400);
    let mut scheduler = Scheduler::new(planned(collectors), Roots::new(None), interval, Arc::new(Telemetry::new()));
    scheduler.patience = Duration::from_secs(20);
    scheduler
}

/// One round: what each set says, the agent's own left out.
fn round(scheduler: &mut Scheduler) -> Vec<String> {
    let mut measurement = Measurement::default();
    scheduler.measure(clock::now(), &mut measurement);
    let said =
        measurement.readings.iter().filter(|reading| reading.set != "agent").map(|reading| match &reading.outcome {
            Outcome::Values { layout, from } => format!("{} {:?}", reading.set, measurement.values(layout, *from)),
            Outcome::Failed(reason) => format!("{} failed: {reason}", reading.set),
        });
    said.collect()
}

#[test]
fn a_hung_collector_delays_no_other_and_comes_back() {
    let gate = Arc::new(Mutex::new(()));
    let behind = Arc::clone(&gate);
    let hung = puppet("hung", move |out| {
        drop(behind.lock());
        out.gauge("hung", "", &[], 1.0);
        Ok(())
    });
    let held = gate.lock().unwrap();
    let mut scheduler = scheduler(vec![ready("first"), hung, ready("last")]);
    scheduler.patience = Duration::from_millis(500);
    for number in 1..=3 {
        let start = Instant::now();
        let said = round(&mut scheduler);
        assert_eq!(
            said,
            [
                format!("first [{number}.0]"),
                "hung failed: it did not come back in time".into(),
                format!("last [{number}.0]")
            ]
        );
        assert!(start.elapsed() < Duration::from_secs(5));
    }
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(20);
    while round(&mut scheduler)[1] != "hung [1.0]" {
        assert!(Instant::now() < deadline, "it is back");
    }
}

#[test]
fn one_that_takes_its_time_is_shown_when_it_is_back() {
    let gate = Arc::new(Mutex::new(()));
    let behind = Arc::clone(&gate);
    let act = move |out: &mut Batch| {
        drop(behind.lock());
        out.gauge("sensor", "", &[], 1.0);
        Ok(())
    };
    let slow = Puppet { name: "sensor", every: Some(Duration::from_secs(3600)), act: Box::new(act) };
    let held = gate.lock().unwrap();
    let mut scheduler = scheduler(vec![Box::new(slow), ready("ready")]);
    scheduler.patience = Duration::from_millis(200);
    assert_eq!(round(&mut scheduler), ["ready [1.0]"], "nothing is said of it yet, and no failure either");
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(20);
    while round(&mut scheduler)[0] != "sensor [1.0]" {
        assert!(Instant::now() < deadline, "what it measured is shown");
    }
}

/// Each reading is over after the push that it was sent out for, and before the next.
#[test]
fn one_that_is_late_for_every_push_is_shown_at_every_other() {
    let (begin, begun) = std::sync::mpsc::sync_channel::<()>(1);
    let begun = Mutex::new(begun);
    let late = puppet("late", move |out| {
        let _ended = begun.lock().unwrap().recv_timeout(Duration::from_secs(20));
        out.gauge("late", "", &[], 1.0);
        Ok(())
    });
    let mut scheduler = scheduler(vec![late]);
    scheduler.interval = Duration::from_secs(60);
    scheduler.patience = Duration::from_millis(1);
    for _ in 0..3 {
        assert_eq!(round(&mut scheduler), [""; 0], "it is out");
        begin.send(()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        scheduler.patience = Duration::ZERO;
        while scheduler.crew.is_busy() {
            assert!(Instant::now() < deadline, "it comes back");
            std::thread::yield_now();
        }
        scheduler.patience = Duration::from_millis(1);
        assert_eq!(round(&mut scheduler), ["late [1.0]"], "it is shown before it goes out again");
    }
}

#[test]
fn what_is_read_rarely_does_not_hang_unsaid() {
    let slow = Puppet { name: "slow", every: Some(Duration::from_secs(3600)), act: Box::new(|_| Ok(())) };
    let quick = Puppet { name: "quick", every: Some(Duration::from_secs(15)), act: Box::new(|_| Ok(())) };
    let scheduler = scheduler(vec![Box::new(slow), Box::new(quick), ready("ready")]);
    let most = |interval| scheduler.stations.iter().map(|s| s.reading_max(interval).as_secs()).collect::<Vec<_>>();
    assert_eq!(most(Duration::from_secs(5)), [60, 15, 5]);
    assert_eq!(most(Duration::from_secs(600)), [600, 15, 600]);
}

#[test]
fn intervals_are_whole_numbers_of_pushes() {
    let seconds = Duration::from_secs;
    for (every, interval, expected) in [(15, 5, 15), (3, 2, 4), (15, 10, 20), (1, 5, 5), (3600, 7, 3598)] {
        assert_eq!(whole_ticks(seconds(every), seconds(interval)), seconds(expected), "{every} at {interval}");
    }
}

#[test]
fn one_that_fails_or_panics_is_only_itself_missing() {
    let failing = puppet("failing", |_| Err(CollectError::malformed("x", "y")));
    let partly = puppet("partly", |out| {
        out.gauge("partly", "", &[], 1.0);
        Err(CollectError::malformed("x", "y"))
    });
    let mut panics = false;
    let panicking = puppet("panicking", move |out| {
        panics = !panics;
        assert!(!panics, "this one panics every other time");
        out.gauge("panicking", "", &[], 1.0);
        Ok(())
    });
    let mut scheduler = scheduler(vec![failing, partly, panicking, ready("ready")]);
    let failed = "failing failed: x: cannot make sense of \"y\"";
    assert_eq!(
        round(&mut scheduler),
        [failed, "partly [1.0]", "panicking failed: the collector panicked", "ready [1.0]"]
    );
    assert_eq!(round(&mut scheduler), [failed, "partly [1.0]", "panicking [1.0]", "ready [2.0]"]);
    let page = crate::collect::testing::render(&scheduler.own, false);
    for (collector, success) in [("failing", 0), ("partly", 0), ("panicking", 1), ("ready", 1)] {
        assert!(page.contains(&format!("fleetgauge_collector_success{{collector=\"{collector}\"}} {success}\n")));
        assert!(page.contains(&format!("node_scrape_collector_success{{collector=\"{collector}\"}} {success}\n")));
    }
}

#[test]
fn a_slow_one_is_read_rarely_and_keeps_its_values() {
    let mut count = 0.0;
    let act = move |out: &mut Batch| {
        count += 1.0;
        out.gauge("slow", "", &[], count);
        Ok(())
    };
    let slow = Puppet { name: "slow", every: Some(Duration::from_secs(3600)), act: Box::new(act) };
    let mut scheduler = scheduler(vec![Box::new(slow), ready("ready")]);
    let mut measurement = Measurement::default();
    let mut versions = Vec::new();
    for _ in 0..3 {
        scheduler.measure(clock::now(), &mut measurement);
        versions.push(measurement.readings.iter().map(|reading| reading.version).collect::<Vec<_>>());
    }
    assert_eq!(versions, [[1, 1, 1], [1, 2, 2], [1, 3, 3]]);
    assert_eq!(round(&mut scheduler), ["slow [1.0]", "ready [4.0]"]);
}

#[test]
fn ticks_are_multiples_and_missed_ones_are_not_made_up_for() {
    let start = Instant::now();
    let interval = Duration::from_millis(100);
    #[track_caller]
    fn check(since_ms: u64, expected_ms: u64, start: Instant, interval: Duration) {
        let next = next_tick(start, interval, start + Duration::from_millis(since_ms));
        assert_eq!(next, start + Duration::from_millis(expected_ms));
    }
    check(0, 100, start, interval);
    check(99, 100, start, interval);
    check(100, 200, start, interval);
    check(130, 200, start, interval);
    check(1_000_050, 1_000_100, start, interval);
}

#[test]
fn a_stop_ends_the_thread_in_the_middle_of_a_pause() {
    let scheduler = Scheduler::new(
        planned(vec![ready("ready")]),
        Roots::new(None),
        Duration::from_secs(600),
        Arc::new(Telemetry::new()),
    );
    let (mailbox, stop) = (
        Arc::new(Mailbox::new(Arc::new(crate::spool::Spool::in_memory(1 << 20, "5f2c", 1)))),
        Arc::new(Pace::default()),
    );
    let thread = {
        let (mailbox, stop) = (Arc::clone(&mailbox), Arc::clone(&stop));
        std::thread::spawn(move || scheduler.run(clock::now, &mailbox, &stop))
    };
    stop.stop();
    thread.join().unwrap();
}
