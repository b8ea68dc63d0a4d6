//! The token of an agent, and the one question about it that a connection may answer.

use protocol::frame::{Challenge, Hello, Proof};
use security::Secret;
use security::proof::{Claim, is_nonce};

use super::Ended;
use crate::telemetry::Failure;

/// A token that is proved at most once. `Debug` does not print it.
#[derive(Debug)]
pub(super) struct Token {
    secret: Option<Secret>,
    agent: String,
    session: String,
    is_proved: bool,
}

impl Token {
    pub(super) fn new(secret: Option<Secret>, hello: &Hello) -> Self {
        Self { secret, agent: hello.agent.clone(), session: hello.session.clone(), is_proved: false }
    }

    /// The answer to a challenge. The token itself never leaves.
    pub(super) fn prove(&mut self, challenge: &Challenge) -> Result<Proof, Ended> {
        let Some(secret) = &self.secret else {
            let why = "the aggregator wants a proof of a token, and there is none: set FLEETGAUGE_TOKEN_FILE or FLEETGAUGE_TOKEN";
            return Err(Ended::new(Failure::Auth, why));
        };
        if std::mem::replace(&mut self.is_proved, true) {
            return Err(Ended::new(Failure::Protocol, "the aggregator asks for the token twice"));
        }
        if !is_nonce(&challenge.nonce) {
            return Err(Ended::new(Failure::Protocol, "what the aggregator wants to be proved is no nonce"));
        }
        let claim = Claim { nonce: &challenge.nonce, agent: &self.agent, session: &self.session };
        Ok(Proof { hmac: claim.prove(secret) })
    }

    /// For the log: what became of it.
    pub(super) fn outcome(&self) -> &'static str {
        match (&self.secret, self.is_proved) {
            (None, _) => "none",
            (Some(_), true) => "proved",
            (Some(_), false) => "not asked for",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        let hello = r#"{"versions":[1,1],"agent":"huginn","interval_ms":5000,"now_ms":0,"mono_ms":0,"session":"5f2c","incarnation":1}"#;
        serde_json::from_str(hello).unwrap()
    }

    fn challenge(nonce: &str) -> Challenge {
        Challenge { nonce: nonce.to_owned() }
    }

    #[test]
    fn a_token_is_proved_once_on_a_connection() {
        let secret = Secret::new("0123456789abcdef").unwrap();
        let mut token = Token::new(Some(secret.clone()), &hello());
        assert_eq!(token.outcome(), "not asked for");
        let nonce = "00112233445566778899aabbccddeeff";
        let claim = Claim { nonce, agent: "huginn", session: "5f2c" };
        assert_eq!(token.prove(&challenge(nonce)).unwrap().hmac, claim.prove(&secret));
        assert_eq!(token.outcome(), "proved");
        assert_eq!(token.prove(&challenge(nonce)).unwrap_err().failure, Failure::Protocol);
        assert!(!format!("{token:?}").contains("0123456789"));
    }

    #[test]
    fn nothing_else_is_proved() {
        let secret = Secret::new("0123456789abcdef").unwrap();
        let mut token = Token::new(Some(secret), &hello());
        assert_eq!(token.prove(&challenge("short")).unwrap_err().failure, Failure::Protocol);
        let ended = Token::new(None, &hello()).prove(&challenge("short")).unwrap_err();
        assert!(ended.failure == Failure::Auth && ended.reason.contains("FLEETGAUGE_TOKEN_FILE"));
    }
}
