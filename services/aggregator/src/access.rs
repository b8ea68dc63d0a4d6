//! Who gets in: one place that all listeners ask. What tokens and certificates mean is `security`'s
//! matter; here is what each listener wants of them, and what is counted and logged.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use security::tls::{Accepted, Clients, Refused};
use security::{Denied, Grant, Look, Scope, ServerFiles, ServerTls, Source, Stream, TokenStore, Tokens};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::quota::Quota;
use crate::stop::Stop;
use crate::telemetry::Auth;

/// How often the files of tokens and certificates are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long somebody may take to hear that a port speaks TLS.
const TELL_WITHIN: Duration = Duration::from_millis(200);
/// The files of certificates, as a metric names them.
const EXPIRING: [&str; 2] = ["certificate", "client_ca"];

/// Where somebody comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// Agents.
    Link,
    /// Scrapers and people.
    Http,
    /// Put and get.
    Line,
}

impl Listener {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Link, Self::Http, Self::Line];

    /// As a label of a metric.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Http => "http",
            Self::Line => "line",
        }
    }

    /// What somebody is told who speaks no TLS where it is spoken.
    fn plain_answer(self) -> &'static [u8] {
        match self {
            Self::Link => b"{\"refuse\":{\"code\":\"auth\",\"reason\":\"this port speaks TLS: FLEETGAUGE_TLS=on makes an agent speak it\",\"retry_after_ms\":5000}}\n",
            Self::Http => b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 36\r\nConnection: close\r\n\r\nthis port speaks TLS: use https://\r\n",
            Self::Line => b"error\nthis port speaks TLS: --tls or FLEETGAUGE_TLS=on\n\n",
        }
    }
}

/// What an aggregator asks of those who come.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Which tokens there are.
    pub tokens: Source,
    /// Its certificate; `None`: no TLS.
    pub tls: Option<ServerFiles>,
}

/// The tokens and certificates that hold now.
#[derive(Debug)]
pub struct Access {
    tokens: TokenStore,
    tls: Option<ServerTls>,
    telemetry: Auth,
    warnings: Quota,
    /// What is wrong with a file, as it was logged last: of the tokens, of the certificates.
    told: Mutex<[Option<String>; 2]>,
}

impl Access {
    /// Reads what the rules name.
    ///
    /// # Errors
    /// A sentence, when a file cannot be used.
    pub fn new(rules: Rules, telemetry: Auth) -> Result<Self, String> {
        let tls = rules.tls.map(ServerTls::open).transpose()?;
        let tokens = TokenStore::open(rules.tokens.clone(), now_ms())?;
        if let Some(path) = rules.tokens.path().filter(|path| security::store::is_readable_by_all(path)) {
            tracing::warn!(file = %path.display(), "everybody on this host can read this file of tokens; chmod 600 is better");
        }
        telemetry.set_tokens(tokens.tokens().valid(now_ms()));
        let warnings = Quota::new(20, Duration::from_secs(60));
        let access = Self { tokens, tls, telemetry, warnings, told: Mutex::default() };
        access.show_expiry(now_ms());
        Ok(access)
    }

