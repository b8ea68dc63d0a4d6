//! The index: pages, which say where the blocks of some series are, and the directory, which says
//! where the pages are. Both as bytes and as values; it does no I/O.
//!
//! A page is checked as a whole when it is parsed: whoever has a [`Page`] need not look again.

use std::ops::Range;

use bytes::{Buf, BufMut};

use super::block::BLOCK_BYTES_MAX;
use super::format::HEADER_BYTES;
use super::{BLOCK_POINTS_MAX, KEY_BYTES_MAX, SeriesHead, Space};

/// A page is written out when it has as much as this: about 200 series with a block each. Finding
/// a series reads one page, in some ten microseconds.
pub(super) const PAGE_BYTES: usize = 16 * 1024;
/// A series with more blocks than this goes on in another record, so that a page stays small.
pub(super) const RECORD_ENTRIES_MAX: usize = 64;
/// Longest page: nearly full, and then the longest record.
pub(super) const PAGE_BYTES_MAX: usize =
    PAGE_BYTES + RECORD_HEAD_BYTES + KEY_BYTES_MAX + RECORD_ENTRIES_MAX * ENTRY_BYTES;
/// Bytes of a page's place in the directory: what a writer and a reader keep in memory for each.
pub(super) const PLACE_BYTES: usize = 48;

const PAGE_HEAD_BYTES: usize = 4;
const RECORD_HEAD_BYTES: usize = 16;
const ENTRY_BYTES: usize = 40;

/// What a block is and where.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Entry {
    pub(super) offset: u64,
    pub(super) bytes: u32,
    /// Bytes of the column of seconds.
    pub(super) seconds_bytes: u32,
    pub(super) count: u32,
    pub(super) crc: u32,
    pub(super) min_ts: i64,
    pub(super) max_ts: i64,
}

impl Entry {
    fn put(&self, to: &mut Vec<u8>) {
        to.put_u64_le(self.offset);
        to.put_u32_le(self.bytes);
        to.put_u32_le(self.seconds_bytes);
        to.put_u32_le(self.count);
        to.put_u32_le(self.crc);
        to.put_i64_le(self.min_ts);
        to.put_i64_le(self.max_ts);
    }

    /// `None`: it cannot be, in a file whose blocks end before `end`.
    fn get(from: &mut &[u8], end: u64) -> Option<Self> {
        let entry = Self {
            offset: from.try_get_u64_le().ok()?,
            bytes: from.try_get_u32_le().ok()?,
            seconds_bytes: from.try_get_u32_le().ok()?,
            count: from.try_get_u32_le().ok()?,
            crc: from.try_get_u32_le().ok()?,
            min_ts: from.try_get_i64_le().ok()?,
            max_ts: from.try_get_i64_le().ok()?,
        };
        let fits = is_inside(entry.offset, entry.bytes, BLOCK_BYTES_MAX, end)
            && entry.seconds_bytes <= entry.bytes
            && (1..=BLOCK_POINTS_MAX).contains(&usize::try_from(entry.count).ok()?)
            && entry.min_ts <= entry.max_ts;
        fits.then_some(entry)
    }
}

/// Where a page is and what it covers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) bytes: u32,
    pub(super) crc: u32,
    pub(super) first_id: u64,
    pub(super) last_id: u64,
    pub(super) min_ts: i64,
    pub(super) max_ts: i64,
}

impl Place {
    fn put(&self, to: &mut Vec<u8>) {
        to.put_u64_le(self.offset);
        to.put_u32_le(self.bytes);
        to.put_u32_le(self.crc);
        to.put_u64_le(self.first_id);
        to.put_u64_le(self.last_id);
        to.put_i64_le(self.min_ts);
        to.put_i64_le(self.max_ts);
    }

    fn get(from: &mut &[u8], end: u64) -> Option<Self> {
        let place = Self {
            offset: from.try_get_u64_le().ok()?,
            bytes: from.try_get_u32_le().ok()?,
            crc: from.try_get_u32_le().ok()?,
            first_id: from.try_get_u64_le().ok()?,
            last_id: from.try_get_u64_le().ok()?,
            min_ts: from.try_get_i64_le().ok()?,
            max_ts: from.try_get_i64_le().ok()?,
        };
        let fits = is_inside(place.offset, place.bytes, PAGE_BYTES_MAX, end)
            && place.first_id <= place.last_id
            && place.min_ts <= place.max_ts;
        fits.then_some(place)
    }
}

/// The directory as bytes.
pub(super) fn encode_directory(places: &[Place]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(places.len() * PLACE_BYTES);
    for place in places {
        place.put(&mut bytes);
    }
    bytes
}

/// Reads a directory, whose pages must be before `end`. `None`: damaged.
pub(super) fn parse_directory(mut bytes: &[u8], end: u64) -> Option<Vec<Place>> {
    let mut places = Vec::with_capacity(bytes.len() / PLACE_BYTES);
    while !bytes.is_empty() {
        let place = Place::get(&mut bytes, end)?;
        // Searched by halves: it must be in order.
        if places.last().is_some_and(|before: &Place| before.last_id > place.first_id) {
            return None;
        }
        places.push(place);
    }
    Some(places)
}

/// Some blocks of a series, as they stand in a page.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) id: u64,
    space: Space,
    /// Does it go on from the page before? Then it has no key.
    pub(super) is_part: bool,
    key: Range<usize>,
    entries: Range<usize>,
}

