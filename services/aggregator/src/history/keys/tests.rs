//! Which keys there are, in what order, and how many are looked at at a time.

use super::*;

#[test]
fn ids_grow_though_the_clock_does_not() {
    let keys = Keys::new(10);
    let first = keys.find_or_add(Space::Put, "a", || 100).unwrap();
    let second = keys.find_or_add(Space::Put, "b", || 50).unwrap();
    let same_text = keys.find_or_add(Space::Vital, "a", || 60).unwrap();
    assert_eq!([first.id, second.id, same_text.id], [100, 101, 102]);
    assert!(Arc::ptr_eq(&first, &keys.find_or_add(Space::Put, "a", || 999).unwrap()));
}

#[test]
fn they_come_in_the_order_of_their_first_write() {
    let keys = Keys::new(10);
    for (text, now) in [("z", 1), ("a", 2), ("m", 3)] {
        keys.find_or_add(Space::Put, text, || now).unwrap().is_in(1);
    }
    let never_stored = keys.find_or_add(Space::Put, "n", || 4).unwrap();
    let mut found = Vec::new();
    let mut at = None;
    while let Some(key) = keys.after(Space::Put, at) {
        at = Some(key.id);
        found.push(key.text.to_string());
    }
    assert_eq!(found, ["z", "a", "m"]);
    assert_eq!(never_stored.newest_partition(), 0);
    let texts: Vec<_> = keys.with_prefix("").iter().map(|key| key.text.to_string()).collect();
    assert_eq!(texts, ["a", "m", "z"]);
}

#[test]
fn no_lock_is_held_for_more_than_some_keys() {
    let (keys, count) = (Keys::new(100_000), 2 * STEP_KEYS as u64 + 5);
    for id in 1..=count {
        // By text the last one is the first; one put key stands behind many vital ones.
        let space = if id == count { Space::Put } else { Space::Vital };
        keys.restore(space, &format!("k{:06}", count - id), id, 1);
    }
    let (mut at, mut steps) = (None, Vec::new());
    loop {
        let mut seen = 0;
        let step = keys.step(at, |_| {
            seen += 1;
            None::<()>
        });
        steps.push(seen);
        match step {
            Step::GoOn(last) => at = Some(last),
            other => break assert_eq!(other, Step::End),
        }
    }
    assert_eq!(steps, [STEP_KEYS, STEP_KEYS, 5]);
    assert_eq!(keys.after(Space::Put, None).unwrap().id, count);
    let ids: Vec<u64> = keys.with_prefix("k").iter().map(|key| key.id).collect();
    assert!(ids.iter().copied().eq((1..=count).rev()), "all of them, by text");
    assert_eq!(keys.with_prefix("k000000").len(), 1);
    // A whole number of steps ends too.
    let whole = Keys::new(100_000);
    (1..=STEP_KEYS as u64).for_each(|id| drop(whole.restore(Space::Put, &id.to_string(), id, 1)));
    assert!(whole.after(Space::Vital, None).is_none());
    assert_eq!(whole.with_prefix("").len(), STEP_KEYS);
}

#[test]
fn there_is_room_for_so_many() {
    let keys = Keys::new(2);
    keys.find_or_add(Space::Put, "a", || 1).unwrap();
    assert!(keys.find_or_add(Space::Put, &"x".repeat(10_000), || 1).is_err(), "the text counts too");
    keys.find_or_add(Space::Put, "b", || 1).unwrap();
    assert!(keys.find_or_add(Space::Put, "c", || 1).is_err());
    assert!(keys.find_or_add(Space::Vital, "c", || 1).is_ok(), "vital signs have room of their own");
    assert!(keys.find_or_add(Space::Put, "a", || 1).is_ok(), "it is there already");
}

#[test]
fn what_nothing_is_left_of_is_forgotten() {
    let keys = Keys::new(10);
    let (over, older, there) = (
        keys.restore(Space::Put, "over", 1, 3),
        keys.restore(Space::Put, "older", 2, 3),
        keys.restore(Space::Put, "there", 3, 4),
    );
    let is_whole = |number| number != 3;
    let holder = |key: &Key| (&*key.text == "older").then_some(2);
    assert_eq!(keys.forget(is_whole, holder), 0, "somebody has it in hand");
    assert_eq!([over.newest_partition(), older.newest_partition(), there.newest_partition()], [3, 2, 4]);
    drop((over, older, there));
    assert_eq!(keys.forget(is_whole, holder), 1);
    assert!(keys.find(Space::Put, "over").is_none() && keys.find(Space::Put, "older").is_some());
}

#[test]
fn one_text_has_one_id() {
    let keys = Keys::new(10);
    let newer = keys.restore(Space::Put, "a", 7, 2);
    let older = keys.restore(Space::Put, "a", 5, 1);
    assert!(Arc::ptr_eq(&newer, &older));
    assert_eq!(keys.restore(Space::Put, "b", 7, 1).id, 8, "an id is one key's");
}

#[test]
fn a_put_key_hides_a_vital_one() {
    let keys = Keys::new(10);
    keys.restore(Space::Vital, "h.cpu", 1, 1);
    assert_eq!(keys.with_prefix("h.").first().unwrap().space, Space::Vital);
    keys.restore(Space::Put, "h.cpu", 2, 1);
    assert_eq!(keys.with_prefix("h.").len(), 1);
    assert_eq!(keys.with_prefix("h.").first().unwrap().space, Space::Put);
    assert!(keys.with_prefix("x").is_empty());
}
