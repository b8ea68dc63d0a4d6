//! One vector of samples, by position: a JSON array of numbers, `null` (not there now) and the
//! strings `"NaN"`, `"+Inf"`, `"-Inf"` (JSON has no such numbers).

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The bit pattern that stands for `null`: a NaN that no arithmetic produces (Prometheus uses the
/// same one for its stale markers).
pub const ABSENT: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Is this the mark for "not there now"? An ordinary NaN is not.
#[must_use]
pub fn is_absent(value: f64) -> bool {
    value.to_bits() == ABSENT.to_bits()
}

/// The samples of a set, or of a part of it, in the order of its declaration.
#[derive(Debug, Clone, Default)]
pub struct Vector(pub Vec<f64>);

impl PartialEq for Vector {
    /// Bit by bit: NaN equals itself here.
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(a, b)| a.to_bits() == b.to_bits())
    }
}

/// Writes one sample as the wire has it. Whole numbers below 2^53 are written without a fraction.
struct Sample(f64);

impl Serialize for Sample {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = self.0;
        if is_absent(value) {
            serializer.serialize_none()
        } else if value.is_nan() {
            serializer.serialize_str("NaN")
        } else if value.is_infinite() {
            serializer.serialize_str(if value > 0.0 { "+Inf" } else { "-Inf" })
        } else if let Some(whole) = as_whole(value) {
            serializer.serialize_i64(whole)
        } else {
            serializer.serialize_f64(value)
        }
    }
}

/// The value as an integer when that loses nothing. Minus zero is not whole: its sign would go.
#[must_use]
pub fn as_whole(value: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    let whole = value.abs() < EXACT && value.fract() == 0.0 && !(value == 0.0 && value.is_sign_negative());
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and below 2^53")]
    whole.then_some(value as i64)
}

impl<'de> Deserialize<'de> for Sample {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One;
        impl Visitor<'_> for One {
            type Value = Sample;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, null, \"NaN\", \"+Inf\" or \"-Inf\"")
            }
            fn visit_f64<E>(self, value: f64) -> Result<Sample, E> {
                Ok(Sample(value))
            }
            #[expect(clippy::cast_precision_loss, reason = "a sample is an f64; JSON integers beyond 2^53 are rounded")]
            fn visit_u64<E>(self, value: u64) -> Result<Sample, E> {
                Ok(Sample(value as f64))
            }
            #[expect(clippy::cast_precision_loss, reason = "a sample is an f64; JSON integers beyond 2^53 are rounded")]
            fn visit_i64<E>(self, value: i64) -> Result<Sample, E> {
                Ok(Sample(value as f64))
            }
            fn visit_unit<E>(self) -> Result<Sample, E> {
                Ok(Sample(ABSENT))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Sample, E> {
                match text {
                    "NaN" => Ok(Sample(f64::NAN)),
                    "+Inf" => Ok(Sample(f64::INFINITY)),
                    "-Inf" => Ok(Sample(f64::NEG_INFINITY)),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(One)
    }
}

impl Serialize for Vector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.0.len()))?;
        for value in &self.0 {
            seq.serialize_element(&Sample(*value))?;
        }
        seq.end()
    }
}

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Vector;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of samples")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vector, A::Error> {
                // A line is at most 64 KiB, so this grows to 32 Ki samples at most.
                let mut values = Vec::new();
                while let Some(Sample(value)) = seq.next_element()? {
                    values.push(value);
                }
                Ok(Vector(values))
            }
        }
        deserializer.deserialize_seq(All)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(values: &[f64], json: &str) {
        let vector = Vector(values.to_vec());
        assert_eq!(serde_json::to_string(&vector).unwrap(), json);
        assert_eq!(serde_json::from_str::<Vector>(json).unwrap(), vector);
    }

    #[test]
    fn what_json_cannot_say_is_said() {
        check(&[1.0, 0.1, -3.0], "[1,0.1,-3]");
        check(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, ABSENT], r#"["NaN","+Inf","-Inf",null]"#);
        check(&[-0.0, 1e300, 5e-324], "[-0.0,1e+300,5e-324]");
        assert!(serde_json::from_str::<Vector>(r#"["Inf"]"#).is_err());
        assert!(serde_json::from_str::<Vector>("[true]").is_err());
        assert!(serde_json::from_str::<Vector>("[[1]]").is_err());
    }

    proptest! {
        #[test]
        fn every_value_comes_back_bit_by_bit(bits in proptest::collection::vec(any::<u64>(), 0..50)) {
            let values: Vec<f64> = bits.iter().map(|b| f64::from_bits(*b)).collect();
            let back: Vector = serde_json::from_str(&serde_json::to_string(&Vector(values.clone())).unwrap()).unwrap();
            for (sent, got) in values.iter().zip(&back.0) {
                // All NaN but the mark are one NaN to Prometheus.
                prop_assert!(sent.to_bits() == got.to_bits() || (sent.is_nan() && got.is_nan() && !is_absent(*got)));
            }
        }
    }
}
