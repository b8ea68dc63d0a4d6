//! How fast a reader takes an answer. One that takes a little now and then is never stalled, and
//! would keep its slot as long as an answer may take.

use std::time::Duration;

/// What a reader must take ...
const BYTES: usize = 1 << 20;
/// ... while it is waited for so long. About 35 kB/s.
const WITHIN: Duration = Duration::from_secs(30);

/// A reader's pace. The time that reading the history takes is not the reader's, and is not counted.
#[derive(Debug, Default)]
pub(super) struct Pace {
    taken: usize,
    waited: Duration,
}

impl Pace {
    /// It was waited for so long until it had taken a piece of so many bytes; false: it is too slow.
    pub(super) fn keeps_up(&mut self, bytes: usize, waited: Duration) -> bool {
        self.taken += bytes;
        self.waited += waited;
        let keeps_up = self.waited <= WITHIN;
        if self.taken >= BYTES {
            *self = Self::default();
        }
        keeps_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many pieces of so many bytes a reader gets that takes one in so many seconds, of 1000.
    fn pieces(bytes: usize, seconds: u64) -> usize {
        let mut pace = Pace::default();
        (0..1000).take_while(|_| pace.keeps_up(bytes, Duration::from_secs(seconds))).count()
    }

    #[test]
    fn a_mebibyte_in_half_a_minute_is_enough_and_less_is_not() {
        assert_eq!(pieces(BYTES / 40, 1), 30);
        assert_eq!(pieces(BYTES / 30 + 1, 1), 1000);
        assert_eq!(pieces(BYTES, 30), 1000);
        assert_eq!(pieces(BYTES, 31), 0);
        let mut pace = Pace::default();
        assert!(pace.keeps_up(100 * BYTES, Duration::ZERO));
        assert!(!pace.keeps_up(1, WITHIN * 2), "what was taken fast before does not count");
    }
}