/// A page that was read and checked.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) records: Vec<Record>,
    keys: String,
    entries: Vec<Entry>,
}

impl Page {
    /// Reads a page. `None`: damaged, or not the page that the directory speaks of.
    pub(super) fn parse(bytes: &[u8], place: &Place) -> Option<Self> {
        if crc32fast::hash(bytes) != place.crc {
            return None;
        }
        let mut rest = bytes;
        let count = rest.try_get_u32_le().ok()?;
        let mut page = Self { records: Vec::new(), keys: String::new(), entries: Vec::new() };
        for _ in 0..count {
            // Each takes some of the bytes that are there, so this ends.
            page.take_record(&mut rest, place)?;
        }
        let fits = rest.is_empty()
            && page.records.first()?.id == place.first_id
            && page.records.last()?.id == place.last_id
            && page.records.windows(2).all(|two| matches!(two, [a, b] if a.id < b.id && !b.is_part));
        fits.then_some(page)
    }

    fn take_record(&mut self, from: &mut &[u8], place: &Place) -> Option<()> {
        let id = from.try_get_u64_le().ok()?;
        let space = space_of(from.try_get_u8().ok()?)?;
        let is_part = match from.try_get_u8().ok()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let key_bytes = usize::from(from.try_get_u16_le().ok()?);
        let count = usize::try_from(from.try_get_u32_le().ok()?).ok()?;
        let (key, rest) = from.split_at_checked(key_bytes)?;
        *from = rest;
        let key_at = self.keys.len();
        self.keys.push_str(std::str::from_utf8(key).ok()?);
        let at = self.entries.len();
        for _ in 0..count {
            // A page stands behind the blocks that it describes.
            let entry = Entry::get(from, place.offset)?;
            let before = self.entries.get(at..)?.last();
            if before.is_some_and(|before| before.max_ts >= entry.min_ts) {
                return None;
            }
            self.entries.push(entry);
        }
        let record = Record { id, space, is_part, key: key_at..self.keys.len(), entries: at..self.entries.len() };
        self.records.push(record);
        (count > 0 && (!is_part || key_bytes == 0)).then_some(())
    }

    /// The blocks of a record of this page.
    pub(super) fn entries(&self, record: &Record) -> &[Entry] {
        self.entries.get(record.entries.clone()).unwrap_or_default()
    }

    /// The record of this series.
    pub(super) fn find(&self, id: u64) -> Option<&Record> {
        self.records.binary_search_by_key(&id, |record| record.id).ok().and_then(|at| self.records.get(at))
    }

    /// What the series of a record is called.
    pub(super) fn head(&self, record: &Record) -> SeriesHead {
        let key = self.keys.get(record.key.clone()).unwrap_or_default();
        SeriesHead { id: record.id, space: record.space, key: key.into() }
    }
}

/// A page that is being made.
#[derive(Debug, Default)]
pub(super) struct PageBuilder {
    bytes: Vec<u8>,
    records: u32,
    /// All but offset, length and checksum.
    covers: Option<Place>,
}

impl PageBuilder {
    /// Bytes that it has so far.
    pub(super) fn len(&self) -> usize {
        PAGE_HEAD_BYTES + self.bytes.len()
    }

    /// Adds a record with at least one block. Ids ascend; a part is the first of its page.
    pub(super) fn add(&mut self, head: &SeriesHead, is_part: bool, entries: &[Entry]) {
        let key = if is_part { "" } else { &head.key };
        self.bytes.put_u64_le(head.id);
        self.bytes.put_u8(code_of(head.space));
        self.bytes.put_u8(u8::from(is_part));
        self.bytes.put_u16_le(u16::try_from(key.len()).unwrap_or_default());
        self.bytes.put_u32_le(u32::try_from(entries.len()).unwrap_or_default());
        self.bytes.put_slice(key.as_bytes());
        let covers = self.covers.get_or_insert(Place {
            offset: 0,
            bytes: 0,
            crc: 0,
            first_id: head.id,
            last_id: head.id,
            min_ts: i64::MAX,
            max_ts: i64::MIN,
        });
        covers.last_id = head.id;
        self.records += 1;
        for entry in entries {
            entry.put(&mut self.bytes);
            covers.min_ts = covers.min_ts.min(entry.min_ts);
            covers.max_ts = covers.max_ts.max(entry.max_ts);
        }
    }

    /// The page as it is written at this offset, and its place in the directory; nothing without
    /// records. The builder is empty then.
    pub(super) fn finish(&mut self, offset: u64) -> Option<(Place, Vec<u8>)> {
        let covers = self.covers.take()?;
        let mut bytes = Vec::with_capacity(self.len());
        bytes.put_u32_le(std::mem::take(&mut self.records));
        bytes.append(&mut self.bytes);
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Some((Place { offset, bytes: length, crc: crc32fast::hash(&bytes), ..covers }, bytes))
    }
}

fn is_inside(offset: u64, bytes: u32, bytes_max: usize, end: u64) -> bool {
    offset >= HEADER_BYTES as u64
        && usize::try_from(bytes).is_ok_and(|bytes| bytes <= bytes_max)
        && offset.checked_add(u64::from(bytes)).is_some_and(|after| after <= end)
}

fn code_of(space: Space) -> u8 {
    match space {
        Space::Put => 0,
        Space::Vital => 1,
    }
}

fn space_of(code: u8) -> Option<Space> {
    match code {
        0 => Some(Space::Put),
        1 => Some(Space::Vital),
        _ => None,
    }
}
