//! How fast counters of bytes grow, from one push to the next.

use super::places::Devices;

/// What the counters of some devices were at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Counted {
    pub(super) devices: Devices,
    /// In their order; `None`: the device was not there.
    pub(super) bytes: Box<[Option<f64>]>,
    /// By the agent's clock that never steps.
    pub(super) at_ms: i64,
}

impl Counted {
    /// Bytes per second since then, all devices together, to a thousandth. `None`: nobody can tell,
    /// because a device came or went, a counter began anew, or no time has passed.
    pub(super) fn rate_since(&self, before: &Self) -> Option<f64> {
        let elapsed_ms = self.at_ms.checked_sub(before.at_ms).filter(|elapsed| *elapsed > 0)?;
        if self.devices != before.devices {
            return None;
        }
        let mut grown = None;
        for pair in before.bytes.iter().zip(&self.bytes) {
            match pair {
                (Some(before), Some(now)) if now >= before => grown = Some(grown.unwrap_or(0.0) + (now - before)),
                (None, None) => {}
                _ => return None,
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "milliseconds between two pushes are far below 2^53")]
        let rate = grown? * 1e6 / elapsed_ms as f64;
        Some(rate.round() / 1e3).filter(|rate| rate.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(at_ms: i64, devices: &[(&str, Option<f64>)]) -> Counted {
        Counted {
            devices: Devices(devices.iter().map(|(name, _)| u64::from(name.as_bytes()[0])).sum()),
            bytes: devices.iter().map(|(_, bytes)| *bytes).collect(),
            at_ms,
        }
    }

    #[track_caller]
    fn check(elapsed_ms: i64, before: &[(&str, Option<f64>)], now: &[(&str, Option<f64>)], expected: Option<f64>) {
        assert_eq!(counted(1000 + elapsed_ms, now).rate_since(&counted(1000, before)), expected);
    }

    #[test]
    fn rates() {
        let (a, b) = (|bytes| ("a", Some(bytes)), |bytes| ("b", Some(bytes)));
        check(2000, &[a(100.0), b(1.0)], &[a(300.0), b(101.0)], Some(150.0));
        check(1000, &[a(5.0)], &[a(5.0)], Some(0.0));
        check(3000, &[a(0.0)], &[a(1.0)], Some(0.333));
        // One that began anew is not hidden by another that grew.
        check(1000, &[a(100.0), b(1.0)], &[a(0.0), b(999.0)], None);
        check(1000, &[a(1.0)], &[a(2.0), b(3.0)], None);
        check(1000, &[a(1.0), b(1.0)], &[a(2.0), ("b", None)], None);
        check(1000, &[a(1.0), ("b", None)], &[a(2.0), ("b", None)], Some(1.0));
        check(1000, &[("b", None)], &[("b", None)], None);
        check(0, &[a(1.0)], &[a(2.0)], None);
        check(-5, &[a(1.0)], &[a(2.0)], None);
        check(1000, &[a(-f64::MAX)], &[a(f64::MAX)], None);
        assert_eq!(counted(i64::MAX, &[a(2.0)]).rate_since(&counted(i64::MIN, &[a(1.0)])), None);
    }
}
