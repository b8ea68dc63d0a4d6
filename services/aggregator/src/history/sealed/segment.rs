//! Reads a sealed file: finds the blocks of a series, and gives their points. It never writes.
//!
//! The directory is in memory, and the page that was read last; everything else stays in the file.
//! Reads take no lock but for swapping that page, so any number of threads may read one segment.

use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::block;
use super::format::{self, FOOTER_BYTES, Footer, HEADER_BYTES};
use super::index::{Entry, PLACE_BYTES, Page, Place, parse_directory};
use super::pread::read_exact_at;
use super::{Heads, Lost, OpenError, Summary};
use crate::history::Point;

/// A sealed file that is open for reading.
#[derive(Debug)]
pub(in crate::history) struct Segment {
    file: File,
    places: Vec<Place>,
    summary: Summary,
    /// The page that was read last, with its number: who walks over all series, or reads one in
    /// pieces, reads each page once.
    newest: Mutex<Option<(usize, Arc<Page>)>>,
}

/// How far a read went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::history) struct Read {
    /// Where to go on, when the limit ended it. It is always beyond where the read began, and there
    /// may turn out to be nothing. `None`: there is nothing more in the range.
    pub(in crate::history) next_from: Option<i64>,
    /// What there would be more if it were not damaged.
    pub(in crate::history) lost: Lost,
}

impl Segment {
    /// Opens a sealed file. It reads both ends and the directory, and checks them; pages and blocks
    /// are checked when they are read.
    ///
    /// # Errors
    /// [`OpenError::Newer`] when another version wrote it, [`OpenError::Damaged`] when it is cut
    /// or damaged at one of its ends, [`OpenError::Io`] when the system does not give it.
    pub(in crate::history) fn open(path: &Path) -> Result<Self, OpenError> {
        let file = File::open(path)?;
        let file_bytes = file.metadata()?.len();
        let too_short = OpenError::Damaged("it is shorter than an empty one");
        let Some(after_header) = file_bytes.checked_sub(HEADER_BYTES as u64) else { return Err(too_short) };
        let mut header = [0; HEADER_BYTES];
        read_exact_at(&file, &mut header, 0)?;
        // Before anything else of the file is looked at: another version may have another end.
        format::check_header(&header)?;
        if after_header < FOOTER_BYTES as u64 {
            return Err(too_short);
        }
        let footer_at = file_bytes - FOOTER_BYTES as u64;
        let mut footer = [0; FOOTER_BYTES];
        read_exact_at(&file, &mut footer, footer_at)?;
        let footer = Footer::parse(&footer, file_bytes)
            .ok_or(OpenError::Damaged("the checksum of its footer does not fit: it may have been cut"))?;
        let directory_bytes = footer_at.checked_sub(footer.directory_at);
        if directory_bytes != Some(u64::from(footer.pages) * PLACE_BYTES as u64) {
            return Err(OpenError::Damaged("its directory is not where its footer says"));
        }
        // No more than the file has.
        let mut directory = vec![0; usize::try_from(footer.pages).unwrap_or(0).saturating_mul(PLACE_BYTES)];
        read_exact_at(&file, &mut directory, footer.directory_at)?;
        if crc32fast::hash(&directory) != footer.directory_crc {
            return Err(OpenError::Damaged("the checksum of its directory does not fit"));
        }
        let places = parse_directory(&directory, footer.directory_at)
            .ok_or(OpenError::Damaged("its directory makes no sense"))?;
        Ok(Self { file, places, summary: footer.summary, newest: Mutex::default() })
    }

    /// What it holds.
    #[must_use]
    pub(in crate::history) fn summary(&self) -> Summary {
        self.summary
    }

    /// The names of all its series, in ascending order of id. What is lost of them comes in between.
    #[must_use]
    pub(in crate::history) fn series(&self) -> Heads<'_> {
        Heads::new(self)
    }

    /// Appends the points of a series within this range, in ascending order. It stops after the
    /// block in which the limit is reached, so there may be [`super::BLOCK_POINTS_MAX`] more; points that are
    /// lost count as if they had been read. A block that is damaged is left out and reported.
    pub(in crate::history) fn read(
        &self,
        id: u64,
        range: RangeInclusive<i64>,
        limit: usize,
        to: &mut Vec<Point>,
    ) -> Read {
        let mut lost = Lost::default();
        let (mut bytes, mut last_ts) = (Vec::new(), None);
        let had = to.len();
        let first = self.places.partition_point(|place| place.last_id < id);
        let pages = self.places.iter().enumerate().skip(first).take_while(|(_, place)| place.first_id <= id);
        for (number, place) in pages.filter(|(_, place)| meets(&range, place.min_ts, place.max_ts)) {
            let Some(page) = self.page(number) else {
                lost.add(&Lost::page(place));
                continue;
            };
            let entries = page.find(id).map(|record| page.entries(record)).unwrap_or_default();
            for entry in entries.iter().filter(|entry| meets(&range, entry.min_ts, entry.max_ts)) {
                // A page was checked to be in order, but not against the page before it.
                let is_in_order = last_ts.is_none_or(|last| last < entry.min_ts);
                match self.block(entry, &mut bytes).filter(|_| is_in_order) {
                    Some(block) => to.extend(block.points().filter(|point| range.contains(&point.ts))),
                    None => lost.add(&Lost::block(entry)),
                }
                last_ts = last_ts.max(Some(entry.max_ts));
                let seen = (to.len() - had) as u64 + lost.points;
                if seen >= limit as u64 && entry.max_ts < *range.end() {
                    return Read { next_from: entry.max_ts.checked_add(1), lost };
                }
            }
        }
        Read { next_from: None, lost }
    }

    /// Names the series that have points after this second, without reading any block. What is lost
    /// are pages that may have named more.
    pub(in crate::history) fn newer_than(&self, ts: i64, mut name: impl FnMut(u64)) -> Lost {
        let mut lost = Lost::default();
        let mut before = None;
        for (number, place) in self.places.iter().enumerate().filter(|(_, place)| place.max_ts > ts) {
            let Some(page) = self.page(number) else {
                lost.add(&Lost::page(place));
                continue;
            };
            for record in &page.records {
                let is_newer = page.entries(record).last().is_some_and(|entry| entry.max_ts > ts);
                // A series may be in several pages and is named once.
                if is_newer && before != Some(record.id) {
                    before = Some(record.id);
                    name(record.id);
                }
            }
        }
        lost
    }

    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    /// A page by its number. `None`: damaged, or the disk does not give it.
    pub(super) fn page(&self, number: usize) -> Option<Arc<Page>> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, page)) = newest.filter(|(which, _)| *which == number) {
            return Some(page);
        }
        let place = self.places.get(number)?;
        let mut bytes = Vec::new();
        self.fill(&mut bytes, place.offset, place.bytes).ok()?;
        let page = Arc::new(Page::parse(&bytes, place)?);
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some((number, Arc::clone(&page)));
        Some(page)
    }

    fn block(&self, entry: &Entry, bytes: &mut Vec<u8>) -> Option<block::Columns> {
        self.fill(bytes, entry.offset, entry.bytes).ok()?;
        block::decode(entry, bytes)
    }

    /// Reads this much, which the index has been checked to bound.
    fn fill(&self, bytes: &mut Vec<u8>, offset: u64, length: u32) -> io::Result<()> {
        bytes.clear();
        bytes.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
        read_exact_at(&self.file, bytes, offset)
    }
}

/// Have these seconds any in common with the range?
fn meets(range: &RangeInclusive<i64>, min: i64, max: i64) -> bool {
    !range.is_empty() && min <= *range.end() && max >= *range.start()
}
