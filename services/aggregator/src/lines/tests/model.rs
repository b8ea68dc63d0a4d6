//! Whatever is said, however it is cut and whoever says it in turns: the replies are those of a
//! map in memory.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

const CONNECTIONS: usize = 3;

/// A line, made without asking the parser.
#[derive(Debug, Clone)]
enum Said {
    Put(&'static str, f64, i64),
    Get(&'static str),
    All,
    Wrong(&'static str),
    Nothing(&'static str),
}

/// Keys in the order in which they came, and the points of each.
#[derive(Debug, Default)]
struct Model(Vec<(&'static str, BTreeMap<i64, f64>)>);

impl Model {
    /// Does it, and gives the reply.
    fn take(&mut self, said: &Said) -> String {
        match said {
            Said::Put(key, value, ts) => {
                let at = self.0.iter().position(|(one, _)| one == key).unwrap_or_else(|| {
                    self.0.push((key, BTreeMap::new()));
                    self.0.len() - 1
                });
                self.0[at].1.insert(*ts, *value);
                "ok\n\n".into()
            }
            Said::Get(key) => self.rows(|one| one == *key),
            Said::All => self.rows(|_| true),
            Said::Wrong(_) => "error\nwrong command\n\n".into(),
            Said::Nothing(_) => String::new(),
        }
    }

    fn rows(&self, is_meant: impl Fn(&str) -> bool) -> String {
        let mut rows = String::from("ok\n");
        for (key, points) in self.0.iter().filter(|(key, _)| is_meant(key)) {
            for (ts, value) in points {
                // The values of this test look the same in Rust and in Python.
                writeln!(rows, "{key} {value:?} {ts}").unwrap();
            }
        }
        rows + "\n"
    }
}

fn line(said: &Said) -> String {
    match said {
        Said::Put(key, value, ts) => format!("put {key} {value} {ts}\n"),
        Said::Get(key) => format!("get {key}\r\n"),
        Said::All => "get *\n".into(),
        Said::Wrong(text) | Said::Nothing(text) => format!("{text}\n"),
    }
}

fn said() -> impl Strategy<Value = Said> {
    let key = || proptest::sample::select(vec!["a", "b.c", "ключ", "d"]);
    let value = proptest::sample::select(vec![0.0, 1.0, -2.5, 1e15, 0.001, -0.0]);
    prop_oneof![
        6 => (key(), value, -2_i64..6).prop_map(|(key, value, ts)| Said::Put(key, value, ts)),
        3 => key().prop_map(Said::Get),
        1 => Just(Said::All),
        1 => proptest::sample::select(vec!["foo", "put a 1", "get a b", "  ", "put a x 1"]).prop_map(Said::Wrong),
        1 => proptest::sample::select(vec!["", "\r"]).prop_map(Said::Nothing),
    ]
}

/// What each connection will say, and how much of it which of them sends in turns.
type Plan = (Vec<Vec<Said>>, Vec<(usize, usize)>);

fn plan() -> impl Strategy<Value = Plan> {
    let texts = proptest::collection::vec(proptest::collection::vec(said(), 0..25), CONNECTIONS);
    // Small pieces cut lines, large ones bring many at once.
    let piece = prop_oneof![3 => 1_usize..12, 1 => 12_usize..300];
    (texts, proptest::collection::vec((0..CONNECTIONS, piece), 1..120))
}

async fn check((texts, turns): Plan) {
    let (inside, mut model) = (Inside::new(), Model::default());
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| inside.connect()).collect();
    let mut bytes: Vec<VecDeque<u8>> =
        texts.iter().map(|text| text.iter().flat_map(|one| line(one).into_bytes()).collect()).collect();
    let mut left: Vec<VecDeque<Said>> = texts.into_iter().map(Into::into).collect();
    let rest = (0..CONNECTIONS).map(|who| (who, usize::MAX));
    for (who, count) in turns.into_iter().chain(rest) {
        let count = count.min(bytes[who].len());
        let piece: Vec<u8> = bytes[who].drain(..count).collect();
        let whole = piece.iter().filter(|byte| **byte == b'\n').count();
        let replies: String = left[who].drain(..whole).map(|one| model.take(&one)).collect();
        clients[who].ask(piece, replies).await;
    }
    for client in clients {
        assert_eq!(client.end().await, "");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_replies_are_those_of_a_map(plan in plan()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(plan));
    }
}
