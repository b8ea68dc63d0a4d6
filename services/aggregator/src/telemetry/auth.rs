//! What is counted about who gets in.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec};
use security::Denied;
use security::tls::Refused;

use super::Maker;
use super::table::{
    AUTH_FAILURES, CREDENTIALS_FAILED, CREDENTIALS_UP, TLS_EXPIRY, TLS_HANDSHAKES, TLS_UNDER_WAY, TOKENS,
};
use crate::access::Listener;

/// The metrics of tokens and TLS. Clones count together.
#[derive(Debug, Clone)]
pub struct Auth {
    failures: IntCounterVec,
    handshakes: IntCounterVec,
    under_way: IntGauge,
    tokens: IntGauge,
    up: IntGaugeVec,
    expiry: IntGaugeVec,
    failed: IntCounterVec,
}

impl Auth {
    pub(super) fn new(make: &Maker<'_>) -> prometheus::Result<Self> {
        let auth = Self {
            failures: make.counters(&AUTH_FAILURES)?,
            handshakes: make.counters(&TLS_HANDSHAKES)?,
            under_way: make.gauge(&TLS_UNDER_WAY)?,
            tokens: make.gauge(&TOKENS)?,
            up: make.gauges(&CREDENTIALS_UP)?,
            expiry: make.gauges(&TLS_EXPIRY)?,
            failed: make.counters(&CREDENTIALS_FAILED)?,
        };
        for listener in Listener::ALL.map(Listener::as_str) {
            for reason in Denied::REASONS.into_iter().chain(["certificate"]) {
                let _zero = auth.failures.with_label_values(&[listener, reason]);
            }
            for result in Refused::REASONS.into_iter().chain(["ok"]) {
                let _zero = auth.handshakes.with_label_values(&[listener, result]);
            }
        }
        for what in ["tokens", "certificates"] {
            auth.up.with_label_values(&[what]).set(1);
            let _zero = auth.failed.with_label_values(&[what]);
        }
        Ok(auth)
    }

    pub(crate) fn denied(&self, listener: Listener, reason: &'static str) {
        self.failures.with_label_values(&[listener.as_str(), reason]).inc();
    }

    pub(crate) fn handshaken(&self, listener: Listener, result: &'static str) {
        self.handshakes.with_label_values(&[listener.as_str(), result]).inc();
    }

    /// A handshake is under way as long as this lives.
    pub(crate) fn handshake(&self) -> UnderWay {
        self.under_way.inc();
        UnderWay(self.under_way.clone())
    }

    /// So many tokens hold now.
    pub(crate) fn set_tokens(&self, count: usize) {
        self.tokens.set(super::level(count));
    }

    /// When the first certificate of this file ends to be valid, in Unix seconds.
    pub(crate) fn set_expiry(&self, file: &'static str, expires: Option<i64>) {
        match expires {
            Some(expires) => self.expiry.with_label_values(&[file]).set(expires),
            // It was there before, perhaps.
            None => drop(self.expiry.remove_label_values(&[file])),
        }
    }

    /// The files of tokens or certificates were read, well or not.
    pub(crate) fn read(&self, what: &'static str, is_good: bool) {
        self.up.with_label_values(&[what]).set(i64::from(is_good));
        if !is_good {
            self.failed.with_label_values(&[what]).inc();
        }
    }
}

/// See [`Auth::handshake`].
#[derive(Debug)]
pub(crate) struct UnderWay(IntGauge);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}
