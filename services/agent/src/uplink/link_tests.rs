use proptest::prelude::*;
use protocol::LineDecoder;
use protocol::frame::{Declare, Values};

use super::*;
use crate::collect::batch::Batch;

const LIMITS: Limits = Limits { line_bytes: 65536, sets: 10, series: 1000, live_unacked: 2, late_unacked: 16 };
const NOW: Moment = Moment { wall_ms: 2, mono_ms: 3 };

fn batch(series: usize) -> Batch {
    let mut batch = Batch::new();
    batch.begin();
    for n in 0..series {
        batch.gauge("x", "", &[("n", &n.to_string())], 1.0);
    }
    batch.finish(true);
    batch
}

/// Pushes and gives the lines as text, numbers of pushes left out.
fn push(link: &mut Link, fill: impl FnOnce(&mut Measurement)) -> (String, Vec<Unsent>) {
    let mut measurement = Measurement::default();
    measurement.begin(1, Moment { wall_ms: 1, mono_ms: 1 });
    fill(&mut measurement);
    let mut out = Vec::new();
    let unsent = link.push(&measurement, NOW, &Status::default(), &mut out);
    let mut decoder = LineDecoder::new(LINE_BYTES_MAX);
    decoder.buffer().extend_from_slice(&out);
    let mut said = Vec::new();
    while let Some(frame) = decoder.next_frame().unwrap() {
        said.push(match frame {
            ToAggregator::Declare(Declare { set, total, name, .. }) => format!("declare {set} {name} {total}"),
            ToAggregator::Values(Values { set, values, .. }) => format!("values {set} {}", values.0.len()),
            ToAggregator::Failed(failed) => format!("failed {} {}", failed.set, failed.reason),
            ToAggregator::Retire(retire) => format!("retire {}", retire.set),
            ToAggregator::Push(_) => "push".into(),
            ToAggregator::End(_) => "end".into(),
            other => panic!("{other:?} is no part of a push"),
        });
    }
    (said.join(", "), unsent)
}

#[test]
fn a_changed_set_gets_a_new_number_and_the_old_one_is_retired_after_the_push() {
    let mut link = Link::new(LIMITS, 0);
    let (two, three) = (batch(2), batch(3));
    let add = |batch: &Batch, version| {
        let (layout, values) = (Arc::clone(batch.layout()), batch.values().to_vec());
        move |m: &mut Measurement| m.add("x", version, &layout, &values)
    };
    assert_eq!(push(&mut link, add(&two, 1)).0, "declare 1 x 2, push, values 1 2, end");
    assert_eq!(push(&mut link, add(&two, 2)).0, "push, values 1 2, end");
    assert_eq!(push(&mut link, add(&three, 3)).0, "declare 2 x 3, push, values 2 3, end, retire 1");
    assert_eq!(push(&mut link, add(&batch(0), 4)).0, "push, end, retire 2", "a set with nothing in it is none");
    assert_eq!(push(&mut link, add(&two, 5)).0, "declare 3 x 2, push, values 3 2, end");
}

#[test]
fn a_clock_that_was_set_since_the_measurement_moves_its_time_along() {
    let mut measurement = Measurement::default();
    measurement.begin(1, Moment { wall_ms: 1_000_000, mono_ms: 5_000 });
    let (mut decoder, mut out) = (LineDecoder::new(LINE_BYTES_MAX), vec![]);
    let now = Moment { wall_ms: 500_000, mono_ms: 5_200 };
    Link::new(LIMITS, 0).push(&measurement, now, &Status::default(), &mut out);
    decoder.buffer().extend_from_slice(&out);
    let Some(ToAggregator::Push(head)) = decoder.next_frame().unwrap() else { panic!("a push") };
    assert_eq!((head.measured_ms, head.now_ms), (499_800, 500_000));
}

