//! Asking an aggregator over HTTP, and what is said when that does not work. One question, one
//! connection; an answer is read up to a bound.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Body;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::{Method, Uri};
use hyper_util::rt::TokioIo;
use lifecycle::{Settings, SettingsError, exit};
use security::{Connector, Secret, Stream, TlsError};
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use crate::access::{self, Access, GIVES_TOKEN};
use crate::server::duration;

/// Longest answer: 100,000 agents of some 600 bytes.
const BODY_BYTES_MAX: usize = 64 << 20;

/// What may help when nobody answers, or somebody else does.
const NOBODY: &str = "does an aggregator run there? --http URL or FLEETGAUGE_HTTP names another";

/// The options that every verb has which asks over HTTP.
#[derive(Args)]
pub(crate) struct Http {
    /// Where the aggregator answers HTTP; with TLS a URL that begins with https://. Without it
    /// FLEETGAUGE_HTTP, without that port 9400 of 127.0.0.1.
    #[arg(long, value_name = "URL", value_parser = base)]
    http: Option<Base>,
    /// How long to wait for the answer.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    access: Access,
}

/// Where an aggregator is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Base {
    is_tls: bool,
    host: String,
    port: u16,
    /// What stands before every path, without a slash at its end.
    path: String,
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http{}://{}:{}", if self.is_tls { "s" } else { "" }, self.host, self.port)
    }
}

/// An aggregator that was chosen.
pub(crate) struct Target {
    base: Base,
    timeout: Duration,
    token: Option<Secret>,
    tls: Option<Connector>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    body: Bytes,
}

impl Http {
    /// The aggregator to ask. Wrong settings are said here.
    pub(crate) fn resolve(&self) -> Result<Target, ExitCode> {
        let mut settings = self.access.settings()?;
        let (base, wants_tls) = self.base(&settings).map_err(access::wrong)?;
        if base.is_tls {
            settings = settings.with(access::TLS, "on");
        } else if wants_tls {
            // Whoever wants TLS must not send a token without it because of one letter.
            let why = "--tls-ca or FLEETGAUGE_TLS=on asks for TLS, and this URL does not begin with https://";
            return Err(exit::because(exit::SETTINGS, format!("{base}: {why}")));
        }
        let (token, tls) = (self.access.token(&settings)?, access::connector(&settings)?);
        Ok(Target { base, timeout: self.timeout, token, tls })
    }

    /// Where to ask, and whether something else than the URL wants TLS.
    fn base(&self, settings: &Settings) -> Result<(Base, bool), SettingsError> {
        const NAME: &str = "FLEETGAUGE_HTTP";
        let wants_tls = settings.one_of(access::TLS, &["on", "off"])? == "on";
        let base = match &self.http {
            Some(base) => base.clone(),
            None => {
                let base = base(&settings.text(NAME)?).map_err(|why| settings.bad(NAME, &why))?;
                Base { is_tls: base.is_tls || (wants_tls && !settings.is_given(NAME)), ..base }
            }
        };
        Ok((base, wants_tls))
    }
}

impl Target {
    /// Asks for a path; what is wrong is said here. 404 is an answer.
    pub(crate) fn get(&self, path: &str) -> Result<Reply, ExitCode> {
        let reply = self.ask(Method::GET, path)?;
        if matches!(reply.status, 200 | 404) { Ok(reply) } else { Err(self.refused(&reply)) }
    }

    /// Removes what the path names; what is wrong is said here, 404 too.
    pub(crate) fn delete(&self, path: &str) -> Result<Reply, ExitCode> {
        let reply = self.ask(Method::DELETE, path)?;
        if reply.status == 200 { Ok(reply) } else { Err(self.refused(&reply)) }
    }

    /// Says what the aggregator said, and what to do about it.
    fn refused(&self, Reply { status, body }: &Reply) -> ExitCode {
        let text = String::from_utf8_lossy(body);
        let text: String = text.trim().chars().filter(|c| !c.is_control()).take(300).collect();
        let hint = match status {
            401 if self.token.is_none() => format!("; a token is given by {GIVES_TOKEN}"),
            401 => format!("; another is given by {GIVES_TOKEN}"),
            403 if text.contains("client certificate") => {
                "; FLEETGAUGE_TLS_CLIENT_CERT_FILE and FLEETGAUGE_TLS_CLIENT_KEY_FILE name one".to_owned()
            }
            403 if self.token.is_some() => format!("; a token that may is given by {GIVES_TOKEN}"),
            _ => String::new(),
        };
        exit::because(exit::FAILED, format!("{} answered {status}: {text}{hint}", self.base))
    }

