//! Numbers and texts as bytes, and back. Nothing that is read is believed before it was checked.

use protocol::values::as_whole;
use protocol::{ABSENT, is_absent};

/// Most bytes of one number: 64 bits, seven at a time.
const NUMBER_BYTES_MAX: u32 = 10;
/// What begins a sample: not there, one that is no whole number, or (from here on) a whole one.
const SAMPLE_ABSENT: u64 = 0;
const SAMPLE_PLAIN: u64 = 1;
const SAMPLE_WHOLE: u64 = 2;

/// Appends a number: the small ones, of which there are most, in one byte.
pub(super) fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Appends a number that may be negative.
pub(super) fn put_signed(number: i64, out: &mut Vec<u8>) {
    put_number(zigzag(number), out);
}

/// Appends a text and its length.
pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    put_number(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

/// Appends a sample, bit by bit what it was. Most samples of a host are small whole numbers, which
/// take one to four bytes; any other takes nine.
pub(super) fn put_sample(value: f64, out: &mut Vec<u8>) {
    if is_absent(value) {
        put_number(SAMPLE_ABSENT, out);
    } else if let Some(whole) = as_whole(value) {
        // Below 2^54, so that this cannot overflow.
        put_number(SAMPLE_WHOLE + zigzag(whole), out);
    } else {
        put_number(SAMPLE_PLAIN, out);
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    }
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// Reads from the front of some bytes; `None` where they are not what they should be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for at in 0..NUMBER_BYTES_MAX {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            number |= part.checked_shl(at * 7).filter(|shifted| shifted >> (at * 7) == part)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        self.number().map(unzigzag)
    }

    /// A count of things that take at least a byte each: so nothing is allocated for more than came.
    pub(super) fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= self.0.len()).then_some(count)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let length = self.count()?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    pub(super) fn sample(&mut self) -> Option<f64> {
        match self.number()? {
            SAMPLE_ABSENT => Some(ABSENT),
            SAMPLE_PLAIN => Some(f64::from_bits(u64::from_le_bytes(self.take(8)?.try_into().ok()?))),
            whole => {
                #[expect(clippy::cast_precision_loss, reason = "what was written is below 2^53")]
                let value = unzigzag(whole - SAMPLE_WHOLE) as f64;
                Some(value)
            }
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn everything_comes_back(numbers: Vec<u64>, signed: Vec<i64>, bits: Vec<u64>, text: String) {
            let mut out = Vec::new();
            numbers.iter().for_each(|number| put_number(*number, &mut out));
            signed.iter().for_each(|number| put_signed(*number, &mut out));
            bits.iter().for_each(|bits| put_sample(f64::from_bits(*bits), &mut out));
            put_text(&text, &mut out);
            let mut reader = Reader(&out);
            for number in numbers {
                prop_assert_eq!(reader.number(), Some(number));
            }
            for number in signed {
                prop_assert_eq!(reader.signed(), Some(number));
            }
            for bits in bits {
                prop_assert_eq!(reader.sample().map(f64::to_bits), Some(bits));
            }
            prop_assert_eq!(reader.text(), Some(text.as_str()));
            prop_assert!(reader.is_at_end());
        }

        #[test]
        fn garbage_is_read_without_a_panic(bytes: Vec<u8>) {
            let mut reader = Reader(&bytes);
            let _any = (reader.number(), reader.sample(), reader.text(), reader.count(), reader.signed());
        }
    }

    #[test]
    fn samples_take_what_they_need() {
        let size = |value| {
            let mut out = Vec::new();
            put_sample(value, &mut out);
            let back = Reader(&out).sample().unwrap();
            assert_eq!(back.to_bits(), value.to_bits());
            out.len()
        };
        assert_eq!((size(0.0), size(60.0), size(ABSENT)), (1, 1, 1));
        assert_eq!((size(-0.0), size(0.25), size(f64::NAN)), (9, 9, 9));
        assert_eq!((size(1e6), size(9_007_199_254_740_991.0), size(-9_007_199_254_740_991.0)), (3, 8, 8));
    }
}