#[test]
fn a_slow_set_is_sent_once_and_a_failed_one_each_time() {
    let mut link = Link::new(LIMITS, 0);
    let two = batch(2);
    let add = |version| {
        let (layout, values) = (Arc::clone(two.layout()), two.values().to_vec());
        move |m: &mut Measurement| m.add("x", version, &layout, &values)
    };
    let fail = |m: &mut Measurement| m.add_failed("x", 1, &Arc::from("hung"));
    assert_eq!(push(&mut link, fail).0, "push, end", "nobody knows the set yet");
    assert_eq!(push(&mut link, add(1)).0, "declare 1 x 2, push, values 1 2, end");
    assert_eq!(push(&mut link, add(1)).0, "push, end");
    assert_eq!(push(&mut link, fail).0, "push, failed 1 hung, end");
    assert_eq!(push(&mut link, add(1)).0, "push, values 1 2, end", "it was off the page");
}

#[test]
fn whole_sets_are_left_out_rather_than_refused() {
    let mut link = Link::new(Limits { sets: 2, series: 5, ..LIMITS }, 0);
    let (two, three) = (batch(2), batch(3));
    let all = |m: &mut Measurement| {
        m.add("a", 1, two.layout(), two.values());
        m.add("b", 1, three.layout(), three.values());
        m.add("c", 1, two.layout(), two.values());
    };
    let (said, unsent) = push(&mut link, all);
    assert_eq!(said, "declare 1 a 2, declare 2 b 3, push, values 1 2, values 2 3, end");
    assert_eq!(unsent, [Unsent { set: "c", family: None, series: 2, why: "limit" }]);
    // There is no room for both at a time, so the old one goes first.
    let (said, _) = push(&mut link, |m| m.add("b", 2, two.layout(), two.values()));
    assert_eq!(said, "retire 2, declare 3 b 2, push, values 3 2, end");
}

#[test]
fn a_series_that_fits_in_no_line_is_left_out() {
    let mut link = Link::new(Limits { line_bytes: 4096, ..LIMITS }, 0);
    let mut long = Batch::new();
    long.begin();
    let value = "\u{1}".repeat(1000);
    long.gauge("x", "", &[("v", &value)], 1.0);
    long.finish(true);
    let (said, unsent) = push(&mut link, |m| m.add("a", 1, long.layout(), long.values()));
    assert_eq!((said.as_str(), unsent[0].why), ("push, end", "line"));
}

/// A set with one series of each of these gauges.
fn gauges(names: &[&str]) -> Batch {
    let mut batch = Batch::new();
    batch.begin();
    names.iter().zip([1.0, 2.0, 3.0, 4.0]).for_each(|(name, value)| batch.gauge(name, "", &[], value));
    batch.finish(true);
    batch
}

fn add(measurement: &mut Measurement, set: &'static str, batch: &Batch) {
    measurement.add(set, measurement.seq, batch.layout(), batch.values());
}

#[test]
fn what_the_agent_itself_sends_is_not_taken_from_text_files() {
    let mut link = Link::new(LIMITS, 0);
    let (text, load, both) = (gauges(&["x", "load", "y"]), gauges(&["load"]), gauges(&["load", "y"]));
    let mut step = |own: Option<&Batch>| {
        push(&mut link, |m| {
            add(m, guest::SET, &text);
            if let Some(own) = own {
                add(m, "a", own);
            }
        })
    };
    let twice = |series| vec![Unsent { set: guest::SET, family: Some("load".into()), series, why: "duplicate" }];
    let said = "declare 1 a 1, declare 2 textfile 2, push, values 2 2, values 1 1, end";
    assert_eq!(step(Some(&load)), (said.into(), twice(1)));
    assert_eq!(step(Some(&load)), ("push, end".into(), twice(1)), "and so it stays");
    let said = "retire 2, declare 3 a 2, declare 4 textfile 1, push, values 4 1, values 3 2, end, retire 1";
    assert_eq!(step(Some(&both)), (said.into(), twice(2)), "what is the agent's from now on goes first");
    // The former set stands until its push is over, so what was its comes a push later.
    let said = "push, end, retire 3";
    let gone = gauges(&[]);
    assert_eq!(step(Some(&gone)).0, said);
    assert_eq!(step(Some(&gone)), ("declare 5 textfile 3, push, values 5 3, end, retire 4".into(), vec![]));
}

