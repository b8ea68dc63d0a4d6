//! How many agents each address has let in: a part of what all may have, so that one sender that comes
//! again and again does not take the turns of all others. Pure: time and chance are passed in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::admission::Admission;
use super::sender;

/// Addresses that are remembered. One whose agents came a few milliseconds ago can be forgotten, so
/// that only more senders than this that all come again and again find it full.
const ADDRESSES_MAX: usize = 4096;

/// The pace of each address.
#[derive(Debug)]
pub struct Senders {
    per_second: u32,
    paces: HashMap<IpAddr, Admission>,
}

impl Senders {
    /// Where all together may be so many each second.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Self { per_second, paces: HashMap::new() }
    }

    /// May another agent come in from there?
    ///
    /// # Errors
    /// How long it is to stay away. `chance` is a random number from 0 to 1.
    pub fn ask(&mut self, from: IpAddr, now: Instant, chance: f64) -> Result<(), Duration> {
        let from = sender(from);
        if !self.paces.contains_key(&from) && self.paces.len() >= ADDRESSES_MAX {
            self.paces.retain(|_, pace| !pace.is_full(now));
            if self.paces.len() >= ADDRESSES_MAX {
                // The pace of all holds still.
                return Ok(());
            }
        }
        let pace = self.paces.entry(from).or_insert_with(|| Admission::of_sender(self.per_second, now));
        pace.ask(now, chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn each_address_has_its_part() {
        let now = Instant::now();
        let mut senders = Senders::new(8);
        for _ in 0..8 {
            senders.ask(address(1), now, 0.5).unwrap();
        }
        senders.ask(address(1), now, 0.5).unwrap_err();
        senders.ask("::ffff:0.0.0.1".parse().unwrap(), now, 0.5).unwrap_err();
        senders.ask(address(2), now, 0.5).unwrap();
        // Two each second, and nobody is let in for having asked often.
        let later = now + Duration::from_secs(1);
        let let_in = (0..100).filter(|_| senders.ask(address(1), later, 0.5).is_ok()).count();
        assert_eq!(let_in, 2);
    }

    #[test]
    fn a_single_one_each_second_lets_somebody_in() {
        let now = Instant::now();
        let mut senders = Senders::new(1);
        senders.ask(address(1), now, 0.5).unwrap();
        senders.ask(address(1), now + Duration::from_secs(3), 0.5).unwrap_err();
        senders.ask(address(1), now + Duration::from_secs(4), 0.5).unwrap();
    }

    #[test]
    fn who_has_not_come_lately_is_forgotten_and_no_more_are_remembered() {
        let now = Instant::now();
        let mut senders = Senders::new(1000);
        for number in 0..20_000 {
            senders.ask(address(number), now, 0.5).unwrap();
            assert!(senders.paces.len() <= ADDRESSES_MAX);
        }
        senders.ask(address(100_000), now + Duration::from_secs(1), 0.5).unwrap();
        assert_eq!(senders.paces.len(), 1);
    }
}
