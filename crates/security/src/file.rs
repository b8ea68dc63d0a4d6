//! The file of tokens: TOML, one `[[token]]` for each.
//!
//! ```toml
//! [[token]]
//! name = "web"                 # for logs; each its own
//! token = "…"                  # openssl rand -hex 32
//! scopes = ["push"]            # push, read, put, admin
//! agents = ["web-*"]           # names that it may push as; without it, all
//! expires = 2027-01-31         # or 2027-01-31T12:00:00Z; without it, never
//! ```
//!
//! The tokens stand there themselves and not their hashes: a proof on the link is keyed by the token,
//! and who has what verifies it can make it as well. No message tells anything of what stands
//! in the file but names of tokens and numbers of lines.

use toml::value::{Datetime, Offset};
use toml::{Table, Value};

use crate::glob;
use crate::secret::Secret;
use crate::tokens::{Scope, Scopes, Token, Tokens};

/// Longest file: that many tokens fit.
pub const FILE_BYTES_MAX: u64 = 2 << 20;
/// Longest name of a token.
const NAME_BYTES_MAX: usize = 64;
/// Most patterns of one token.
const AGENTS_MAX: usize = 1000;
/// What may stand in a `[[token]]`.
const KEYS: [&str; 5] = ["name", "token", "scopes", "agents", "expires"];

/// What a file says, and names of tokens that are short enough to be guessed.
#[derive(Debug)]
pub struct Read {
    /// The tokens.
    pub tokens: Tokens,
    /// Names of those that are too short.
    pub short: Vec<String>,
}

/// Reads a file of tokens.
///
/// # Errors
/// One sentence on the first thing that is wrong, which never tells a token.
pub fn read(bytes: &[u8]) -> Result<Read, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    // The parser's own message shows the line, and with it the token.
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().and_then(|span| text.get(..span.start)).map_or(1, |before| before.split('\n').count());
        format!("line {line} is not TOML")
    })?;
    if table.keys().any(|key| key != "token") {
        return Err("it has something else than [[token]] at its top".to_owned());
    }
    let list = match table.get("token") {
        Some(Value::Array(list)) => list.as_slice(),
        Some(_) => return Err("each token begins with [[token]], with two brackets".to_owned()),
        None => &[],
    };
    let (mut tokens, mut short) = (Vec::new(), Vec::new());
    for (at, value) in list.iter().enumerate() {
        let number = at + 1;
        let entry = value.as_table().ok_or_else(|| format!("token {number} is no [[token]]"))?;
        let (token, is_short) = token(entry).map_err(|why| format!("token {number}: {why}"))?;
        if is_short && let Some(Value::String(name)) = entry.get("name") {
            short.push(name.clone());
        }
        tokens.push(token);
    }
    Ok(Read { tokens: Tokens::new(tokens)?, short })
}

fn token(entry: &Table) -> Result<(Token, bool), String> {
    if entry.keys().any(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("it has a key that is none of {}", KEYS.join(", ")));
    }
    let name = text(entry, "name")?.ok_or("it has no name")?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._:-@".contains(c);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_plain) {
        return Err(format!("its name is not 1 to {NAME_BYTES_MAX} characters of A-Z a-z 0-9 . _ : - @"));
    }
    let secret = Secret::new(text(entry, "token")?.ok_or("it has no token")?).map_err(|bad| bad.to_string())?;
    let mut scopes = Scopes::default();
    for scope in strings(entry, "scopes")?.ok_or("it has no scopes")? {
        let scope = Scope::of(scope).ok_or("a scope is none of push, read, put, admin")?;
        scopes = scopes.with(scope);
    }
    if scopes.is_empty() {
        return Err("its scopes are empty".to_owned());
    }
    let agents = match strings(entry, "agents")? {
        None => vec!["*".to_owned()],
        Some(_) if !scopes.has(Scope::Push) => {
            return Err("it has agents, which only count with the scope push".to_owned());
        }
        Some(agents) if agents.is_empty() => {
            return Err("its agents are empty; without the key it may push as all".to_owned());
        }
        Some(agents) if agents.len() > AGENTS_MAX => return Err(format!("it has more than {AGENTS_MAX} agents")),
        Some(agents) if !agents.iter().all(|agent| glob::is_pattern(agent)) => {
            return Err("one of its agents is no name with * and ?".to_owned());
        }
        Some(agents) => agents.into_iter().map(str::to_owned).collect(),
    };
    let expires_ms = match entry.get("expires") {
        None => None,
        Some(Value::Datetime(datetime)) => {
            Some(unix_ms(datetime).ok_or("its expires has no date, or a time without Z or an offset")?)
        }
        Some(_) => return Err("its expires is no date such as 2027-01-31 (without quotes)".to_owned()),
    };
    Ok((Token::new(name, &secret, scopes, agents, expires_ms), secret.is_short()))
}

fn text<'a>(entry: &'a Table, key: &str) -> Result<Option<&'a str>, String> {
    match entry.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("its {key} is not a text in quotes")),
    }
}

fn strings<'a>(entry: &'a Table, key: &str) -> Result<Option<Vec<&'a str>>, String> {
    let wrong = || format!("its {key} is not a list of texts, such as [\"a\", \"b\"]");
    match entry.get(key) {
        None => Ok(None),
        Some(Value::Array(list)) => {
            let texts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            texts.map(Some).ok_or_else(wrong)
        }
        Some(_) => Err(wrong()),
    }
}

