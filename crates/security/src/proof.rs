//! How a token is shown without being sent: the aggregator names a nonce, the agent answers with
//! HMAC-SHA256 of it, its name and its session, keyed by the token. docs/protocol.md says it in full.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::secret::Secret;

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 16;
/// Longest nonce, in hexadecimal digits, that an agent takes: none that it is asked to prove may
/// look like another text.
pub const NONCE_DIGITS_MAX: usize = 128;

/// A key that is ready to prove.
pub(crate) type Key = Hmac<Sha256>;

/// What is proved.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// What the aggregator said, in hexadecimal.
    pub nonce: &'a str,
    /// The agent's name.
    pub agent: &'a str,
    /// Its session.
    pub session: &'a str,
}

impl Claim<'_> {
    /// The text that is keyed. Neither part can have a newline in it, so no two claims share one.
    pub(crate) fn text(&self) -> String {
        format!("fleetgauge link 1\n{}\n{}\n{}", self.nonce, self.agent, self.session)
    }

    /// The agent's answer, in hexadecimal.
    #[must_use]
    pub fn prove(&self, token: &Secret) -> String {
        hex(&keyed(&key(token), &self.text()))
    }
}

pub(crate) fn key(token: &Secret) -> Key {
    Key::new_from_slice(token.expose().as_bytes()).expect("HMAC takes keys of any length")
}

/// What a key makes of this text.
pub(crate) fn keyed(key: &Key, text: &str) -> [u8; 32] {
    let mut mac = key.clone();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

/// A nonce that nobody has seen: random bytes as text.
#[must_use]
pub fn nonce(random: [u8; NONCE_BYTES]) -> String {
    hex(&random)
}

/// May an agent prove something about this? A nonce is hexadecimal and not short.
#[must_use]
pub fn is_nonce(text: &str) -> bool {
    (2 * NONCE_BYTES..=NONCE_DIGITS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Random bytes of the system.
///
/// # Errors
/// When it gives none.
pub fn random() -> Result<[u8; NONCE_BYTES], String> {
    let mut bytes = [0; NONCE_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| format!("the system gives no random numbers: {error}"))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The 32 bytes of 64 hexadecimal digits.
pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `printf … | openssl dgst -sha256 -hmac 0123456789abcdef`: docs/protocol.md has it too.
    #[test]
    fn a_proof_is_what_other_programs_make() {
        let token = Secret::new("0123456789abcdef").unwrap();
        let claim = Claim { nonce: "00112233445566778899aabbccddeeff", agent: "huginn", session: "5f2c" };
        assert_eq!(claim.prove(&token), "11ba7bdb127b5954ed1a468b400a6ecac7b58f9cb780f7eda67745c6eca39a24");
    }

    #[test]
    fn digits_are_read_back() {
        let bytes: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 8).unwrap());
        assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        assert_eq!(unhex(&hex(&bytes).to_uppercase()), Some(bytes));
        for bad in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"ü".repeat(32)] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_a_nonce_is_proved() {
        assert!(is_nonce(&nonce([7; NONCE_BYTES])));
        for bad in
            ["", "0011", "zz112233445566778899aabbccddeeff", "00112233445566778899aabbccddee\nff", &"0".repeat(129)]
        {
            assert!(!is_nonce(bad), "{bad:?}");
        }
    }
}
