//! How records stand in a segment: a mark, a length, a checksum, and the record. What is between two
//! good records is skipped, and counted as one damage, however it came about.

/// Begins every record of this version: another one would have another mark.
const MARK: [u8; 4] = [0xf6, b'F', b'G', 1];
/// What a record takes besides itself.
pub(super) const HEAD_BYTES: usize = 12;
/// Most places of a segment that are tried as the beginning of a record after a damage.
const TRIES_MAX: u32 = 1000;

/// Appends a record.
pub(super) fn append(record: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(record.len()).expect("a record is never larger than a segment").to_le_bytes();
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(length, record).to_le_bytes());
    out.extend_from_slice(record);
}

fn checksum(length: [u8; 4], record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(record);
    hasher.finalize()
}

/// Reads the good records of a segment.
#[derive(Debug)]
pub(super) struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
    tries: u32,
    /// How often something was skipped.
    pub(super) damages: u64,
}

impl<'a> Records<'a> {
    /// Those from a place on.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, tries: 0, damages: 0 }
    }

    /// Where the next one is looked for.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The record at a place, and where it ends.
    fn at(&self, place: usize) -> Option<(&'a [u8], usize)> {
        let (mark, rest) = self.bytes.get(place..)?.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (sum, rest) = rest.split_first_chunk::<4>()?;
        let record = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let is_good = *mark == MARK && u32::from_le_bytes(*sum) == checksum(*length, record);
        is_good.then_some((record, place + HEAD_BYTES + record.len()))
    }

    /// The next place behind the present one that may begin a record.
    fn next_mark(&self) -> Option<usize> {
        let from = self.at + 1;
        Some(from + self.bytes.get(from..)?.windows(MARK.len()).position(|four| four == MARK)?)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.at >= self.bytes.len() {
            return None;
        }
        if let Some((record, end)) = self.at(self.at) {
            self.at = end;
            return Some(record);
        }
        self.damages += 1;
        while self.tries < TRIES_MAX
            && let Some(place) = self.next_mark()
        {
            self.tries += 1;
            self.at = place;
            if let Some((record, end)) = self.at(place) {
                self.at = end;
                return Some(record);
            }
        }
        self.at = self.bytes.len();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Vec<u8> {
        let mut bytes = Vec::new();
        for record in [&b"one"[..], b"", b"three and a bit more"] {
            append(record, &mut bytes);
        }
        bytes
    }

    #[test]
    fn records_come_back() {
        let bytes = three();
        let mut records = Records::new(&bytes, 0);
        assert_eq!(records.by_ref().collect::<Vec<_>>(), [&b"one"[..], b"", b"three and a bit more"]);
        assert_eq!((records.damages, records.position()), (0, bytes.len()));
    }

    #[test]
    fn whatever_is_cut_off_the_records_before_it_stay() {
        let bytes = three();
        let ends = [15, 27, 59];
        for length in 0..=bytes.len() {
            let mut records = Records::new(&bytes[..length], 0);
            let whole = ends.iter().filter(|end| **end <= length).count();
            assert_eq!(records.by_ref().count(), whole, "{length}");
            assert_eq!(records.damages, u64::from(length > 0 && !ends.contains(&length)));
        }
    }

    #[test]
    fn whatever_byte_is_changed_the_other_records_stay() {
        let whole = three();
        for at in 0..whole.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                let mut records = Records::new(&bytes, 0);
                let found: Vec<&[u8]> = records.by_ref().collect();
                assert_eq!((found.len(), records.damages), (2, 1), "byte {at}");
                assert!(found.iter().all(|record| [&b"one"[..], b"", b"three and a bit more"].contains(record)));
            }
        }
    }

    #[test]
    fn many_false_beginnings_end_the_search() {
        let mut bytes = MARK.repeat(5000);
        append(b"behind", &mut bytes);
        let mut records = Records::new(&bytes, 0);
        assert_eq!((records.next(), records.damages), (None, 1));
    }
}
