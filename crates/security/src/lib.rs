//! Who may come in and what they may do: tokens, proofs of them, and TLS.
//!
//! [`secret`] is text that nobody prints, [`glob`] a pattern of names, [`tokens`] what tokens allow
//! and how one is told from another, [`proof`] how a token is shown without sending it, [`mod@file`] the
//! file of tokens. All that is pure: time, bytes and random numbers are passed in. [`store`] reads
//! the file again when it changes, [`tls`] does the same for certificates, [`stream`] is a connection
//! with TLS or without, and [`shown`] the token that a client shows.
//!
//! Nothing here decides which listener wants what: that is the services' matter. Nothing here logs,
//! but for the warning about a file that everybody can read.

pub mod file;
pub mod glob;
pub mod proof;
pub mod secret;
#[cfg(feature = "settings")]
pub mod settings;
pub mod shown;
pub mod store;
pub mod stream;
pub mod tls;
pub mod tokens;

pub use secret::{BadSecret, Secret};
pub use shown::Shown;
pub use store::{Look, Source, TokenStore};
pub use stream::Stream;
pub use tls::{ClientTls, Connector, ServerFiles, ServerTls, TlsError, Unusable};
pub use tokens::{Denied, Grant, Scope, Scopes, Token, Tokens};
