//! What tokens allow, and how the one that is shown is found among them. Nothing here reads a clock or
//! a file.
//!
//! Of each token only its hash and its HMAC key are kept. Every comparison looks at all tokens and
//! at all bytes, so the time that it takes says nothing about how much of one was right.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::glob;
use crate::proof::{Claim, Key, key, keyed, unhex};
use crate::secret::Secret;

/// Most tokens. Each attempt is compared with all of them: some milliseconds at most.
pub const TOKENS_MAX: usize = 4096;

/// What a token may be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// To push as an agent.
    Push,
    /// To read: `/metrics`, the API, and `get`.
    Read,
    /// To `put`.
    Put,
    /// To remove agents.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Push, Self::Read, Self::Put, Self::Admin];

    /// As it stands in the file and in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Read => "read",
            Self::Put => "put",
            Self::Admin => "admin",
        }
    }

    /// The scope of that name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

/// Some of the scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// All of them.
    pub const ALL: Self = Self(0b1111);

    /// These and one more.
    #[must_use]
    pub fn with(self, scope: Scope) -> Self {
        Self(self.0 | 1 << scope as u8)
    }

    /// Is it one of these?
    #[must_use]
    pub fn has(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    /// Is it none?
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Why somebody may not do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nothing was shown.
    #[error("no token was shown")]
    Missing,
    /// It is no token of this aggregator, or no proof of one.
    #[error("the token is not one of this aggregator's")]
    Wrong,
    /// It was one.
    #[error("the token has expired")]
    Expired,
    /// It is one, for other things.
    #[error("the token has not the scope {}", .0.as_str())]
    Scope(Scope),
    /// It is one, for agents of other names.
    #[error("the token is not for agents of this name")]
    Agent,
}

impl Denied {
    /// All values of [`Denied::as_str`].
    pub const REASONS: [&'static str; 5] = ["missing", "wrong", "expired", "scope", "agent"];

    /// As a label of a metric.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Wrong => "wrong",
            Self::Expired => "expired",
            Self::Scope(_) => "scope",
            Self::Agent => "agent",
        }
    }
}

/// One token.
#[derive(Clone)]
pub struct Token {
    name: Arc<str>,
    digest: [u8; 32],
    key: Key,
    scopes: Scopes,
    agents: Vec<String>,
    expires_ms: Option<i64>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, scopes, agents, expires_ms, .. } = self;
        let mut all = f.debug_struct("Token");
        all.field("name", name).field("scopes", scopes).field("agents", agents).field("expires_ms", expires_ms);
        all.finish_non_exhaustive()
    }
}

impl Token {
    /// A token of that name for everything.
    #[must_use]
    pub fn for_all(name: &str, secret: &Secret) -> Self {
        Self::new(name, secret, Scopes::ALL, vec!["*".to_owned()], None)
    }

    /// A token; `agents` are patterns of the names that it may push as, `expires_ms` is Unix time.
    #[must_use]
    pub fn new(name: &str, secret: &Secret, scopes: Scopes, agents: Vec<String>, expires_ms: Option<i64>) -> Self {
        let digest = digest(secret.expose().as_bytes());
        Self { name: name.into(), digest, key: key(secret), scopes, agents, expires_ms }
    }

    fn is_valid(&self, now_ms: i64) -> bool {
        self.expires_ms.is_none_or(|expires_ms| now_ms < expires_ms)
    }

