//! Percentiles of a handful of measurements.

/// The nearest-rank percentile: the smallest value that at least `percent` % of all do not exceed.
/// It is always a value that was measured. `None` of nothing.
#[must_use]
pub fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent.min(100)).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// The middle value; the mean of both middle ones when their number is even.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    sorted.get(sorted.len() / 2 - 1).map(|lower| f64::midpoint(*lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[f64], percent: usize, expected: f64) {
        assert_eq!(percentile(values, percent), Some(expected));
    }

    #[test]
    fn percentiles_are_measured_values() {
        check(&[3.0], 50, 3.0);
        check(&[3.0, 1.0, 2.0], 50, 2.0);
        check(&[4.0, 3.0, 1.0, 2.0], 50, 2.0);
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        check(&hundred, 99, 99.0);
        check(&hundred, 100, 100.0);
        check(&hundred, 0, 1.0);
        check(&hundred[..50], 99, 100.0);
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[5.0, 1.0, 9.0]), Some(5.0));
        assert_eq!(median(&[5.0, 1.0]), Some(3.0));
    }
}