#[test]
fn a_name_that_a_histogram_would_own_is_not_taken_either() {
    let mut link = Link::new(LIMITS, 0);
    let mut text = Batch::new();
    text.begin();
    text.push(protocol::frame::MetricType::Summary, "wait", "", "_count", &[], 1.0);
    text.push(protocol::frame::MetricType::Summary, "free", "", "_count", &[], 2.0);
    text.finish(true);
    let own = gauges(&["wait_count"]);
    let (said, unsent) = push(&mut link, |m| {
        add(m, guest::SET, &text);
        add(m, "a", &own);
    });
    assert_eq!(
        (said.as_str(), unsent.len()),
        ("declare 1 a 1, declare 2 textfile 1, push, values 2 1, values 1 1, end", 1)
    );
}

#[test]
fn text_files_get_the_room_that_is_left() {
    let mut link = Link::new(Limits { series: 400, ..LIMITS }, 0);
    let text = gauges(&["p", "q", "r", "s"]);
    let mut step = |own: usize| {
        let own = batch(own);
        push(&mut link, |m| {
            add(m, "textfile", &text);
            add(m, "a", &own);
        })
    };
    assert_eq!(
        step(200),
        ("declare 1 a 200, declare 2 textfile 4, push, values 2 4, values 1 200, end".into(), vec![])
    );
    let (said, unsent) = step(398);
    assert_eq!(said, "retire 2, retire 1, declare 3 a 398, declare 4 textfile 2, push, values 4 2, values 3 398, end");
    assert_eq!(unsent, [Unsent { set: "textfile", family: Some("r".into()), series: 2, why: "limit" }]);
    // What has no room anyway is no reason for them to go, and what it was makes room for them.
    let (said, unsent) = step(401);
    assert_eq!((said.as_str(), unsent.len()), ("push, end, retire 3", 2));
    let (said, unsent) = step(401);
    assert_eq!((said.as_str(), unsent.len()), ("declare 5 textfile 4, push, values 5 4, end, retire 4", 1));
}

#[test]
fn names_and_labels_have_room_too_and_the_most_important_sets_get_it() {
    // Labels of the agent that take 8 KiB a series leave room for 100-odd of the 1000.
    let mut link = Link::new(LIMITS, 8192);
    let (few, many, text) = (batch(30), batch(70), gauges(&["p", "q", "r", "s"]));
    let mut step = |vitals: &Batch| {
        push(&mut link, |m| {
            add(m, "textfile", &text);
            add(m, "vitals", vitals);
            add(m, "cpu", &few);
            add(m, "agent", &few);
        })
    };
    let said = "declare 1 agent 30, declare 2 vitals 30, declare 3 cpu 30, declare 4 textfile 4, \
                push, values 4 4, values 2 30, values 3 30, values 1 30, end";
    assert_eq!(step(&few), (said.into(), vec![]));
    let (said, unsent) = step(&many);
    assert_eq!(said, "retire 2, retire 3, declare 5 vitals 70, push, values 5 70, end");
    assert_eq!(unsent, [Unsent { set: "cpu", family: None, series: 30, why: "limit" }]);
    let (said, unsent) = step(&few);
    assert!(said.contains("declare 7 cpu 30") && unsent.is_empty(), "{said}");
}

#[test]
fn text_files_with_long_names_get_what_room_for_text_there_is() {
    let mut link = Link::new(LIMITS, 0);
    let names: Vec<String> = (0..900).map(|n| format!("{}{n}", "x".repeat(200))).collect();
    let mut text = Batch::new();
    text.begin();
    names.iter().for_each(|name| text.gauge(name, "", &[], 1.0));
    text.finish(true);
    let (said, unsent) = push(&mut link, |m| {
        add(m, "textfile", &text);
        add(m, "a", &batch(200));
    });
    // A family takes a good 1024 + 8 * 203 + 32 + 203 bytes of 512 KiB.
    assert!(said.starts_with("declare 1 a 200, declare 2 textfile 182, "), "{said}");
    assert_eq!(unsent[0].family.as_deref().map(str::len), Some(203));
}

