//! One number at one second.

/// A value at a Unix second. Any second of an `i64` is legal, and any value: also NaN and infinity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Unix seconds.
    pub ts: i64,
    /// The number.
    pub value: f64,
}
