//! What each kind of line is answered with, on a history that holds two points of `a`.

use super::*;

const WRONG: &str = "error\nwrong command\n\n";
const OK: &str = "ok\n\n";
const OF_A: &str = "ok\na 9.0 9\na 10.0 10\n\n";

/// Says it on a connection of its own and expects this; then the connection is still in step, and
/// what is stored is as before.
#[track_caller]
fn check<'a>(said: impl AsRef<[u8]> + 'a, expected: &'a str) -> impl Future<Output = ()> + 'a {
    let caller = std::panic::Location::caller();
    check_stored(said, expected, OF_A, caller)
}

async fn check_stored(
    said: impl AsRef<[u8]>,
    expected: &str,
    all: &str,
    caller: &'static std::panic::Location<'static>,
) {
    let (inside, said) = (Inside::new(), said.as_ref());
    let mut client = inside.connect();
    client.ask("put a 10 10\nput a 9 9\n", "ok\n\nok\n\n").await;
    client.say(said).await;
    client.say("get *\n").await;
    let heard = client.end().await;
    assert_eq!(heard, format!("{expected}{all}"), "{:?}, at {caller}", String::from_utf8_lossy(said));
}

/// A `put` that is stored, as the row that it becomes.
#[track_caller]
fn check_put<'a>(said: &'a str, row: &'a str) -> impl Future<Output = ()> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let all = format!("ok\na 9.0 9\na 10.0 10\n{row}\n\n");
        check_stored(said, OK, &all, caller).await;
    }
}

#[tokio::test]
async fn what_is_not_there_is_no_error() {
    check("get missing\n", OK).await;
    check("get a.b\n", OK).await;
    let inside = Inside::new();
    inside.connect().ask("get *\n", OK).await;
}

#[tokio::test]
async fn get_takes_one_key_exactly() {
    check("get a\n", OF_A).await;
    check("get a \n", OF_A).await;
    check("get\n", WRONG).await;
    check("get \n", WRONG).await;
    check("get a b\n", WRONG).await;
    check("get A\n", OK).await;
    // Neither the beginning of a key nor a value finds it.
    check("get aa\nget 10.0\n", "ok\n\nok\n\n").await;
}

#[tokio::test]
async fn unknown_commands() {
    for line in ["got a\n", "PUT a 1 1\n", "putx a 1 1\n", "Get a\n", "*\n", "\u{feff}get a\n"] {
        check(line, WRONG).await;
    }
}

#[tokio::test]
async fn empty_lines_get_nothing_and_lines_of_spaces_an_error() {
    check("\n", "").await;
    check("\n\r\n\n", "").await;
    check("   \n", WRONG).await;
    check("\t\n", WRONG).await;
}

#[tokio::test]
async fn put_takes_three_words() {
    for line in ["put\n", "put \n", "put k\n", "put k 1\n", "put k 1 2 3\n", "put  1 1\n"] {
        check(line, WRONG).await;
    }
    check("put * 1 1\n", WRONG).await;
}

#[tokio::test]
async fn values_and_times() {
    for line in ["put k x 1\n", "put k 10,5 1\n", "put k 1_000 1\n", "put k 1 abc\n", "put k 1 1.5\n", "put k 1 2.0\n"]
    {
        check(line, WRONG).await;
    }
    check("put k 1 9223372036854775808\n", WRONG).await;
    check("put k 1 -9223372036854775809\n", WRONG).await;
    check_put("put k 1 -5\n", "k 1.0 -5").await;
    check_put("put k 1 0\n", "k 1.0 0").await;
    check_put("put k 1 +5\n", "k 1.0 5").await;
    check_put("put k 1 9223372036854775807\n", "k 1.0 9223372036854775807").await;
    check_put("put k 1 -9223372036854775808\n", "k 1.0 -9223372036854775808").await;
}

#[tokio::test]
async fn values_come_back_as_python_writes_them() {
    for (value, repr) in [
        ("10", "10.0"),
        ("4200000", "4200000.0"),
        ("10.50", "10.5"),
        ("1e-7", "1e-07"),
        ("4.2e19", "4.2e+19"),
        ("-0", "-0.0"),
        ("NaN", "nan"),
        ("inf", "inf"),
        ("-Infinity", "-inf"),
        ("1e999", "inf"),
    ] {
        check_put(&format!("put k {value} 7\n"), &format!("k {repr} 7")).await;
    }
}