proptest! {
    /// Whatever happens to the sets, the aggregator never sees more than it granted, a number
    /// twice, or values for what is not declared.
    #[test]
    fn the_limits_hold_at_every_line(
        pushes in proptest::collection::vec(proptest::collection::vec((0..4usize, 0..9usize), 0..5), 1..20),
        series in 1..20usize, sets in 1..4usize, labels in 0..200_000usize,
    ) {
        let mut link = Link::new(Limits { sets: sets as u64, series: series as u64, ..LIMITS }, labels);
        let mut declared = std::collections::BTreeMap::new();
        let mut highest = 0;
        for (version, readings) in pushes.into_iter().enumerate() {
            let (said, _) = push(&mut link, |m| {
                let mut seen = [false; 4];
                for (name, count) in readings {
                    if !std::mem::replace(&mut seen[name], true) {
                        let batch = batch(count);
                        m.add(["a", "b", "c", "d"][name], version as u64, batch.layout(), batch.values());
                    }
                }
            });
            for line in said.split(", ") {
                let words: Vec<&str> = line.split(' ').collect();
                match words[0] {
                    "declare" => {
                        let number: u64 = words[1].parse().unwrap();
                        prop_assert!(number > highest);
                        highest = number;
                        declared.insert(number, words[3].parse::<usize>().unwrap());
                        let all = declared.values().sum::<usize>();
                        prop_assert!(declared.len() <= sets && all <= series);
                        // The aggregator's rule, for the sets of this test.
                        prop_assert!(declared.len() * (1024 + 8) + all * (labels + 32 + 1 + 6) <= 1 << 20);
                    }
                    "values" => prop_assert_eq!(declared[&words[1].parse().unwrap()], words[2].parse::<usize>().unwrap()),
                    "retire" => prop_assert!(declared.remove(&words[1].parse().unwrap()).is_some()),
                    _ => {}
                }
            }
        }
    }

    /// Whatever comes and goes, no name is declared for the agent's own sets and for text files
    /// at one time, and the own sets are there.
    #[test]
    fn text_files_are_never_in_the_way(
        pushes in proptest::collection::vec((0..16u8, 0..16u8, 0..4u8), 1..20),
    ) {
        const NAMES: [&str; 4] = ["p", "q", "r", "s"];
        let set = |bits: u8| gauges(&NAMES.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).map(|(_, name)| *name).collect::<Vec<_>>());
        let mut link = Link::new(LIMITS, 0);
        let mut declared = std::collections::BTreeMap::new();
        for (text, own, which) in pushes {
            let mut measurement = Measurement::default();
            measurement.begin(1, NOW);
            let (text, own) = (set(text), set(own));
            for (bit, name, batch) in [(1, guest::SET, &text), (2, "a", &own)] {
                if which & bit != 0 {
                    add(&mut measurement, name, batch);
                }
            }
            let (mut decoder, mut out) = (LineDecoder::new(LINE_BYTES_MAX), vec![]);
            link.push(&measurement, NOW, &Status::default(), &mut out);
            decoder.buffer().extend_from_slice(&out);
            while let Some(frame) = decoder.next_frame().unwrap() {
                match frame {
                    ToAggregator::Declare(Declare { set, name, families, .. }) => {
                        for family in &families {
                            let other = |(set, families): &(String, Vec<protocol::frame::Family>)| {
                                *set != name && families.iter().any(|known| known.name == family.name)
                            };
                            prop_assert!(!declared.values().any(other), "{} stands twice", family.name);
                        }
                        declared.insert(set, (name, families));
                    }
                    ToAggregator::Retire(Retire { set }) => prop_assert!(declared.remove(&set).is_some()),
                    _ => {}
                }
            }
            if which & 2 != 0 && own.layout().total() > 0 {
                let is_own = |(name, families): &(String, Vec<_>)| name == "a" && families == own.layout().families();
                prop_assert!(declared.values().any(is_own));
            }
        }
    }
}
