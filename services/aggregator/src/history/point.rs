//! One measurement of one key.

/// A value at a second. A key has one value at each second: the last one written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Unix seconds; all of `i64` is legal.
    pub ts: i64,
    /// The value; NaN and infinities are legal.
    pub value: f64,
}
