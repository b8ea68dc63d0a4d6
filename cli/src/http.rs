//! Asking an aggregator over HTTP, and what is said when that does not work. One question, one
//! connection; an answer is read up to a bound.

use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Uri;
use hyper::body::Body;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use lifecycle::{Settings, SettingsError, exit};
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use crate::server::duration;

/// Longest answer: 100,000 agents of some 600 bytes.
const BODY_BYTES_MAX: usize = 64 << 20;

/// The options that every verb has which asks over HTTP.
#[derive(Args)]
pub(crate) struct Http {
    /// Where the aggregator answers HTTP; without it FLEETGAUGE_HTTP, without that http://127.0.0.1:9400.
    #[arg(long, value_name = "URL", value_parser = base)]
    http: Option<Base>,
    /// How long to wait for the answer.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    timeout: Duration,
}

/// Where an aggregator is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Base {
    host: String,
    port: u16,
    /// What stands before every path, without a slash at its end.
    path: String,
}

/// An aggregator that was chosen.
pub(crate) struct Target {
    base: Base,
    timeout: Duration,
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
        let base = self.base().map_err(|error| exit::because(exit::SETTINGS, error))?;
        Ok(Target { base, timeout: self.timeout })
    }

    fn base(&self) -> Result<Base, SettingsError> {
        const NAME: &str = "FLEETGAUGE_HTTP";
        // Read in any case: a name that is misspelt is never passed over.
        let settings = Settings::from_environment()?;
        match &self.http {
            Some(base) => Ok(base.clone()),
            None => base(&settings.text(NAME)?).map_err(|why| settings.bad(NAME, &why)),
        }
    }
}

impl Target {
    /// Asks for a path; what is wrong is said here. 404 is an answer.
    pub(crate) fn get(&self, path: &str) -> Result<Reply, ExitCode> {
        let Base { host, port, .. } = &self.base;
        let reply = self.ask(path).map_err(|why| {
            let hint = "does an aggregator run there? --http URL or FLEETGAUGE_HTTP names another";
            exit::because(exit::UNREACHABLE, format!("http://{host}:{port}: {why}; {hint}"))
        })?;
        match reply.status {
            200 | 404 => Ok(reply),
            status => {
                let text = String::from_utf8_lossy(&reply.body);
                let text: String = text.trim().chars().filter(|c| !c.is_control()).take(300).collect();
                Err(exit::because(exit::FAILED, format!("http://{host}:{port} answered {status}: {text}")))
            }
        }
    }

    fn ask(&self, path: &str) -> Result<Reply, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        runtime.block_on(async {
            let answered = tokio::time::timeout(self.timeout, self.exchange(path)).await;
            answered.unwrap_or_else(|_| Err(format!("no answer within {:?}; --timeout 1m waits longer", self.timeout)))
        })
    }

    async fn exchange(&self, path: &str) -> Result<Reply, String> {
        let Base { host, port, path: before } = &self.base;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((bare, *port)).await.map_err(|error| error.to_string())?;
        let said = |error: hyper::Error| error.to_string();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
        let talking = tokio::spawn(connection);
        let request = hyper::Request::get(format!("{before}{path}"))
            .header(HOST, format!("{host}:{port}"))
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
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
        let Base { host, port, .. } = &self.base;
        serde_json::from_slice(&reply.body).map_err(|error| {
            let hint = "is this the HTTP port of an aggregator of this version?";
            exit::because(exit::FAILED, format!("http://{host}:{port}: the answer cannot be read ({error}); {hint}"))
        })
    }
}

fn base(text: &str) -> Result<Base, String> {
    let accepted = || "accepted: a URL such as http://aggregator:9400".to_owned();
    let uri: Uri = text.parse().map_err(|_| accepted())?;
    let host = uri.host().filter(|host| !host.is_empty() && uri.query().is_none()).ok_or_else(accepted)?;
    if uri.scheme_str() != Some("http") || uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(accepted());
    }
    let is_bare = uri.authority().is_some_and(|authority| authority.as_str() == host);
    let port = uri.port_u16().filter(|port| *port != 0).or(is_bare.then_some(80)).ok_or_else(accepted)?;
    let path = uri.path().trim_end_matches('/').to_owned();
    Ok(Base { host: host.to_owned(), port, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let good = |text: &str| base(text).map(|base| (base.host, base.port, base.path)).unwrap();
        assert_eq!(good("http://127.0.0.1:9400"), ("127.0.0.1".into(), 9400, String::new()));
        assert_eq!(good("http://[::1]:9400/"), ("[::1]".into(), 9400, String::new()));
        assert_eq!(good("http://proxy/fleet/"), ("proxy".into(), 80, "/fleet".into()));
        for bad in
            ["", "aggregator:9400", "http://", "ftp://x", "http://u:p@x:9400", "http://x:9400/?a=b", "http://x:99999"]
        {
            base(bad).unwrap_err();
        }
    }
}
