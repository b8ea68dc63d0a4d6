//! For the fuzzers: the parts of a sealed file as if their checksums were right, which no fuzzer finds.

use bytes::Buf as _;

use super::block;
use super::index::{Entry, Page, Place, parse_directory};

/// Reads bytes as each part of a file.
pub(in crate::history) fn read_parts(bytes: &[u8]) {
    let _places = parse_directory(bytes, u64::MAX);
    let crc = crc32fast::hash(bytes);
    let bytes_len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let id = |from: &[u8]| from.get(..8).and_then(|mut id| id.try_get_u64_le().ok()).unwrap_or_default();
    let first_id = id(bytes.get(4..).unwrap_or_default());
    for last_id in [first_id, u64::MAX] {
        let place =
            Place { offset: u64::MAX, bytes: bytes_len, crc, first_id, last_id, min_ts: i64::MIN, max_ts: i64::MAX };
        if let Some(page) = Page::parse(bytes, &place) {
            page.records.iter().for_each(|record| drop((page.head(record), page.entries(record).len())));
        }
    }
    read_block(bytes);
}

/// What the index says of the block, and then the block.
fn read_block(mut bytes: &[u8]) {
    let mut head = || {
        let (count, seconds) = (bytes.try_get_u16_le().ok()?, bytes.try_get_u16_le().ok()?);
        Some((u32::from(count), u32::from(seconds), bytes.try_get_i64_le().ok()?, bytes.try_get_i64_le().ok()?))
    };
    let Some((count, seconds_bytes, min_ts, max_ts)) = head() else { return };
    let entry = Entry {
        offset: 0,
        bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        seconds_bytes,
        count,
        crc: crc32fast::hash(bytes),
        min_ts,
        max_ts,
    };
    if let Some(columns) = block::decode(&entry, bytes) {
        assert_eq!(columns.len(), usize::try_from(count).unwrap_or(0), "as many points as the index says");
    }
}
