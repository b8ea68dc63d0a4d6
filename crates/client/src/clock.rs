//! The wall clock, for points without a timestamp. Nothing else in this crate reads it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in whole Unix seconds, rounded down; negative before 1970.
#[expect(clippy::disallowed_methods, reason = "this crate stands alone, and this is its one place")]
pub(crate) fn unix_seconds() -> i64 {
    let now = SystemTime::now();
    let seconds = |length: std::time::Duration| i64::try_from(length.as_secs()).unwrap_or(i64::MAX);
    match now.duration_since(UNIX_EPOCH) {
        Ok(since) => seconds(since),
        Err(before) => -seconds(before.duration()) - 1,
    }
}