    fn may(&self, scope: Scope, agent: Option<&str>, now_ms: i64) -> Result<(), Denied> {
        if !self.is_valid(now_ms) {
            return Err(Denied::Expired);
        }
        if !self.scopes.has(scope) {
            return Err(Denied::Scope(scope));
        }
        match agent {
            Some(agent) if !self.agents.iter().any(|pattern| glob::matches(pattern, agent)) => Err(Denied::Agent),
            _ => Ok(()),
        }
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Somebody has shown a token, and may do what it allows as long as it is one.
#[derive(Clone)]
pub struct Grant {
    name: Arc<str>,
    digest: [u8; 32],
}

impl Grant {
    /// The token's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Grant").field(&self.name).finish()
    }
}

/// All tokens of an aggregator.
#[derive(Debug, Clone, Default)]
pub struct Tokens(Vec<Token>);

impl Tokens {
    /// These.
    ///
    /// # Errors
    /// A sentence, when there are none or too many, or two have one name or are the same.
    pub fn new(tokens: Vec<Token>) -> Result<Self, String> {
        if tokens.is_empty() {
            return Err("there is no token in it".to_owned());
        }
        if tokens.len() > TOKENS_MAX {
            return Err(format!("there are more than {TOKENS_MAX} tokens in it"));
        }
        let (mut names, mut digests) = (HashSet::new(), HashSet::new());
        for token in &tokens {
            if !names.insert(&token.name) {
                return Err(format!("two tokens are called {:?}", token.name));
            }
            if !digests.insert(token.digest) {
                return Err(format!("the token {:?} is the same as one before it", token.name));
            }
        }
        Ok(Self(tokens))
    }

    /// How many have not expired.
    #[must_use]
    pub fn valid(&self, now_ms: i64) -> usize {
        self.0.iter().filter(|token| token.is_valid(now_ms)).count()
    }

    /// Who this is, whatever it may do.
    ///
    /// # Errors
    /// When it is no token, or one that has expired.
    pub fn recognise(&self, shown: &[u8], now_ms: i64) -> Result<Grant, Denied> {
        let shown = digest(shown);
        let token = self.find(|token| token.digest.ct_eq(&shown)).ok_or(Denied::Wrong)?;
        if token.is_valid(now_ms) { Ok(token.grant()) } else { Err(Denied::Expired) }
    }

    /// Is this a proof of a token that may push under the claimed name?
    ///
    /// # Errors
    /// Why not.
    pub fn proved(&self, claim: &Claim<'_>, hmac: &str, now_ms: i64) -> Result<Grant, Denied> {
        let shown = unhex(hmac).ok_or(Denied::Wrong)?;
        let text = claim.text();
        let token = self.find(|token| keyed(&token.key, &text).ct_eq(&shown)).ok_or(Denied::Wrong)?;
        token.may(Scope::Push, Some(claim.agent), now_ms)?;
        Ok(token.grant())
    }

    /// May whoever showed that token do this, by the tokens that there are now?
    ///
    /// # Errors
    /// Why not.
    pub fn may(&self, grant: &Grant, scope: Scope, agent: Option<&str>, now_ms: i64) -> Result<(), Denied> {
        self.find(|token| token.digest.ct_eq(&grant.digest)).ok_or(Denied::Wrong)?.may(scope, agent, now_ms)
    }

