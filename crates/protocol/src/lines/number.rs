//! A value as text: what Python's `repr` gives for a float, character by character. Much software
//! that speaks this protocol was tested against answers that Python had written.
//!
//! Those are the fewest digits that read back as the same double. Without an exponent when the
//! value is at least 1e-4 and below 1e16, and then with `.0` if it is whole; otherwise with one
//! digit before the point and an exponent that has a sign and at least two digits.

/// The most bytes that a value takes: `-2.2250738585072014e-308`.
pub const VALUE_BYTES_MAX: usize = 24;

/// Appends a value.
pub fn write_value(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"nan");
        return;
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let value = value.abs();
    if value.is_infinite() {
        out.extend_from_slice(b"inf");
        return;
    }
    let mut buffer = zmij::Buffer::new();
    let shortest = buffer.format_finite(value).as_bytes();
    // Nearly every value: written alike by both.
    let is_usual = (1e-4..1e15).contains(&value) || value == 0.0;
    if is_usual {
        out.extend_from_slice(shortest);
    } else {
        Digits::of(shortest).write(out);
    }
}

/// A positive number as the digits after `0.`, the first of them not zero, and a power of ten.
struct Digits {
    digits: [u8; VALUE_BYTES_MAX],
    count: usize,
    power: i32,
}

impl Digits {
    /// Of `123.4`, `0.001`, `1.5e-7` or `1e+22`.
    fn of(text: &[u8]) -> Self {
        let mut parts = text.split(|byte| *byte == b'e');
        let (mantissa, exponent) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let mut number = Self { digits: [b'0'; VALUE_BYTES_MAX], count: 0, power: as_integer(exponent) };
        let mut is_fraction = false;
        for byte in mantissa {
            match byte {
                b'.' => is_fraction = true,
                // A zero in front moves the point only when it stands behind it.
                b'0' if number.count == 0 => number.power -= i32::from(is_fraction),
                digit => {
                    if let Some(place) = number.digits.get_mut(number.count) {
                        *place = *digit;
                        number.count += 1;
                    }
                    number.power += i32::from(!is_fraction);
                }
            }
        }
        while number.count > 1 && number.digits().ends_with(b"0") {
            number.count -= 1;
        }
        number
    }

    fn digits(&self) -> &[u8] {
        self.digits.get(..self.count).unwrap_or_default()
    }

    fn write(&self, out: &mut Vec<u8>) {
        let digits = self.digits();
        match usize::try_from(self.power) {
            Ok(whole @ 1..=16) => {
                let (before, after) = digits.split_at(whole.min(digits.len()));
                out.extend_from_slice(before);
                out.resize(out.len() + whole - before.len(), b'0');
                out.push(b'.');
                out.extend_from_slice(if after.is_empty() { b"0" } else { after });
            }
            _ if self.power > -4 && self.power <= 0 => {
                out.extend_from_slice(b"0.");
                out.resize(out.len() + self.power.unsigned_abs() as usize, b'0');
                out.extend_from_slice(digits);
            }
            _ => {
                let (first, rest) = digits.split_at(1.min(digits.len()));
                out.extend_from_slice(first);
                if !rest.is_empty() {
                    out.push(b'.');
                    out.extend_from_slice(rest);
                }
                let exponent = self.power - 1;
                out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
                let exponent = exponent.unsigned_abs();
                if exponent < 10 {
                    out.push(b'0');
                }
                out.extend_from_slice(itoa::Buffer::new().format(exponent).as_bytes());
            }
        }
    }
}

/// `-7`, `+22`, or nothing at all for zero.
fn as_integer(text: &[u8]) -> i32 {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    debug_assert!(number.is_some() || text.is_empty(), "{text:?} is no exponent");
    number.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bit patterns and what `repr` of CPython 3 gives for them, one a line.
    const TABLE: &str = include_str!("number_table.txt");

    fn repr(value: f64) -> String {
        let mut out = Vec::new();
        write_value(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn as_python_writes_it() {
        let mut lines = 0;
        for line in TABLE.lines() {
            let (bits, expected) = line.split_once(' ').unwrap();
            assert_eq!(repr(f64::from_bits(u64::from_str_radix(bits, 16).unwrap())), expected, "{bits}");
            lines += 1;
        }
        assert!(lines > 300, "only {lines} lines");
    }

    #[test]
    fn by_example() {
        for (value, expected) in [
            (10.0, "10.0"),
            (4_200_000.0, "4200000.0"),
            (10.50, "10.5"),
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1e-4, "0.0001"),
            (0.000_123_4, "0.0001234"),
            (0.000_099_9, "9.99e-05"),
            (1e-7, "1e-07"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (4.2e19, "4.2e+19"),
            (-1e100, "-1e+100"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "nan"),
            (-f64::NAN, "nan"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(repr(value), expected);
        }
    }

    fn check_round_trip(value: f64) {
        let text = repr(value);
        let back: f64 = text.parse().unwrap();
        assert_eq!(back.to_bits(), if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }, "{text}");
        assert!(text.len() <= VALUE_BYTES_MAX, "{text}");
        // Whole numbers show that they are doubles.
        assert!(!value.is_finite() || text.contains(['.', 'e']), "{text}");
    }

    proptest! {
        #[test]
        fn any_bits_read_back(bits: u64) {
            check_round_trip(f64::from_bits(bits));
        }

        #[test]
        fn any_decimal_reads_back(digits in -100_000_000_000_000_000_i64..100_000_000_000_000_000, power in -25..25) {
            check_round_trip(format!("{digits}e{power}").parse().unwrap());
        }
    }
}
