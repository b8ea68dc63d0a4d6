//! Replies as tables, and cut anywhere.

use proptest::prelude::*;

use super::*;

/// What a decoder makes of pieces, in words.
fn read(pieces: &[&[u8]]) -> Vec<String> {
    let mut decoder = Decoder::new();
    let mut said = Vec::new();
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.next_event() {
                Ok(None) => break,
                Ok(Some(Event::Row(Row { key, point, text: _ }))) => {
                    said.push(format!("{key} {:?} {}", point.value, point.timestamp));
                }
                Ok(Some(Event::End)) => said.push("end".into()),
                Ok(Some(Event::Error(text))) => said.push(format!("error: {text}")),
                Err(violation) => {
                    assert_eq!(decoder.next_event(), Err(violation.clone()), "it stays broken");
                    said.push(violation.to_string());
                    return said;
                }
            }
        }
    }
    said.push(if decoder.is_between_replies() { "." } else { "more" }.into());
    said
}

#[track_caller]
fn check(reply: &str, expected: &[&str]) {
    assert_eq!(read(&[reply.as_bytes()]), expected);
}

#[test]
fn replies() {
    check("", &["."]);
    check("ok\n\n", &["end", "."]);
    check("ok\nk 0.5 1\nk 10 2\n\n", &["k 0.5 1", "k 10.0 2", "end", "."]);
    check("error\nwrong command\n\n", &["error: wrong command", "."]);
    check("error\n\n", &["error: ", "."]);
    check("error\nfirst\nsecond\n\n", &["error: first\nsecond", "."]);
    check("error\nok\n\nok\n\n", &["error: ok", "end", "."]);
    check("ok\n\nok\nk 1 1\n\n", &["end", "k 1.0 1", "end", "."]);
}

#[test]
fn what_servers_do_besides() {
    check("ok\n\n\n", &["end", "."]);
    check("ok\n\n\nok\n\n", &["end", "end", "."]);
    check("ok \nk 1 1 \n\n", &["k 1.0 1", "end", "."]);
    check("ok\r\nk 1 1\r\n\r\n", &["k 1.0 1", "end", "."]);
    check("ok\nk\t1   1\n\n", &["k 1.0 1", "end", "."]);
    check("ok\nk 4.2e+19 1\nk 1e-07 2\nk 1E3 -3\n\n", &["k 4.2e19 1", "k 1e-7 2", "k 1000.0 -3", "end", "."]);
    check("ok\nk nan 1\nk inf 2\nk -Infinity 3\n\n", &["k NaN 1", "k inf 2", "k -inf 3", "end", "."]);
    check("ok\nключ 1 9223372036854775807\n\n", &["ключ 1.0 9223372036854775807", "end", "."]);
    check("ok\nk 1 2\nk 2 2\nk 1 1\n\n", &["k 1.0 2", "k 2.0 2", "k 1.0 1", "end", "."]);
}

#[test]
fn what_is_cut_is_waited_for() {
    check("o", &["more"]);
    check("ok\n", &["more"]);
    check("ok\nk 1 1\n", &["k 1.0 1", "more"]);
    check("ok\nk 1 1", &["more"]);
    check("error\nwrong", &["more"]);
    check("ok\n\nunasked", &["end", "more"]);
}

#[track_caller]
fn check_violation(reply: &[u8], expected: &Violation) {
    assert_eq!(read(&[reply]).last().unwrap(), &expected.to_string());
}

#[test]
fn violations() {
    for status in ["OK", "okay", "ko", "HTTP/1.1 400 Bad Request", "error!", "k 1 1", " "] {
        check_violation(format!("{status}\n\n").as_bytes(), &Violation::Status(status.into()));
    }
    for row in ["k", "k 1", "k 1 1 1", "k one 1", "k 1 1.5", "k 1 9223372036854775808", "k 1,5 1", " "] {
        check_violation(format!("ok\n{row}\n\n").as_bytes(), &Violation::Row(row.into()));
    }
    check_violation(b"ok\n\xff 1 1\n\n", &Violation::Row("\u{fffd} 1 1".into()));
    check_violation(&[b'x'; ROW_BYTES_MAX + 1], &Violation::LineTooLong);
    let long = "k".repeat(ROW_BYTES_MAX);
    check_violation(format!("ok\n{long} 1 1\n\n").as_bytes(), &Violation::LineTooLong);
    check_violation(format!("error\n{}\n\n", "x".repeat(ERROR_BYTES_MAX + 1)).as_bytes(), &Violation::ErrorTooLong);
    check_violation(format!("error\n{}", "x\n".repeat(ERROR_BYTES_MAX)).as_bytes(), &Violation::ErrorTooLong);
    check_violation(format!("error\n{long}{long}\n\n").as_bytes(), &Violation::ErrorTooLong);
}

#[test]
fn the_longest_row_and_text_are_read() {
    let key = "k".repeat(ROW_BYTES_MAX - 4);
    check(&format!("ok\n{key} 1 1\n\n"), &[&format!("{key} 1.0 1"), "end", "."]);
    let text = "x".repeat(ERROR_BYTES_MAX);
    check(&format!("error\n{text}\n\n"), &[&format!("error: {text}"), "."]);
}

#[test]
fn no_more_is_kept_than_a_row_and_a_piece() {
    let mut decoder = Decoder::new();
    decoder.feed(b"ok\n");
    for _ in 0..10_000 {
        decoder.feed("key 1.5 1642667947\n".repeat(50).as_bytes());
        while decoder.next_event().unwrap().is_some() {}
    }
    assert!(decoder.buffer.capacity() < 4096, "{}", decoder.buffer.capacity());
}

/// A part of a stream: mostly what servers say, sometimes nonsense.
fn part() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => "(ok|error) ?\r?\n".prop_map(String::into_bytes),
        8 => "[a-z*ж]{1,5} -?[0-9]{1,3}(\\.[0-9]{1,3}|e[+-][0-9]{1,2})? [0-9]{1,10}\r?\n".prop_map(String::into_bytes),
        8 => "\r?\n".prop_map(String::into_bytes),
        2 => "[ -~]{0,20}\n".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (ERROR_BYTES_MAX - 3..ERROR_BYTES_MAX + 3).prop_map(|length| vec![b'x'; length]),
    ]
}

proptest! {
    #[test]
    fn no_cut_makes_a_difference(parts in prop::collection::vec(part(), 0..12), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let stream = parts.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.push(stream.len());
        cuts.sort_unstable();
        let mut from = 0;
        let pieces: Vec<&[u8]> = cuts.iter().map(|cut| &stream[std::mem::replace(&mut from, *cut)..*cut]).collect();
        let whole = read(&[&stream]);
        prop_assert_eq!(read(&pieces), whole.clone());
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(read(&bytes), whole);
    }

    #[test]
    fn rows_come_back(points in prop::collection::vec(("[!-~]{1,20}", any::<f64>(), any::<i64>()), 0..20)) {
        let rows: Vec<String> = points.iter().map(|(key, value, timestamp)| format!("{key} {value:?} {timestamp}")).collect();
        let reply: String = rows.iter().map(|row| format!("{row}\n")).collect();
        let mut expected = rows;
        expected.extend(["end".into(), ".".into()]);
        prop_assert_eq!(read(&[format!("ok\n{reply}\n").as_bytes()]), expected);
    }
}