    /// The token for which this holds; all are asked.
    fn find(&self, is_it: impl Fn(&Token) -> Choice) -> Option<&Token> {
        let mut found = None;
        for token in &self.0 {
            if bool::from(is_it(token)) {
                found = Some(token);
            }
        }
        found
    }
}

impl Token {
    fn grant(&self) -> Grant {
        Grant { name: Arc::clone(&self.name), digest: self.digest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000_000;

    fn secret(text: &str) -> Secret {
        Secret::new(text).unwrap()
    }

    fn tokens() -> Tokens {
        let web = vec!["web-*".to_owned(), "huginn".to_owned()];
        Tokens::new(vec![
            Token::for_all("ops", &secret("all-of-it")),
            Token::new("web", &secret("only-web"), Scopes::default().with(Scope::Push), web, Some(NOW + 1000)),
            Token::new("scrape", &secret("only-read"), Scopes::default().with(Scope::Read), vec![], None),
        ])
        .unwrap()
    }

    #[test]
    fn a_token_allows_what_it_says() {
        let tokens = tokens();
        let ops = tokens.recognise(b"all-of-it", NOW).unwrap();
        assert_eq!(ops.name(), "ops");
        for scope in Scope::ALL {
            assert_eq!(tokens.may(&ops, scope, Some("anybody"), NOW), Ok(()));
        }
        let scrape = tokens.recognise(b"only-read", NOW).unwrap();
        assert_eq!(tokens.may(&scrape, Scope::Read, None, NOW), Ok(()));
        assert_eq!(tokens.may(&scrape, Scope::Admin, None, NOW), Err(Denied::Scope(Scope::Admin)));
        for wrong in [&b""[..], b"only-rea", b"only-readd", b"ONLY-READ", b"\xff"] {
            assert_eq!(tokens.recognise(wrong, NOW).unwrap_err(), Denied::Wrong);
        }
    }

    #[test]
    fn a_token_that_has_expired_allows_nothing() {
        let tokens = tokens();
        let web = tokens.recognise(b"only-web", NOW).unwrap();
        assert_eq!(tokens.may(&web, Scope::Push, Some("web-1"), NOW + 999), Ok(()));
        assert_eq!(tokens.may(&web, Scope::Push, Some("web-1"), NOW + 1000), Err(Denied::Expired));
        assert_eq!(tokens.recognise(b"only-web", NOW + 1000).unwrap_err(), Denied::Expired);
        assert_eq!((tokens.valid(NOW), tokens.valid(NOW + 1000)), (3, 2));
    }

    #[test]
    fn a_token_that_is_gone_allows_nothing() {
        let web = tokens().recognise(b"only-web", NOW).unwrap();
        let others = Tokens::new(vec![Token::for_all("web", &secret("another-one"))]).unwrap();
        assert_eq!(others.may(&web, Scope::Push, None, NOW), Err(Denied::Wrong));
    }

    #[test]
    fn a_proof_holds_for_its_nonce_name_and_session() {
        let tokens = tokens();
        let claim = Claim { nonce: "00ff", agent: "web-1", session: "s" };
        let proof = claim.prove(&secret("only-web"));
        assert_eq!(tokens.proved(&claim, &proof, NOW).unwrap().name(), "web");
        for other in [
            Claim { nonce: "00fe", ..claim },
            Claim { agent: "web-2", ..claim },
            Claim { session: "t", ..claim },
            Claim { nonce: "00ff\nweb-1", agent: "s", session: "" },
        ] {
            assert_eq!(tokens.proved(&other, &proof, NOW).unwrap_err(), Denied::Wrong, "{other:?}");
        }
        assert_eq!(tokens.proved(&claim, &claim.prove(&secret("guessed")), NOW).unwrap_err(), Denied::Wrong);
        assert_eq!(tokens.proved(&claim, "", NOW).unwrap_err(), Denied::Wrong);
        assert_eq!(tokens.proved(&claim, &proof, NOW + 1000).unwrap_err(), Denied::Expired);
        let read = claim.prove(&secret("only-read"));
        assert_eq!(tokens.proved(&claim, &read, NOW).unwrap_err(), Denied::Scope(Scope::Push));
        let other = Claim { agent: "db-1", ..claim };
        assert_eq!(tokens.proved(&other, &other.prove(&secret("only-web")), NOW).unwrap_err(), Denied::Agent);
    }

    #[test]
    fn two_tokens_are_two() {
        let twice = |names: [&str; 2], texts: [&str; 2]| {
            let two = names.iter().zip(texts).map(|(name, text)| Token::for_all(name, &secret(text)));
            Tokens::new(two.collect()).map(|_| ())
        };
        assert_eq!(twice(["a", "b"], ["x", "y"]), Ok(()));
        assert!(twice(["a", "a"], ["x", "y"]).unwrap_err().contains("\"a\""));
        let error = twice(["a", "b"], ["hunter2", "hunter2"]).unwrap_err();
        assert!(error.contains("\"b\"") && !error.contains("hunter2"), "{error}");
        Tokens::new(vec![]).unwrap_err();
    }

    #[test]
    fn nothing_prints_a_token() {
        let tokens = tokens();
        let grant = tokens.recognise(b"all-of-it", NOW);
        let printed = format!("{tokens:?} {grant:?}");
        assert!(printed.contains("scrape") && !printed.contains("all-of-it") && !printed.contains("only"), "{printed}");
    }
}
