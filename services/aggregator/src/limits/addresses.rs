//! How many connections each address has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::sender;

/// The connections of one listener, by address. It knows only addresses that have one, so the
/// limit on all connections bounds it.
#[derive(Debug)]
pub struct Addresses {
    max: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection that counts for its address as long as this lives.
#[derive(Debug)]
pub struct Counted {
    address: IpAddr,
    of: Arc<Addresses>,
    /// Has its address more than it may?
    pub is_over: bool,
}

impl Addresses {
    /// So many for each address.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max, open: Mutex::default() }
    }

    /// One more from there. It counts even where it is one too many.
    #[must_use]
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Counted {
        let address = sender(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        *count += 1;
        let is_over = *count > self.max;
        drop(open);
        Counted { address, of: Arc::clone(self), is_over }
    }

    /// The most that any address has now.
    #[must_use]
    pub fn most(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).values().copied().max().unwrap_or_default()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.of.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own() {
        let addresses = Arc::new(Addresses::new(2));
        let from = |text: &str| addresses.enter(text.parse().unwrap());
        let two = [from("192.0.2.1"), from("::ffff:192.0.2.1")];
        assert!(two.iter().all(|one| !one.is_over));
        assert!(from("192.0.2.1").is_over && !from("192.0.2.2").is_over);
        assert_eq!(addresses.most(), 2);
        drop(two);
        assert!(!from("192.0.2.1").is_over);
        assert!(addresses.open.lock().unwrap().is_empty(), "who has gone is forgotten");
    }
}
