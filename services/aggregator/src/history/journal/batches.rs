//! The batches of a database's journal, as bytes. Pure.
//!
//! ```text
//! batch   = start item* end
//! start   1, items u32, number u64
//! item    2, type u8, compression u8 (0), keyspace u64, key u16, value u32, value as stored u32, the two
//! end     3, XXH3 of all items u64, "FJL" 3
//! ```
//!
//! All integers are little-endian. Reading allocates nothing: no length is believed.

use std::ops::Range;

use twox_hash::XxHash3_64;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const UNCOMPRESSED: u8 = 0;
const TRAILER: [u8; 4] = *b"FJL\x03";

/// Larger than any number that a batch can have come to.
const NUMBER_MAX: u64 = 1 << 48;

/// A batch that is whole by its checksum.
struct Batch {
    range: Range<usize>,
    number: u64,
}

/// Where whole batches are; those that follow one another are one range.
pub(super) fn find(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        if let Some((length, number)) = batch(rest) {
            found.push(Batch { range: at..at + length, number });
            at += length;
        } else {
            // Behind a damaged place the next batch is looked for.
            let ahead = rest.iter().skip(1).position(|byte| *byte == START);
            at = ahead.map_or(bytes.len(), |ahead| at + 1 + ahead);
        }
    }
    joined(&found)
}

/// The number of a batch orders writes, and no checksum covers it: one that does not fit to those of
/// its neighbours is damaged.
fn joined(found: &[Batch]) -> Vec<Range<usize>> {
    let mut whole: Vec<Range<usize>> = Vec::new();
    let mut last = None;
    for (at, Batch { range, number }) in found.iter().enumerate() {
        let is_above = |number: u64| last.is_none_or(|last| number > last) && number < NUMBER_MAX;
        // One that follows may be the damaged one itself; two are not.
        let mut following = found.iter().skip(at + 1).take(2).map(|next| next.number).filter(|next| is_above(*next));
        let is_below = following.next().is_none_or(|next| *number < next || following.any(|next| *number < next));
        if !is_above(*number) || !is_below {
            continue;
        }
        last = Some(*number);
        match whole.last_mut().filter(|before| before.end == range.start) {
            Some(before) => before.end = range.end,
            None => whole.push(range.clone()),
        }
    }
    whole
}

/// The length and the number of the batch that begins here, if it is whole.
fn batch(bytes: &[u8]) -> Option<(usize, u64)> {
    let mut rest = bytes;
    let ([START], items) = (take(&mut rest)?, u32::from_le_bytes(take(&mut rest)?)) else { return None };
    let number = u64::from_le_bytes(take(&mut rest)?);
    let from_first = rest;
    for _ in 0..items {
        item(&mut rest)?;
    }
    let hashed = from_first.get(..from_first.len() - rest.len())?;
    let ([END], checksum) = (take(&mut rest)?, u64::from_le_bytes(take(&mut rest)?)) else { return None };
    let is_whole = take(&mut rest)? == TRAILER && XxHash3_64::oneshot(hashed) == checksum;
    is_whole.then(|| (bytes.len() - rest.len(), number))
}

fn item(rest: &mut &[u8]) -> Option<()> {
    let [ITEM, _, UNCOMPRESSED] = take(rest)? else { return None };
    let _keyspace: [u8; 8] = take(rest)?;
    let key = u16::from_le_bytes(take(rest)?);
    let value = u32::from_le_bytes(take(rest)?);
    let stored = u32::from_le_bytes(take(rest)?);
    if value != stored {
        return None;
    }
    *rest = rest.get(usize::from(key)..)?.get(usize::try_from(value).ok()?..)?;
    Some(())
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch of one item.
    fn one(number: u64, key: &[u8], value: u8) -> Vec<u8> {
        let mut item = vec![ITEM, 0, UNCOMPRESSED, 1, 0, 0, 0, 0, 0, 0, 0];
        item.extend(u16::try_from(key.len()).unwrap().to_le_bytes());
        item.extend([1, 0, 0, 0, 1, 0, 0, 0]);
        item.extend([key, &[value]].concat());
        let checksum = XxHash3_64::oneshot(&item).to_le_bytes();
        [&[START, 1, 0, 0, 0], &number.to_le_bytes()[..], &item, &[END], &checksum, &TRAILER].concat()
    }

    #[test]
    fn whole_batches_are_found_whatever_stands_between_them() {
        let (a, b) = (one(7, b"a", 1), one(8, b"bb", START));
        let both = [&a[..], &b].concat();
        assert_eq!(find(&both), std::slice::from_ref(&(0..both.len())));
        assert!(find(&[]).is_empty());
        assert!(find(&[0; 100]).is_empty());
        for noise in [&[0_u8; 40][..], &[START; 40], &a[..20], &b[1..]] {
            let bytes = [&a, noise, &b, &b[..b.len() - 1]].concat();
            let second = a.len() + noise.len();
            assert_eq!(find(&bytes), [0..a.len(), second..second + b.len()], "{noise:?}");
        }
    }

    #[test]
    fn every_flipped_bit_costs_its_batch_and_no_other() {
        let (a, b, c) = (one(7, b"a", 1), one(8, b"b", 2), one(9, b"c", 3));
        let bytes = [&a[..], &b, &c].concat();
        let (from, to) = (a.len(), a.len() + b.len());
        for at in from * 8..to * 8 {
            let mut damaged = bytes.clone();
            damaged[at / 8] ^= 1 << (at % 8);
            assert_eq!(find(&damaged), [0..from, to..bytes.len()], "bit {at}");
        }
    }

    #[test]
    fn a_batch_that_was_cut_anywhere_is_none() {
        let (a, b) = (one(7, b"a", 1), one(8, b"b", 2));
        for cut in 0..b.len() {
            assert_eq!(find(&[&a[..], &b[..cut]].concat()), std::slice::from_ref(&(0..a.len())));
        }
    }

    #[test]
    fn a_length_is_not_believed() {
        let mut batch = one(7, b"a", 1);
        batch[5 + 8 + 13..5 + 8 + 21].fill(255);
        assert!(find(&batch).is_empty());
    }
}
