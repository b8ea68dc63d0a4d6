//! A spool does what a naive model of it does, whatever is asked of it.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Act {
    Put(usize),
    Ack(u64),
    Safe(u64),
    GiveUp(u64),
    Round,
    Break(bool),
    Reopen,
    Read,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        8 => (1..40usize).prop_map(Act::Put),
        2 => (0..30u64).prop_map(Act::Ack),
        1 => (0..30u64).prop_map(Act::Safe),
        1 => (0..30u64).prop_map(Act::GiveUp),
        4 => Just(Act::Round),
        1 => any::<bool>().prop_map(Act::Break),
        1 => Just(Act::Reopen),
        2 => Just(Act::Read),
    ];
    proptest::collection::vec(act, 0..300)
}

proptest! {
    // A case is hundreds of operations.
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever happens: what was put in and not done with is there, in its order, unless it is
    /// counted as lost; and after a crash what the disk had is.
    #[test]
    fn a_spool_is_what_the_model_says(acts in acts()) {
        let (files, limits) = (Fake::default(), Limits { memory: 8 << 20, disk: Some(8 << 20) });
        let mut host = Host::new();
        let (mut store, mut was_broken) = (reopen(&files, limits).store, false);
        // By number: what each push was made of, whether the disk has it, whether it is done with.
        let mut model: BTreeMap<u64, (u64, bool)> = BTreeMap::new();
        for act in acts {
            let nth = |n: u64| model.keys().nth(usize::try_from(n).unwrap()).copied();
            match act {
                Act::Put(series) => {
                    let seq = store.put(&host.measure(series)).unwrap();
                    model.insert(seq, (host.count, false));
                }
                Act::Ack(n) => if let Some(seq) = nth(n) {
                    store.acked(seq);
                    model.retain(|known, _| *known > seq);
                },
                Act::Safe(n) => if let Some(seq) = nth(n) {
                    store.safe(seq);
                    model.remove(&seq);
                },
                Act::GiveUp(n) => if let Some(seq) = nth(n) {
                    let before = store.status(EPOCH).lost[3];
                    store.give_up(seq, Lost::Refused);
                    prop_assert!(store.status(EPOCH).lost[3] > before);
                    model.remove(&seq);
                },
                Act::Round => {
                    round(&files, &mut store);
                    if !files.is_broken.load(Ordering::SeqCst) {
                        model.values_mut().for_each(|(_, is_on_disk)| *is_on_disk = true);
                    }
                }
                Act::Break(is_broken) => {
                    was_broken |= is_broken;
                    files.is_broken.store(is_broken, Ordering::SeqCst);
                }
                Act::Reopen => {
                    files.is_broken.store(false, Ordering::SeqCst);
                    store = reopen(&files, limits).store;
                    model.retain(|_, (_, is_on_disk)| *is_on_disk);
                    // What was done with and not yet written down comes again.
                    let again: Vec<Stored> = all(&files, &mut store);
                    for seq in model.keys() {
                        prop_assert!(again.iter().any(|push| push.seq == *seq));
                    }
                    model = again.iter().map(|push| (push.seq, (count_of(push), true))).collect();
                }
                Act::Read => {}
            }
            let status = store.status(EPOCH);
            prop_assert_eq!(status.records, model.len());
            // A process that ended while its disk was full leaves half a record.
            prop_assert!(status.damages == 0 || was_broken);
            prop_assert_eq!(status.lost[0] + status.lost[1] + status.lost[2], 0);
        }
        files.is_broken.store(false, Ordering::SeqCst);
        round(&files, &mut store);
        let got: Vec<(u64, u64)> = all(&files, &mut store).iter().map(|push| (push.seq, count_of(push))).collect();
        prop_assert_eq!(got, model.iter().map(|(seq, (count, _))| (*seq, *count)).collect::<Vec<_>>());
        let last = store.last();
        store.acked(last);
        round(&files, &mut store);
        prop_assert_eq!(files.bytes(), 0, "nothing is left of what is done with");
    }

    /// However much is put in, no more is kept than may be, and the oldest goes.
    #[test]
    fn the_limits_hold(series in proptest::collection::vec(1..60usize, 1..400), disk in 0..3usize) {
        let disk = [None, Some(256 << 10), Some(512 << 10)][disk];
        let limits = Limits { memory: 256 << 10, disk };
        let files = Fake::default();
        let mut store = match disk {
            Some(_) => reopen(&files, limits).store,
            None => Store::new(limits, 7, Progress::default()),
        };
        let mut host = Host::new();
        for series in series {
            store.put(&host.measure(series));
            round(&files, &mut store);
            let status = store.status(EPOCH);
            prop_assert!(status.bytes <= status.limit && files.bytes() <= status.limit, "{:?}", status);
        }
        let counts: Vec<u64> = all(&files, &mut store).iter().map(count_of).collect();
        let expected: Vec<u64> = (host.count + 1 - counts.len() as u64..=host.count).collect();
        prop_assert_eq!(counts, expected, "the newest are there without a gap");
    }
}