    fn ask(&self, method: Method, path: &str) -> Result<Reply, ExitCode> {
        let unreachable = |why: String| exit::because(exit::UNREACHABLE, format!("{}: {why}", self.base));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| exit::because(exit::FAILED, error))?;
        runtime.block_on(async {
            match tokio::time::timeout(self.timeout, self.exchange(method, path)).await {
                Ok(answered) => answered.map_err(unreachable),
                Err(_) => Err(unreachable(format!("no answer within {:?}; --timeout 1m waits longer", self.timeout))),
            }
        })
    }

    async fn connect(&self) -> Result<Stream, String> {
        let Base { host, port, .. } = &self.base;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let tcp = TcpStream::connect((bare, *port)).await.map_err(|error| format!("{error}; {NOBODY}"))?;
        let Some(tls) = &self.tls else { return Ok(Stream::Plain(tcp)) };
        tls.connect(tcp, bare).await.map_err(|error| match error {
            TlsError::NotTls => format!("{error}; without TLS the URL begins with http://"),
            other => other.to_string(),
        })
    }

    async fn exchange(&self, method: Method, path: &str) -> Result<Reply, String> {
        let Base { host, port, path: before, .. } = &self.base;
        let stream = self.connect().await?;
        let said = |error: hyper::Error| match &self.tls {
            Some(_) => cause(&error),
            None => format!("{}; {NOBODY}", cause(&error)),
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
        let talking = tokio::spawn(connection);
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(format!("{before}{path}"))
            .header(HOST, format!("{host}:{port}"))
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        if let Some(token) = &self.token {
            let bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()));
            let mut bearer = bearer.map_err(|_| "the token cannot be sent over HTTP".to_owned())?;
            bearer.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        let reply = sender.send_request(request).await.map_err(said)?;
        let status = reply.status().as_u16();
        let said_bytes = reply.body().size_hint().lower();
        if said_bytes > BODY_BYTES_MAX as u64 {
            return Err(format!("an answer of {said_bytes} bytes is too long"));
        }
        let body = Limited::new(reply.into_body(), BODY_BYTES_MAX).collect().await;
        talking.abort();
        let body = body.map_err(|error| format!("the answer broke off: {error}"))?.to_bytes();
        Ok(Reply { status, body })
    }

    /// What an answer says; what is wrong is said here.
    pub(crate) fn read<T: DeserializeOwned>(&self, reply: &Reply) -> Result<T, ExitCode> {
        serde_json::from_slice(&reply.body).map_err(|error| {
            let hint = "is this the HTTP port of an aggregator of this version?";
            exit::because(exit::FAILED, format!("{}: the answer cannot be read ({error}); {hint}", self.base))
        })
    }
}

/// The innermost reason: what stands around it says less.
fn cause(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn base(text: &str) -> Result<Base, String> {
    let accepted = || "accepted: a URL such as http://aggregator:9400 or https://aggregator:9400".to_owned();
    let uri: Uri = text.parse().map_err(|_| accepted())?;
    let host = uri.host().filter(|host| !host.is_empty() && uri.query().is_none()).ok_or_else(accepted)?;
    let is_tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(accepted()),
    };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(accepted());
    }
    let is_bare = uri.authority().is_some_and(|authority| authority.as_str() == host);
    let usual = if is_tls { 443 } else { 80 };
    let port = uri.port_u16().filter(|port| *port != 0).or(is_bare.then_some(usual)).ok_or_else(accepted)?;
    let path = uri.path().trim_end_matches('/').to_owned();
    Ok(Base { is_tls, host: host.to_owned(), port, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let good = |text: &str| base(text).map(|base| (base.to_string(), base.path)).unwrap();
        let is = |text: &str, path: &str| (text.to_owned(), path.to_owned());
        assert_eq!(good("http://127.0.0.1:9400"), is("http://127.0.0.1:9400", ""));
        assert_eq!(good("https://[::1]:9400/"), is("https://[::1]:9400", ""));
        assert_eq!(good("http://proxy/fleet/"), is("http://proxy:80", "/fleet"));
        assert_eq!(good("https://proxy/fleet/"), is("https://proxy:443", "/fleet"));
        for bad in
            ["", "aggregator:9400", "http://", "ftp://x", "http://u:p@x:9400", "http://x:9400/?a=b", "http://x:99999"]
        {
            base(bad).unwrap_err();
        }
    }

    #[test]
    fn where_it_is_when_nobody_says() {
        let http = Http { http: None, timeout: Duration::from_secs(1), access: Access::default() };
        let check = |pairs: &[(&str, &str)], expected: &str, wants_tls: bool| {
            let settings = Settings::from_pairs(pairs.iter().copied()).unwrap();
            let (base, wants) = http.base(&settings).unwrap();
            assert_eq!((base.to_string().as_str(), wants), (expected, wants_tls));
        };
        check(&[], "http://127.0.0.1:9400", false);
        check(&[(access::TLS, "on")], "https://127.0.0.1:9400", true);
        check(&[("FLEETGAUGE_HTTP", "https://x:1")], "https://x:1", false);
        check(&[("FLEETGAUGE_HTTP", "http://x:1"), (access::TLS, "on")], "http://x:1", true);
    }
}
