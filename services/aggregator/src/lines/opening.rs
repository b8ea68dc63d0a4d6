//! How a connection begins: with a line of put and get, or with an HTTP request. A browser sends
//! one to any port that a page names, and whoever made the page chooses the body: its lines would
//! be stored. Nothing is read or sent here.

use protocol::lines::Line;

/// What the reply says to a sender of HTTP.
pub(super) const NOT_HTTP: &str = "this is not HTTP";

/// What it says to one of TLS.
pub(super) const NOT_TLS: &str = "this port does not speak TLS: FLEETGAUGE_TLS=off speaks to it";

/// How far the beginning of a connection was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Opening {
    /// No line came yet.
    #[default]
    Awaited,
    /// All lines so far were lost, as a request with an address of 64 KiB is. What follows tells.
    Lost,
    /// It was none of HTTP.
    Passed,
}

impl Opening {
    /// Is this, which came first and is no whole line, the beginning of TLS? No request begins so.
    pub(super) fn is_tls(self, rest: &[u8]) -> bool {
        self == Self::Awaited && rest.first() == Some(&security::tls::FIRST_BYTE)
    }

    /// Does this line, which is the next one, say that the sender speaks HTTP? No request of put or
    /// get looks so.
    pub(super) fn is_http(&mut self, line: &Line<'_>) -> bool {
        let is_http = match (*self, line) {
            (Self::Passed, _) => return false,
            (_, Line::Lost(_)) => {
                *self = Self::Lost;
                return false;
            }
            (Self::Awaited, Line::Whole(line)) => is_request(line),
            (Self::Lost, Line::Whole(line)) => is_request(line) || is_header(line),
        };
        *self = Self::Passed;
        is_http
    }
}

/// `POST / HTTP/1.1`
fn is_request(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    [b" HTTP/1.0", b" HTTP/1.1", b" HTTP/2.0"].iter().any(|version| line.ends_with(*version))
}

/// `Host: example.org`, or another header: a first word of letters and dashes with a colon.
fn is_header(line: &[u8]) -> bool {
    let name = line.iter().position(|byte| *byte == b':').and_then(|at| line.get(..at));
    name.is_some_and(|name| !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-'))
}

#[cfg(test)]
mod tests {
    use protocol::lines::Lost;

    use super::*;

    /// Is the last of these lines taken for HTTP, and none before it?
    #[track_caller]
    fn check(lines: &[Option<&str>], expected: bool) {
        let mut opening = Opening::default();
        let said = lines.iter().map(|line| line.map_or(Line::Lost(Lost::TooLong), |line| Line::Whole(line.as_bytes())));
        let mut said: Vec<bool> = said.map(|line| opening.is_http(&line)).collect();
        let last = said.pop();
        assert_eq!((said.contains(&true), last), (false, Some(expected)), "{lines:?}");
    }

    #[test]
    fn a_request_is_known_by_the_first_line() {
        check(&[Some("POST / HTTP/1.1\r")], true);
        check(&[Some("GET /put HTTP/1.0")], true);
        check(&[Some("PRI * HTTP/2.0\r")], true);
        check(&[None, Some("Host: example.org\r")], true);
        check(&[None, None, Some("content-type: text/plain\r")], true);
        check(&[None, Some("GET / HTTP/1.1\r")], true);
        check(&[Some("put HTTP/1.1 1 1")], false);
        check(&[Some("put k 1 HTTP/1.1x")], false);
        check(&[Some("get k"), Some("GET / HTTP/1.1")], false);
        check(&[Some(""), Some("GET / HTTP/1.1")], false);
        check(&[None, Some("put a:b 1 1")], false);
        check(&[None, Some("get k"), Some("Host: x")], false);
        check(&[Some("Host: x")], false);
    }
}