    /// Lets everybody in.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn open(telemetry: Auth) -> Self {
        Self::new(Rules::default(), telemetry).expect("no file is read")
    }

    /// Must a token be shown?
    #[must_use]
    pub fn wants_tokens(&self) -> bool {
        self.tokens.is_required()
    }

    /// Is TLS spoken?
    #[must_use]
    pub fn speaks_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Must a client certificate be shown?
    #[must_use]
    pub fn wants_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(ServerTls::wants_certificates)
    }

    /// The tokens that hold now.
    #[must_use]
    pub fn tokens(&self) -> Arc<Tokens> {
        self.tokens.tokens()
    }

    /// Completes when whoever showed this token may no more push under this name.
    pub async fn revoked(&self, changes: &mut watch::Receiver<Arc<Tokens>>, grant: &Grant, agent: &str) -> Denied {
        loop {
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            let tokens = Arc::clone(&changes.borrow_and_update());
            if let Err(denied) = tokens.may(grant, Scope::Push, Some(agent), now_ms()) {
                return denied;
            }
        }
    }

    /// Tells when something that was allowed may be no more.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<Tokens>> {
        self.tokens.changes()
    }

    /// Counts that somebody was not let in, and logs it, though not a flood of it.
    pub fn denied(&self, listener: Listener, peer: SocketAddr, denied: Denied) {
        self.telemetry.denied(listener, denied.as_str());
        // Everybody begins without a token where a browser or curl asks first.
        if denied != Denied::Missing && self.warnings.take(std::time::Instant::now()) {
            tracing::warn!(listener = listener.as_str(), %peer, reason = %denied, "not let in");
        } else {
            tracing::debug!(listener = listener.as_str(), %peer, reason = %denied, "not let in");
        }
    }

    /// Counts that HTTP was asked without a client certificate.
    pub fn no_certificate(&self) {
        self.telemetry.denied(Listener::Http, "certificate");
    }

    /// Makes a connection what it is to be: does the handshake where TLS is spoken. Second is
    /// whether the client showed a certificate. `None`: it is over.
    pub async fn enter(
        &self,
        tcp: TcpStream,
        peer: SocketAddr,
        listener: Listener,
        mut stop: Stop,
    ) -> Option<(Stream, bool)> {
        let Some(tls) = &self.tls else { return Some((Stream::Plain(tcp), false)) };
        // Health checks have no certificate; HTTP asks for it at each path.
        let clients = if listener == Listener::Http { Clients::MayShow } else { Clients::MustShow };
        let under_way = self.telemetry.handshake();
        let accepted = tokio::select! {
            accepted = tls.accept(tcp, clients) => accepted,
            () = stop.requested() => return None,
        };
        drop(under_way);
        match accepted {
            Ok(Accepted { stream, has_certificate }) => {
                self.telemetry.handshaken(listener, "ok");
                Some((stream, has_certificate))
            }
            Err(refused) => {
                self.telemetry.handshaken(listener, refused.as_str());
                let (reason, detail) = (refused.as_str(), refused.detail());
                if self.warnings.take(std::time::Instant::now()) {
                    tracing::warn!(listener = listener.as_str(), %peer, reason, detail, "no TLS handshake");
                } else {
                    tracing::debug!(listener = listener.as_str(), %peer, reason, detail, "no TLS handshake");
                }
                if let Refused::Plain(tcp) = refused {
                    tell(tcp, listener.plain_answer()).await;
                }
                None
            }
        }
    }

    /// Keeps tokens and certificates up to date with their files, until `stop`.
    pub async fn watch(self: Arc<Self>, mut stop: Stop) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.requested() => return,
            }
            let access = Arc::clone(&self);
            // A disk may hang; nothing else waits for it.
            let looked = tokio::task::spawn_blocking(move || access.look(now_ms()));
            tokio::select! {
                _looked = looked => {}
                () = stop.requested() => return,
            }
        }
    }

    /// Reads the files again.
    pub(crate) fn look(&self, now_ms: i64) {
        if self.tokens.is_required() {
            self.note(0, "tokens", self.tokens.look(now_ms));
            self.telemetry.set_tokens(self.tokens.tokens().valid(now_ms));
        }
        if let Some(tls) = &self.tls {
            let look = tls.look();
            if look == Look::Changed {
                self.show_expiry(now_ms);
            }
            self.note(1, "certificates", look);
        }
    }

    /// Shows until when certificates are valid, and warns of those that are not any more.
    fn show_expiry(&self, now_ms: i64) {
        let Some(tls) = &self.tls else { return };
        for (file, expires) in EXPIRING.into_iter().zip(tls.expires()) {
            self.telemetry.set_expiry(file, expires);
            if expires.is_some_and(|expires| expires < now_ms / 1000) {
                tracing::warn!(file, "a certificate is not valid any more: nobody who checks it connects");
            }
        }
    }

    fn note(&self, which: usize, what: &'static str, look: Look) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(told) = told.get_mut(which) else { return };
        match look {
            Look::Failed(why) => {
                self.telemetry.read(what, false);
                if told.as_ref() != Some(&why) {
                    tracing::error!(what, %why, "a file cannot be used, what it said before holds");
                    *told = Some(why);
                }
                return;
            }
            Look::Changed => tracing::info!(what, "read anew"),
            Look::Expired => tracing::warn!("a token has expired"),
            Look::Same if told.is_some() => tracing::info!(what, "the file can be used again"),
            Look::Same => {}
        }
        *told = None;
        self.telemetry.read(what, true);
    }

    /// Says what whoever runs this should know about where it listens.
    pub fn warn_of(&self, http: SocketAddr, link: SocketAddr, line: SocketAddr) {
        if [http, link, line].iter().all(|address| address.ip().is_loopback()) {
            return;
        }
        if !self.wants_tokens() && !self.wants_certificates() {
            tracing::warn!(
                "whoever reaches the ports of this aggregator may use them: set FLEETGAUGE_TOKENS_FILE or FLEETGAUGE_TOKEN_FILE, or FLEETGAUGE_TLS_CLIENT_CA_FILE, or listen on 127.0.0.1 (docs/operations.md, \"Tokens and TLS\")"
            );
        } else if !self.speaks_tls() && ![http, line].iter().all(|address| address.ip().is_loopback()) {
            tracing::warn!(
                "tokens cross the network in the clear on HTTP and put/get: set FLEETGAUGE_TLS_CERT_FILE and FLEETGAUGE_TLS_KEY_FILE, or let both listen on 127.0.0.1"
            );
        }
    }
}

/// Tells somebody who speaks no TLS, and closes once that is read, or soon.
async fn tell(mut tcp: TcpStream, answer: &[u8]) {
    let told = async {
        tcp.write_all(answer).await?;
        tcp.shutdown().await?;
        let mut rest = [0; 1024];
        while tcp.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _peer_may_be_gone = timeout(TELL_WITHIN, told).await;
}

/// Now, as tokens expire by.
#[must_use]
pub fn now_ms() -> i64 {
    lifecycle::clock::unix_ms()
}
