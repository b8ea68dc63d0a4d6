//! Requests to whoever takes remote write, and what their answers mean. Nothing here tries again.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// A request that is not answered by then has failed.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// A connection that is not there by then.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// What is read of an answer, for the log.
const ANSWER_BYTES_MAX: usize = 4 * 1024;
/// What is logged of it.
const ANSWER_CHARS_MAX: usize = 300;
/// Longest token file.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

#[cfg(feature = "tls")]
type Connector = hyper_rustls::HttpsConnector<HttpConnector>;
#[cfg(not(feature = "tls"))]
type Connector = HttpConnector;

/// What an answer means for what was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is written.
    Written,
    /// Something of it is not taken, and never will be.
    Refused(String),
    /// Not now.
    Again {
        /// Why, for the log.
        why: String,
        /// When at the earliest.
        after: Option<Duration>,
    },
}

/// Where to write.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: Http<Connector, Full<Bytes>>,
    url: Uri,
    token_file: Option<PathBuf>,
}

impl Client {
    pub(super) fn new(url: Uri, token_file: Option<PathBuf>) -> io::Result<Self> {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_WITHIN));
        connector.set_nodelay(true);
        let mut http = Http::builder(TokioExecutor::new());
        let http = http.pool_max_idle_per_host(super::SIDE_BY_SIDE).build(secured(connector)?);
        Ok(Self { http, url, token_file })
    }

    /// Sends one request.
    pub(super) async fn write(&self, body: Vec<u8>) -> Answer {
        let asked = async {
            let request = self.request(body).await.map_err(|error| error.to_string())?;
            let response = self.http.request(request).await.map_err(|error| causes(&error))?;
            let (head, body) = response.into_parts();
            Ok::<_, String>(meaning(head.status, &head.headers, &beginning(body).await))
        };
        match tokio::time::timeout(ANSWER_WITHIN, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) => Answer::Again { why, after: None },
            Err(_) => Answer::Again { why: format!("no answer within {ANSWER_WITHIN:?}"), after: None },
        }
    }

    async fn request(&self, body: Vec<u8>) -> io::Result<Request<Full<Bytes>>> {
        let mut request =
            Request::post(self.url.clone()).body(Full::new(Bytes::from(body))).map_err(io::Error::other)?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
        headers.insert("x-prometheus-remote-write-version", HeaderValue::from_static("0.1.0"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("fleetgauge/", env!("CARGO_PKG_VERSION"))));
        if let Some(path) = self.token_file.clone() {
            // At each request, so that a token that was changed is used.
            let token = tokio::task::spawn_blocking(move || read_token(&path)).await.map_err(io::Error::other)??;
            headers.insert(AUTHORIZATION, token);
        }
        Ok(request)
    }
}

fn read_token(path: &std::path::Path) -> io::Result<HeaderValue> {
    use std::io::Read as _;
    let named = |error: &dyn std::fmt::Display| {
        io::Error::other(format!("FLEETGAUGE_REMOTE_WRITE_TOKEN_FILE, {}: {error}", path.display()))
    };
    let mut token = String::new();
    let file = std::fs::File::open(path).map_err(|error| named(&error))?;
    file.take(TOKEN_BYTES_MAX as u64).read_to_string(&mut token).map_err(|error| named(&error))?;
    let mut header = HeaderValue::try_from(format!("Bearer {}", token.trim()))
        .map_err(|_| named(&"it holds what no header can carry"))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(feature = "tls")]
fn secured(mut connector: HttpConnector) -> io::Result<Connector> {
    connector.enforce_http(false);
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _unreadable) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(added, "certificates that remote write over https is checked by");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let https = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1();
    Ok(https.wrap_connector(connector))
}

#[cfg(not(feature = "tls"))]
#[expect(clippy::unnecessary_wraps, reason = "with TLS it may fail")]
fn secured(connector: HttpConnector) -> io::Result<Connector> {
    Ok(connector)
}

/// The error and what caused it: the client's own text says no more than that it failed.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The first bytes of an answer, as far as they come.
async fn beginning(mut body: impl Body<Data = Bytes> + Unpin) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_BYTES_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        if let Ok(data) = frame.into_data() {
            bytes.extend(data.into_iter().take(ANSWER_BYTES_MAX - bytes.len()));
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The first line of an answer as a log may show it: not long, and without what a terminal obeys.
fn first_line(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let shown = line.chars().take(ANSWER_CHARS_MAX);
    shown.map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

fn meaning(status: StatusCode, headers: &HeaderMap, text: &str) -> Answer {
    let why = format!("{status}: {}", first_line(text));
    match status {
        _ if status.is_success() => Answer::Written,
        // These speak of the request as a whole, or of us: somebody may mend it.
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::REQUEST_TIMEOUT
        | StatusCode::TOO_MANY_REQUESTS => Answer::Again { why, after: retry_after(headers) },
        _ if status.is_client_error() => Answer::Refused(why),
        _ => Answer::Again { why, after: retry_after(headers) },
    }
}

/// In seconds; a date is not understood, and the usual wait holds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_an_answer_the_log_shows_the_beginning_and_no_control_characters() {
        let why = |text: String| async move {
            let text = beginning(Full::new(Bytes::from(text))).await;
            match meaning(StatusCode::BAD_REQUEST, &HeaderMap::new(), &text) {
                Answer::Refused(why) => why,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            why("\n out of \u{1b}[31morder\u{9b}\r\nmore".into()).await,
            "400 Bad Request: out of \\u{1b}[31morder\\u{9b}"
        );
        let long = why(format!("too many {}", "x".repeat(ANSWER_BYTES_MAX))).await;
        assert!(long.contains(": too many xxx") && long.len() < 400, "{long}");
    }
}