#[tokio::test]
async fn the_last_write_of_a_second_stands_and_times_are_sorted_as_numbers() {
    let inside = Inside::new();
    let mut client = inside.connect();
    client.ask("put k 1 10\nput k 2 9\nput k 3 10\nput k 4 -1\n", OK.repeat(4)).await;
    client.ask("put k 5 9\n", OK).await;
    client.ask("get k\n", "ok\nk 4.0 -1\nk 5.0 9\nk 3.0 10\n\n").await;
}

#[tokio::test]
async fn keys_stand_in_the_order_in_which_they_came() {
    let inside = Inside::new();
    let mut client = inside.connect();
    client.ask("put z 1 1\nput a 1 1\nput z 2 2\nput m 1 1\nput z 0 0\n", OK.repeat(5)).await;
    client.ask("get *\n", "ok\nz 0.0 0\nz 1.0 1\nz 2.0 2\na 1.0 1\nm 1.0 1\n\n").await;
}

#[tokio::test]
async fn white_space_between_words_is_free() {
    for line in ["get a\r\n", "get\ta\n", "get  a\n", "  get a\n", "\tget \t a\t\r\n"] {
        check(line, OF_A).await;
    }
    check_put("put\tk   1\t 2\r\n", "k 1.0 2").await;
}

#[tokio::test]
async fn two_commands_in_one_segment_are_two() {
    check("get a\nget missing\n", &[OF_A, OK].concat()).await;
    check("get x y\nget a\nfoo\n", &[WRONG, OF_A, WRONG].concat()).await;
}

#[tokio::test]
async fn keys_in_any_script_but_of_letters_that_show() {
    let long = "k".repeat(10_000);
    for key in ["ключ", "键", "🦀", "k\"q\"", "{k=\"v\"}", "a\\b", &long] {
        check_put(&format!("put {key} 1 2\n"), &format!("{key} 1.0 2")).await;
        let inside = Inside::new();
        let mut client = inside.connect();
        client.ask(format!("put {key} 1 2\nget {key}\n"), format!("ok\n\nok\n{key} 1.0 2\n\n")).await;
    }
    for line in ["put a\0 1 1\n", "put \x1b[2J 1 1\n", "put a\u{a0}b 1 1\n", "get \u{2028}\n"] {
        check(line, WRONG).await;
    }
    check(b"get \xff\n", WRONG).await;
    check(b"put \xc3\x28 1 1\n", WRONG).await;
}

#[tokio::test]
async fn a_line_that_is_too_long_is_one_error_and_nothing_else() {
    let key = "k".repeat(65_536 - "put  1 1\n".len());
    check_put(&format!("put {key} 1 1\n"), &format!("{key} 1.0 1")).await;
    let too_long = "error\nthe line is too long: with its end it may have 65536 bytes\n\n";
    check(format!("put k{key} 1 1\n"), too_long).await;
    check(format!("{}\nget a\n", "x".repeat(300_000)), &[too_long, OF_A].concat()).await;
}

#[tokio::test]
async fn without_a_history_everything_that_needs_one_says_so() {
    let inside = Inside::without_history();
    let error = "error\nthis aggregator keeps no history: its FLEETGAUGE_DATA_DIR is not set\n\n";
    let mut client = inside.connect();
    client.ask("put a 1 1\nget a\nget *\n\nfoo\n", [&error.repeat(3), WRONG].concat()).await;
    assert_eq!(inside.metric("errors_total{reason=\"no_history\"}"), 3.0);
    assert_eq!(client.end().await, "");
}

#[tokio::test]
async fn everything_is_counted() {
    let inside = Inside::new();
    let mut client = inside.connect();
    client
        .ask(
            "put a 1 1\nput a 2 2\nget a\nget *\nx\n\nput a\n",
            format!("ok\n\nok\n\n{0}{0}{WRONG}{WRONG}", "ok\na 1.0 1\na 2.0 2\n\n"),
        )
        .await;
    assert_eq!(client.end().await, "");
    for (name, value) in [
        ("commands_total{command=\"put\"}", 2.0),
        ("commands_total{command=\"get\"}", 1.0),
        ("commands_total{command=\"get_all\"}", 1.0),
        ("errors_total{reason=\"wrong_command\"}", 2.0),
        ("closed_total{reason=\"closed\"}", 1.0),
        ("received_bytes_total", 41.0),
    ] {
        assert_eq!(inside.metric(name), value, "{name}");
    }
}
