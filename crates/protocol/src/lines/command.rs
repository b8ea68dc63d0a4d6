//! One line as a command. A line is taken whole or not at all: what is wrong in a part of it makes
//! a wrong command of all of it, so nothing is ever stored by half.

/// What a client asks for. Keys point into the line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Command<'a> {
    /// `put KEY VALUE TIMESTAMP`
    Put {
        /// What [`is_key`] accepts.
        key: &'a str,
        /// Any double.
        value: f64,
        /// Unix time in seconds.
        ts: i64,
    },
    /// `get KEY`
    Get {
        /// What [`is_key`] accepts.
        key: &'a str,
    },
    /// `get *`
    GetAll,
}

/// The line is none of the commands, or one of its parts is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("wrong command")]
pub struct WrongCommand;

/// Reads a line, without its `\n`. `None`: it is empty, or has nothing but carriage returns, and
/// gets no reply.
///
/// # Errors
/// When it is no command.
pub fn parse(line: &[u8]) -> Result<Option<Command<'_>>, WrongCommand> {
    if line.iter().all(|byte| *byte == b'\r') {
        return Ok(None);
    }
    let mut words = line.split(|byte| is_space(*byte)).filter(|word| !word.is_empty());
    let command = match words.next() {
        Some(b"put") => put(&mut words),
        Some(b"get") => get(&mut words),
        _ => None,
    };
    // One word too many is as wrong as one too few.
    command.filter(|_| words.next().is_none()).map(Some).ok_or(WrongCommand)
}

/// The token of a line `auth TOKEN`, which servers that have tokens want to see first. `None`: it is
/// another line. To servers that have none it is a wrong command.
#[must_use]
pub fn shown_token(line: &[u8]) -> Option<&[u8]> {
    let mut words = line.split(|byte| is_space(*byte)).filter(|word| !word.is_empty());
    let token = if words.next()? == b"auth" { words.next() } else { None };
    token.filter(|_| words.next().is_none())
}

fn put<'a>(words: &mut impl Iterator<Item = &'a [u8]>) -> Option<Command<'a>> {
    // Under `*` a point could never be read back alone.
    let key = key(words.next()?).filter(|key| *key != "*")?;
    let value = text(words.next()?)?.parse().ok()?;
    let ts = text(words.next()?)?.parse().ok()?;
    Some(Command::Put { key, value, ts })
}

fn get<'a>(words: &mut impl Iterator<Item = &'a [u8]>) -> Option<Command<'a>> {
    match key(words.next()?)? {
        "*" => Some(Command::GetAll),
        key => Some(Command::Get { key }),
    }
}

fn key(word: &[u8]) -> Option<&str> {
    text(word).filter(|word| is_key(word))
}

fn text(word: &[u8]) -> Option<&str> {
    std::str::from_utf8(word).ok()
}

/// May this be a key? Not when it is empty, or has a control character or white space of any
/// script: a client that splits rows at white space would read such a row wrongly.
#[must_use]
pub fn is_key(word: &str) -> bool {
    // Nearly all keys are ASCII, and this loop is on the way of every point.
    let is_plain = word.bytes().all(|byte| byte.is_ascii_graphic());
    !word.is_empty() && (is_plain || !word.contains(|letter: char| letter.is_control() || letter.is_whitespace()))
}

