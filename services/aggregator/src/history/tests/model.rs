//! The whole history against a map.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// Points of some keys, put or vital.
    Write(Vec<(u8, i64, u64)>, bool),
    Tend,
    Reopen,
    Read(i64, i64),
}

fn step() -> impl Strategy<Value = Step> {
    let ts = prop_oneof![8 => -3..20_i64, 1 => Just(i64::MIN), 1 => Just(i64::MAX)];
    let value = prop_oneof![4 => (0..100_u64).prop_map(|n| (n as f64).to_bits()), 1 => any::<u64>()];
    prop_oneof![
        6 => (vec((0..5_u8, ts.clone(), value), 1..20), any::<bool>()).prop_map(|(points, put)| Step::Write(points, put)),
        2 => Just(Step::Tend),
        1 => Just(Step::Reopen),
        1 => (ts.clone(), ts).prop_map(|(from, to)| Step::Read(from, to)),
    ]
}

type Rows = Vec<(String, i64, u64)>;

/// Keys in the order of their first write, by space: put or not.
#[derive(Default)]
struct Model {
    order: [Vec<String>; 2],
    points: BTreeMap<(bool, String, i64), u64>,
}

impl Model {
    fn write(&mut self, put: bool, key: &str, ts: i64, value: u64) {
        let order = &mut self.order[usize::from(put)];
        if !order.iter().any(|known| known == key) {
            order.push(key.to_owned());
        }
        self.points.insert((put, key.to_owned(), ts), value);
    }

    fn rows(&self, put: bool, key: &str, range: &RangeInclusive<i64>) -> Rows {
        let points =
            self.points.iter().filter(|((space, text, ts), _)| *space == put && text == key && range.contains(ts));
        points.map(|((_, text, ts), value)| (text.clone(), *ts, *value)).collect()
    }

    fn is_put(&self, key: &str) -> bool {
        self.order[1].iter().any(|known| known == key)
    }

    fn all(&self, what: &What, range: &RangeInclusive<i64>) -> Rows {
        match what {
            What::Key(key) => self.rows(self.is_put(key), key, range),
            What::Puts => self.order[1].iter().flat_map(|key| self.rows(true, key, range)).collect(),
            What::Prefix(prefix) => {
                let mut keys: Vec<_> = self.order.iter().flatten().filter(|key| key.starts_with(prefix)).collect();
                keys.sort();
                keys.dedup();
                keys.into_iter().flat_map(|key| self.rows(self.is_put(key), key, range)).collect()
            }
        }
    }
}

fn rows(history: &Arc<History>, what: What, range: RangeInclusive<i64>) -> Rows {
    let mut rows = history.rows(what, range);
    let (mut all, mut piece) = (Vec::new(), Vec::new());
    while let Some(key) = rows.next_piece(&mut piece).unwrap() {
        all.extend(piece.iter().map(|point| (key.text.to_string(), point.ts, point.value.to_bits())));
    }
    all
}

async fn play(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let rules = Rules { partition_points_max: 30, ..super::rules() };
    let mut history = open(dir.path(), rules.clone());
    let mut model = Model::default();
    for step in steps.into_iter().chain([Step::Tend, Step::Reopen, Step::Read(i64::MIN, i64::MAX)]) {
        match step {
            Step::Write(points, is_put) => {
                let name = |key: u8| format!("{}{key}", if key < 3 { "a" } else { "b" });
                let point = |ts, value| Point { ts, value: f64::from_bits(value) };
                let points: Vec<_> = points.iter().map(|(key, ts, value)| (name(*key), point(*ts, *value))).collect();
                if is_put {
                    let all: Vec<_> = points.iter().map(|(key, point)| (key.as_str(), point.ts, point.value)).collect();
                    put(&history, &all).await.unwrap();
                } else {
                    let all = points.iter().map(|(key, point)| (key.as_str(), *point));
                    history.record(all, &Queued::default(), false).unwrap().await.unwrap().unwrap();
                }
                for (key, point) in &points {
                    model.write(is_put, key, point.ts, point.value.to_bits());
                }
            }
            Step::Tend => tend(&history, moment()),
            Step::Reopen => {
                history.close();
                drop(history);
                history = open(dir.path(), rules.clone());
            }
            Step::Read(from, to) => {
                let range = from..=to;
                let prefixes = ["", "a", "b4", "x"].map(|prefix| What::Prefix(prefix.to_owned()));
                for what in [of("a0"), of("b3"), of("nothing"), What::Puts].into_iter().chain(prefixes) {
                    assert_eq!(
                        rows(&history, what.clone(), range.clone()),
                        model.all(&what, &range),
                        "{what:?} {range:?}"
                    );
                }
            }
        }
    }
    history.close();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_is_a_map(steps in vec(step(), 1..20)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(play(steps));
    }
}
