use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::collect::testing::render;

/// What one call says: which family, which label value, which value.
type Call = (u8, u8, f64);

fn fill(batch: &mut Batch, calls: &[Call]) {
    batch.begin();
    for (family, label, value) in calls {
        batch.gauge(&format!("f{family}"), "Help.", &[("l", &label.to_string())], *value);
    }
    batch.finish(true);
}

/// The page by series: what a reader of it sees.
fn page(batch: &Batch) -> BTreeMap<String, String> {
    let page = render(batch, false);
    page.lines().map(|line| line.rsplit_once(' ').unwrap()).map(|(s, v)| (s.to_owned(), v.to_owned())).collect()
}

proptest! {
    /// Whatever was in a batch before, it holds what the last calls said, the first of each series.
    #[test]
    fn a_batch_is_what_was_said_last(
        rounds in proptest::collection::vec(proptest::collection::vec((0..4u8, 0..4u8, -9.0..9.0f64), 0..20), 1..10),
    ) {
        let mut batch = Batch::new();
        for calls in rounds {
            fill(&mut batch, &calls);
            let mut expected = BTreeMap::new();
            for (family, label, value) in &calls {
                expected.entry(format!("f{family}{{l=\"{label}\"}}")).or_insert_with(|| value.to_string());
            }
            let duplicates = calls.len() - expected.len();
            prop_assert_eq!(page(&batch), expected);
            prop_assert_eq!(batch.layout().dropped().map(|(_, count)| count).sum::<usize>(), duplicates);
            prop_assert_eq!(batch.layout().total(), batch.values().len());
        }
    }
}

#[test]
fn the_same_calls_keep_the_same_layout() {
    let mut batch = Batch::new();
    let calls = [(1, 1, 1.0), (2, 1, 2.0), (1, 2, 3.0), (1, 1, 9.0)];
    fill(&mut batch, &calls);
    let layout = Arc::clone(batch.layout());
    fill(&mut batch, &calls.map(|(family, label, value)| (family, label, value * 2.0)));
    assert!(Arc::ptr_eq(&layout, batch.layout()), "the dropped one does not change it");
    assert_eq!(batch.values(), [2.0, 6.0, 4.0], "family by family");
    fill(&mut batch, &calls[..2]);
    assert!(!Arc::ptr_eq(&layout, batch.layout()));
}

#[test]
fn the_order_of_labels_makes_no_other_series() {
    let mut batch = Batch::new();
    batch.begin();
    batch.counter("a_total", "", &[("x", "1"), ("y", "2")], 1.0);
    batch.counter("a_total", "", &[("y", "2"), ("x", "1")], 2.0);
    batch.finish(true);
    assert_eq!(batch.values(), [1.0]);
    assert_eq!(batch.layout().complaint(), Some("a_total[(\"x\", \"1\"), (\"y\", \"2\")] stands twice"));
}

#[test]
fn what_the_aggregator_would_refuse_is_dropped() {
    let mut batch = Batch::new();
    batch.begin();
    batch.gauge("good", "", &[("v", "a\"\\\n\u{fffd}")], 1.0);
    batch.gauge("bad-name", "", &[], 1.0);
    batch.gauge("up", "", &[], 1.0);
    batch.gauge("good", "", &[("instance", "x")], 1.0);
    batch.gauge("good", "", &[("x", "1"), ("x", "2")], 1.0);
    batch.gauge("good", "", &[("v", &"x".repeat(2000))], 1.0);
    batch.counter("good", "", &[("v", "b")], 1.0);
    batch.push(MetricType::Histogram, "h", "", "_bucket", &[], 1.0);
    batch.gauge("last", &"ä".repeat(2000), &[], 2.0);
    batch.finish(true);
    assert_eq!(batch.values(), [1.0, 2.0]);
    let dropped: Vec<_> = batch.layout().dropped().collect();
    assert_eq!(dropped, [(Unsent::Unfit, 7), (Unsent::Duplicate, 0), (Unsent::Limit, 0)]);
    assert_eq!(batch.layout().complaint(), Some("\"bad-name\" names no metric"));
    assert_eq!(batch.layout().families()[1].help.len(), 1024);
}

#[test]
fn of_many_dropped_series_only_the_first_are_kept() {
    let mut batch = Batch::new();
    let mut calls = vec![(1, 1, 1.0); 5000];
    calls.push((1, 2, 2.0));
    fill(&mut batch, &calls);
    let layout = Arc::clone(batch.layout());
    assert_eq!((layout.dropped.len(), layout.dropped_counts), (DROPPED_MAX, [0, 4999, 0]));
    fill(&mut batch, &calls);
    assert!(Arc::ptr_eq(&layout, batch.layout()), "they are recognised all the same");
    calls[4000].1 = 3;
    fill(&mut batch, &calls);
    assert_eq!((batch.values(), batch.layout().dropped_counts), (&[1.0, 1.0, 2.0][..], [0, 4998, 0]));
    batch.tells_itself();
    fill(&mut batch, &calls[..10]);
    assert_eq!(batch.layout().complaint(), None);
}

#[test]
fn a_reading_that_broke_off_leaves_gaps_and_no_other_layout() {
    let mut batch = Batch::new();
    fill(&mut batch, &[(1, 1, 1.0), (1, 2, 2.0)]);
    let layout = Arc::clone(batch.layout());
    batch.begin();
    assert!(batch.is_blank());
    batch.gauge("f1", "", &[("l", "1")], 5.0);
    batch.finish(false);
    assert!(Arc::ptr_eq(&layout, batch.layout()));
    assert!(!batch.is_blank() && protocol::is_absent(batch.values()[1]));
    assert_eq!(render(&batch, false), "f1{l=\"1\"} 5\n");
}
