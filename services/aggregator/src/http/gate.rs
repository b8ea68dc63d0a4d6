//! Who may ask what over HTTP. It is asked before any route is, so that none can be forgotten: what
//! is not named here needs the scope `read`.

use std::net::SocketAddr;

use security::{Denied, Scope};
use warp::http::{HeaderMap, Method, StatusCode, header as name};
use warp::reply::Response as Reply;

use super::sentence;
use crate::access::{Access, Listener, now_ms};

/// What is asked for without a name.
const REALM: [&str; 2] = ["Bearer realm=\"fleetgauge\"", "Basic realm=\"fleetgauge\", charset=\"UTF-8\""];
/// Longest `Authorization` that is looked at: the longest token with a long user name, in base64.
const HEADER_BYTES_MAX: usize = 2048;

/// What this needs; `None`: anybody may.
fn needed(method: &Method, path: &str) -> Option<Scope> {
    match (method, path) {
        (&Method::GET | &Method::HEAD, "/healthz" | "/readyz") => None,
        (&Method::DELETE, _) => Some(Scope::Admin),
        _ => Some(Scope::Read),
    }
}

/// Lets a request pass, or says why not.
pub(super) fn pass(
    access: &Access,
    peer: SocketAddr,
    has_certificate: bool,
    (method, path, headers): (&Method, &str, &HeaderMap),
) -> Result<(), Box<Reply>> {
    let Some(scope) = needed(method, path) else { return Ok(()) };
    if access.wants_certificates() && !has_certificate {
        access.no_certificate();
        return Err(Box::new(sentence(StatusCode::FORBIDDEN, "a client certificate is needed here")));
    }
    if !access.wants_tokens() {
        if scope == Scope::Admin {
            let text = "removing needs a token of the scope admin, and this aggregator has no tokens: set FLEETGAUGE_TOKENS_FILE";
            return Err(Box::new(sentence(StatusCode::FORBIDDEN, text)));
        }
        return Ok(());
    }
    let tokens = access.tokens();
    let allowed = match headers.get(name::AUTHORIZATION).map(|value| shown(value.as_bytes())) {
        None => Err(Denied::Missing),
        Some(None) => Err(Denied::Wrong),
        Some(Some(token)) => {
            tokens.recognise(&token, now_ms()).and_then(|grant| tokens.may(&grant, scope, None, now_ms()))
        }
    };
    allowed.map_err(|denied| {
        access.denied(Listener::Http, peer, denied);
        Box::new(refuse(denied))
    })
}

fn refuse(denied: Denied) -> Reply {
    if matches!(denied, Denied::Scope(_) | Denied::Agent) {
        return sentence(StatusCode::FORBIDDEN, &denied.to_string());
    }
    let mut reply = sentence(StatusCode::UNAUTHORIZED, &denied.to_string());
    for way in REALM {
        reply.headers_mut().append(name::WWW_AUTHENTICATE, name::HeaderValue::from_static(way));
    }
    reply
}

/// The token of `Bearer TOKEN`, or of `Basic` with any user name. `None`: it is neither.
fn shown(header: &[u8]) -> Option<Vec<u8>> {
    if header.len() > HEADER_BYTES_MAX {
        return None;
    }
    let at = header.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = header.split_at(at);
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(rest.to_vec());
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let pair = unbase64(rest)?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    pair.get(colon + 1..).map(<[u8]>::to_vec)
}

/// The bytes of base64 (RFC 4648, 4), with its padding or without.
fn unbase64(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = text.get(..text.len() - padding)?;
    if padding > 2 || digits.len() % 4 == 1 {
        return None;
    }
    let (mut bytes, mut bits, mut held) = (Vec::with_capacity(digits.len() * 3 / 4), 0_u32, 0_u32);
    for digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).unwrap_or(0));
        }
        bits &= (1 << held) - 1;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_what() {
        for (method, path, expected) in [
            (Method::GET, "/healthz", None),
            (Method::GET, "/readyz", None),
            (Method::HEAD, "/readyz", None),
            (Method::POST, "/healthz", Some(Scope::Read)),
            (Method::GET, "/healthz/", Some(Scope::Read)),
            (Method::GET, "/metrics", Some(Scope::Read)),
            (Method::GET, "/", Some(Scope::Read)),
            (Method::GET, "/api/v1/agents", Some(Scope::Read)),
            (Method::GET, "/nobody/knows", Some(Scope::Read)),
            (Method::DELETE, "/api/v1/agents/huginn", Some(Scope::Admin)),
            (Method::DELETE, "/healthz", Some(Scope::Admin)),
        ] {
            assert_eq!(needed(&method, path), expected, "{method} {path}");
        }
    }

    #[track_caller]
    fn check_shown(header: &str, expected: Option<&str>) {
        assert_eq!(shown(header.as_bytes()).as_deref(), expected.map(str::as_bytes), "{header}");
    }

    #[test]
    fn two_ways_to_show_a_token() {
        check_shown("Bearer abc", Some("abc"));
        check_shown("bearer  abc ", Some("abc"));
        // printf prometheus:abc | base64
        check_shown("Basic cHJvbWV0aGV1czphYmM=", Some("abc"));
        check_shown("basic cHJvbWV0aGV1czphYmM", Some("abc"));
        check_shown("Basic OmE6Yg==", Some("a:b"));
        check_shown("Basic Og==", Some(""));
        for bad in ["", "Bearer", "abc", "Digest abc", "Basic ", "Basic a", "Basic a*==", "Basic YWJj", "Basic OmE==="]
        {
            check_shown(bad, None);
        }
        check_shown(&format!("Bearer {}", "x".repeat(HEADER_BYTES_MAX)), None);
    }

    #[test]
    fn base64_of_any_bytes() {
        assert_eq!(unbase64(b"AP+/gA=="), Some(vec![0, 0xff, 0xbf, 0x80]));
        assert_eq!(unbase64(b""), Some(vec![]));
    }
}