/// What stands between words. (`u8::is_ascii_whitespace` leaves the vertical tab out.)
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(line: &[u8], expected: Result<Option<Command<'_>>, WrongCommand>) {
        let (got, shown) = (parse(line), String::from_utf8_lossy(line));
        // NaN differs from itself, its text does not.
        assert_eq!(format!("{got:?}"), format!("{expected:?}"), "{shown:?}");
    }

    #[track_caller]
    fn check_put(line: &str, key: &str, value: f64, ts: i64) {
        check(line.as_bytes(), Ok(Some(Command::Put { key, value, ts })));
    }

    #[track_caller]
    fn check_get(line: &str, key: &str) {
        check(line.as_bytes(), Ok(Some(Command::Get { key })));
    }

    #[track_caller]
    fn check_wrong(lines: &[&str]) {
        for line in lines {
            check(line.as_bytes(), Err(WrongCommand));
        }
    }

    #[test]
    fn commands() {
        check_put("put huginn.cpu 10.6 1642667947", "huginn.cpu", 10.6, 1_642_667_947);
        check_get("get huginn.cpu", "huginn.cpu");
        check(b"get *", Ok(Some(Command::GetAll)));
    }

    #[test]
    fn an_empty_line_is_no_command_and_one_of_spaces_a_wrong_one() {
        for line in ["", "\r", "\r\r"] {
            check(line.as_bytes(), Ok(None));
        }
        check_wrong(&[" ", "   ", "\t", " \r", "\r ", "\x0b"]);
    }

    #[test]
    fn words_are_split_at_any_ascii_white_space() {
        check_get("get a ", "a");
        check_get("get  a", "a");
        check_get("  get a", "a");
        check_get("get\ta\r", "a");
        check_get("get\x0ba\x0c", "a");
        check_put("\tput  a\t1   2 \r", "a", 1.0, 2);
    }

    #[test]
    fn a_token_is_shown_by_two_words() {
        for (line, expected) in [
            ("auth abc", Some("abc")),
            ("  auth\tabc \r", Some("abc")),
            ("auth", None),
            ("auth a b", None),
            ("AUTH a", None),
            ("put a 1 1", None),
            ("", None),
        ] {
            assert_eq!(shown_token(line.as_bytes()), expected.map(str::as_bytes), "{line:?}");
        }
        assert_eq!(shown_token(b"auth \xff"), Some(&b"\xff"[..]));
        check_wrong(&["auth abc"]);
    }

    #[test]
    fn names_of_commands_are_exact() {
        check_wrong(&["got a", "GET a", "Put a 1 1", "PUT a 1 1", "putx a 1 1", "getx a", "pu", "*", "\u{feff}get a"]);
    }

    #[test]
    fn the_number_of_words_is_exact() {
        check_wrong(&["get", "get ", "get a b", "get * b", "put", "put a", "put a 1", "put a 1 2 3"]);
        check_wrong(&["malformed command test", "get wrong command test", "put malformed command test 0 1642667947"]);
    }

    #[test]
    fn values_are_what_rust_reads_as_a_double() {
        for (text, value) in [
            ("10", 10.0),
            ("+1.5", 1.5),
            ("-0", -0.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("10.50", 10.5),
            ("1e-7", 1e-7),
            ("4.2E19", 4.2e19),
            ("1e400", f64::INFINITY),
            ("nan", f64::NAN),
            ("NaN", f64::NAN),
            ("-nan", f64::NAN),
            ("inf", f64::INFINITY),
            ("+Inf", f64::INFINITY),
            ("-infinity", f64::NEG_INFINITY),
        ] {
            check_put(&format!("put a {text} 1"), "a", value, 1);
        }
        check_wrong(&[
            "put a x 1",
            "put a 10,5 1",
            "put a 1_000 1",
            "put a 0x10 1",
            "put a 1e 1",
            "put a - 1",
            "put a ٣ 1",
        ]);
    }

    #[test]
    fn times_are_whole_seconds() {
        let ends = [i64::MIN, i64::MAX].map(|end| (end.to_string(), end));
        for (text, ts) in [("0".to_owned(), 0), ("-5".to_owned(), -5), ("+5".to_owned(), 5)].into_iter().chain(ends) {
            check_put(&format!("put a 1 {text}"), "a", 1.0, ts);
        }
        check_wrong(&[
            "put a 1 abc",
            "put a 1 1.5",
            "put a 1 2.0",
            "put a 1 1e3",
            "put a 1 9223372036854775808",
            "put a 1 -",
        ]);
    }

    #[test]
    fn keys_are_words_of_any_script() {
        let long = "k".repeat(10_000);
        for key in ["a", "ключ", "键", "🦀", "a\"b", "{a=\"b\"}", "a*", "**", "\\", &long] {
            check_get(&format!("get {key}"), key);
            check_put(&format!("put {key} 1 2"), key, 1.0, 2);
        }
        // Control characters, spaces of other scripts, a line separator.
        for key in ["a\0", "\x1b[2J", "\x7f", "a\u{85}b", "a\u{a0}b", "a\u{3000}", "\u{2028}"] {
            check_wrong(&[&format!("get {key}"), &format!("put {key} 1 2")]);
        }
        check_wrong(&["put * 1 1"]);
        check(b"get \xff", Err(WrongCommand));
        check(b"put a\xc3 1 1", Err(WrongCommand));
        check(b"get a\xed\xa0\x80", Err(WrongCommand));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(line in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _read = parse(&line);
        }

        #[test]
        fn what_is_a_key_can_be_put_and_read_back(word in "\\PC{0,12}|[ -~\u{7f}-\u{ff}]{0,12}") {
            let (put, get) = (format!("put {word} 1 2"), format!("get {word}"));
            let is_put = matches!(parse(put.as_bytes()), Ok(Some(Command::Put { key, .. })) if key == word);
            let is_got = matches!(parse(get.as_bytes()), Ok(Some(Command::Get { key })) if key == word);
            prop_assert_eq!(is_put, is_key(&word) && word != "*");
            prop_assert_eq!(is_got, is_key(&word) && word != "*");
        }
    }
}
