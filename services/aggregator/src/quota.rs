//! So many in so much time: keeps a flood of strangers out of the log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many events pass in each span of time.
#[derive(Debug)]
pub struct Quota {
    max: u32,
    span: Duration,
    now: Mutex<Option<(Instant, u32)>>,
}

impl Quota {
    /// `max` events in each `span`.
    #[must_use]
    pub fn new(max: u32, span: Duration) -> Self {
        Self { max, span, now: Mutex::new(None) }
    }

    /// May this one pass?
    #[must_use]
    pub fn take(&self, now: Instant) -> bool {
        let mut current = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = current.filter(|(since, _)| now.duration_since(*since) < self.span).unwrap_or((now, 0));
        *current = Some((since, count.saturating_add(1)));
        count < self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_span_has_its_own() {
        let quota = Quota::new(2, Duration::from_secs(10));
        let start = Instant::now();
        let at = |second| quota.take(start + Duration::from_secs(second));
        assert_eq!([0, 1, 2, 9, 10, 11, 12].map(at), [true, true, false, false, true, true, false]);
    }
}
