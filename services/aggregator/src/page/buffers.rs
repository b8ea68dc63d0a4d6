//! Buffers for pieces of a page, used again and again: a page of 100 MB in fresh memory costs as
//! much in page faults as in writing it, and leaves holes behind.

use std::sync::{Arc, Mutex, PoisonError};

/// Buffers that wait to be used again; more than two scrapes' worth are given back to the system.
const KEPT_MAX: usize = 8;
/// Largest buffer that is kept; a piece is about 1 MB.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// Where buffers wait. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

/// A buffer that goes back when dropped.
#[derive(Debug)]
pub struct Buffer {
    /// What is written.
    pub bytes: Vec<u8>,
    home: Buffers,
}

impl Buffers {
    /// An empty buffer, with the room that it had before.
    #[must_use]
    pub fn take(&self) -> Buffer {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        Buffer { bytes, home: self.clone() }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let mut kept = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX && (1..=KEPT_BYTES_MAX).contains(&bytes.capacity()) {
            kept.push(bytes);
        }
    }
}
