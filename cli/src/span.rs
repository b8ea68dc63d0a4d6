//! Moments as people write them, and the span between two of them.

use std::process::ExitCode;
use std::time::UNIX_EPOCH;

use clap::Args;
use lifecycle::exit;

/// The options that choose a span of time.
#[derive(Args)]
pub(crate) struct Span {
    /// Only points at this time or later: Unix seconds, 2026-01-31T10:00:00Z, or 1h for an hour ago.
    #[arg(long, value_name = "TIME", value_parser = moment, allow_negative_numbers = true)]
    from: Option<i64>,
    /// Only points at this time or earlier.
    #[arg(long, value_name = "TIME", value_parser = moment, allow_negative_numbers = true)]
    to: Option<i64>,
}

impl Span {
    /// Refuses a span that ends before it begins.
    pub(crate) fn check(&self) -> Result<(), ExitCode> {
        match (self.from, self.to) {
            (Some(from), Some(to)) if from > to => Err(exit::because(
                exit::USAGE,
                format!("--from {from} is later than --to {to} (in Unix seconds), so nothing can be between them"),
            )),
            _ => Ok(()),
        }
    }

    /// Is a Unix second in it? Both ends are.
    pub(crate) fn has(&self, timestamp: i64) -> bool {
        self.from.is_none_or(|from| timestamp >= from) && self.to.is_none_or(|to| timestamp <= to)
    }
}

/// How far ahead a timestamp may be: a clock that is wrong, or a zone that was forgotten, is a
/// matter of hours; milliseconds are thousands of years away.
const AHEAD_MAX: i64 = 86_400;

/// Now, in Unix seconds.
pub(crate) fn now() -> i64 {
    lifecycle::clock::unix_ms().div_euclid(1000)
}

/// The latest timestamp that is stored without being asked for, in Unix seconds.
pub(crate) fn latest() -> i64 {
    now().saturating_add(AHEAD_MAX)
}

/// Refuses a timestamp that is later than the latest.
pub(crate) fn check_not_ahead(timestamp: i64, latest: i64) -> Result<(), String> {
    /// No second before the year 5138, and every millisecond since 1973.
    const MILLISECONDS_MIN: i64 = 100_000_000_000;
    if timestamp <= latest {
        return Ok(());
    }
    let looks = if timestamp >= MILLISECONDS_MIN { " and looks like milliseconds" } else { "" };
    Err(format!("the timestamp {timestamp} is more than a day ahead{looks}; --allow-future stores it all the same"))
}

/// Unix seconds from what a person wrote, for clap.
pub(crate) fn moment(text: &str) -> Result<i64, String> {
    parse(text, now())
        .ok_or_else(|| "accepted: Unix seconds, a time such as 2026-01-31T10:00:00Z, or 1h for an hour ago".to_owned())
}

fn parse(text: &str, now: i64) -> Option<i64> {
    if let Some(moment) = absolute(text) {
        return Some(moment);
    }
    let ago = lifecycle::duration(text)?;
    now.checked_sub(i64::try_from(ago.as_secs()).ok()?)
}

/// A moment that is the same whenever it is read: Unix seconds or RFC 3339.
pub(crate) fn absolute(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| rfc3339(text))
}

/// RFC 3339 with any offset; fractions of a second are cut off.
fn rfc3339(text: &str) -> Option<i64> {
    let utc = |text: &str| {
        let time = humantime::parse_rfc3339(text).ok()?;
        i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
    };
    let text = text.to_ascii_uppercase();
    if text.ends_with('Z') {
        return utc(&text);
    }
    // The offset is what stands behind the last sign: +02:00.
    let sign = text.len().checked_sub("+02:00".len())?;
    let (local, offset) = (text.get(..sign)?, text.get(sign..)?);
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let (hours, minutes): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let east = i64::from(hours) * 3600 + i64::from(minutes) * 60;
    let local = utc(&format!("{local}Z"))?;
    match offset.get(..1)? {
        "+" => Some(local - east),
        "-" => Some(local + east),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<i64>) {
        assert_eq!(parse(text, 1_000_000), expected, "{text}");
    }

    #[test]
    fn moments() {
        check("1642667947", Some(1_642_667_947));
        check("-5", Some(-5));
        check("0", Some(0));
        check("1h", Some(1_000_000 - 3600));
        check("250ms", Some(1_000_000));
        check("30d", Some(1_000_000 - 30 * 86_400));
        check("2022-01-20T08:39:07Z", Some(1_642_667_947));
        check("2022-01-20T08:39:07.999Z", Some(1_642_667_947));
        check("2022-01-20t08:39:07z", Some(1_642_667_947));
        check("2022-01-20T10:39:07+02:00", Some(1_642_667_947));
        check("2022-01-20T03:09:07-05:30", Some(1_642_667_947));
        check("1970-01-01T00:30:00+01:00", Some(-1800));
    }

    #[test]
    fn what_is_no_moment() {
        for text in ["", "soon", "1.5", "2022-01-20", "2022-01-20T08:39:07", "2022-13-20T08:39:07Z", "+02:00"] {
            check(text, None);
        }
        check("2022-01-20T08:39:07+24:00", None);
        check("2022-01-20T08:39:07*02:00", None);
        check("2022-01-20T08:39:07+0é:0", None);
        check("9223372036854775808", None);
    }

    #[test]
    fn what_is_ahead() {
        check_not_ahead(86_400, 86_400).unwrap();
        check_not_ahead(i64::MIN, i64::MIN).unwrap();
        check_not_ahead(i64::MAX, i64::MAX).unwrap();
        let error = check_not_ahead(86_401, 86_400).unwrap_err();
        assert!(!error.contains("milliseconds"), "{error}");
        check_not_ahead(now() * 1000, latest()).unwrap_err();
    }

    #[test]
    fn both_ends_are_in_a_span() {
        let span = Span { from: Some(-1), to: Some(1) };
        assert_eq!([-2, -1, 0, 1, 2].map(|second| span.has(second)), [false, true, true, true, false]);
        assert!(Span { from: None, to: None }.has(i64::MIN));
    }
}