/// Unix time of a date, at its beginning by UTC, or of a moment. `None`: it is neither.
fn unix_ms(datetime: &Datetime) -> Option<i64> {
    let date = datetime.date?;
    let seconds = match (&datetime.time, &datetime.offset) {
        (None, None) => 0,
        (Some(time), Some(offset)) => {
            let minutes = match offset {
                Offset::Z => 0,
                Offset::Custom { minutes } => i64::from(*minutes),
            };
            let of_day = (i64::from(time.hour) * 60 + i64::from(time.minute)) * 60;
            of_day + i64::from(time.second.unwrap_or(0)) - minutes * 60
        }
        _ => return None,
    };
    Some((days(i64::from(date.year), i64::from(date.month), i64::from(date.day)) * 86_400 + seconds) * 1000)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years begin in March here, so that the
/// day that some have more comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::Denied;

    const GOOD: &str = r#"
# What agents show.
[[token]]
name = "web"
token = "hunter2-hunter2-hunter2"
scopes = ["push"]
agents = ["web-*"]
expires = 2027-01-31

[[token]]
name = "ops"
token = "0123456789"
scopes = ["push", "read", "put", "admin"]
"#;

    #[test]
    fn a_file() {
        let Read { tokens, short } = read(GOOD.as_bytes()).unwrap();
        assert_eq!(short, ["ops"]);
        let end = 1_801_353_600_000; // date -ud 2027-01-31 +%s
        let web = tokens.recognise(b"hunter2-hunter2-hunter2", end - 1).unwrap();
        assert_eq!(tokens.may(&web, Scope::Push, Some("web-7"), end - 1), Ok(()));
        assert_eq!(tokens.may(&web, Scope::Push, Some("db-7"), end - 1), Err(Denied::Agent));
        assert_eq!(tokens.may(&web, Scope::Push, Some("web-7"), end), Err(Denied::Expired));
        let ops = tokens.recognise(b"0123456789", end).unwrap();
        assert_eq!(tokens.may(&ops, Scope::Push, Some("db-7"), end), Ok(()));
    }

    #[test]
    fn dates() {
        // As `date -ud … +%s` has them.
        for (text, seconds) in [
            ("1970-01-01", 0),
            ("2000-02-29", 951_782_400),
            ("2026-12-31T23:59:59Z", 1_798_761_599),
            ("2026-12-31T23:59:59+02:00", 1_798_754_399),
            ("2100-03-01", 4_107_542_400),
        ] {
            assert_eq!(unix_ms(&text.parse().unwrap()), Some(seconds * 1000), "{text}");
        }
        for text in ["12:00:00", "2026-12-31T23:59:59"] {
            assert_eq!(unix_ms(&text.parse().unwrap()), None, "{text}");
        }
    }

    /// One thing of a good file changed; the message has this, and no token.
    #[track_caller]
    fn check_bad(from: &str, to: &str, why: &str) {
        let text = GOOD.replace(from, to);
        assert_ne!(text, GOOD);
        let error = read(text.as_bytes()).unwrap_err();
        assert!(error.contains(why), "{error}");
        assert!(!error.contains("hunter") && !error.contains("0123"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_said_without_a_token() {
        check_bad("\"hunter2-hunter2-hunter2\"", "hunter2", "line 5 is not TOML");
        check_bad("\"hunter2-hunter2-hunter2\"", "\"hunter2 \"", "token 1: a token has visible ASCII");
        check_bad("\"hunter2-hunter2-hunter2\"", "2", "token 1: its token is not a text in quotes");
        check_bad("token = \"hunter2-hunter2-hunter2\"", "", "token 1: it has no token");
        check_bad("token = \"hunter2-hunter2-hunter2\"", "hunter2 = \"x\"", "it has a key that is none of name, token");
        check_bad("\"hunter2-hunter2-hunter2\"", "\"0123456789\"", "\"ops\" is the same as one before");
        check_bad("\"push\", \"read\"", "\"hunter2\"", "token 2: a scope is none of push, read, put, admin");
        check_bad("[\"push\"]", "[]", "token 1: its scopes are empty");
        check_bad("[\"push\"]", "\"push\"", "token 1: its scopes is not a list");
        check_bad("scopes = [\"push\"]", "scopes = [\"read\"]", "which only count with the scope push");
        check_bad("\"web-*\"", "\"web *\"", "is no name with * and ?");
        check_bad("[\"web-*\"]", "[]", "token 1: its agents are empty");
        check_bad("2027-01-31", "\"2027-01-31\"", "token 1: its expires is no date");
        check_bad("2027-01-31", "2027-01-31T12:00:00", "a time without Z");
        check_bad("\"ops\"", "\"web\"", "two tokens are called \"web\"");
        check_bad("\"ops\"", "\"o s\"", "token 2: its name is not 1 to 64");
        check_bad("[[token]]\nname = \"ops\"", "[[tokens]]\nname = \"ops\"", "something else than [[token]]");
        for (text, why) in
            [("", "there is no token"), ("token = 1", "two brackets"), ("token = [1]", "is no [[token]]")]
        {
            assert!(read(text.as_bytes()).unwrap_err().contains(why), "{text}");
        }
        assert!(read(b"\xff").unwrap_err().contains("UTF-8"));
    }
}
