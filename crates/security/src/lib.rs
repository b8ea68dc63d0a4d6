//! Who may come in and what they may do: tokens, proofs of them, and TLS.
