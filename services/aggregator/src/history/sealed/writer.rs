//! Writes a sealed file, front to back, in bounded memory. It never reads and never renames.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::block::{self, BLOCK_POINTS, Columns};
use super::format::{self, Footer};
use super::index::{Entry, PAGE_BYTES, PageBuilder, Place, RECORD_ENTRIES_MAX, encode_directory};
use super::{BLOCK_POINTS_MAX, KEY_BYTES_MAX, SeriesHead, Summary};
use crate::history::Point;

const WRITE_BYTES: usize = 256 * 1024;

/// When something is full. Readers know none of these, only the limits above them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Points of a block of a long series.
    pub(super) block_points: usize,
    /// Points at which such a block is written; what is fewer waits for the end of the series.
    pub(super) block_points_max: usize,
    /// Bytes at which a page is written.
    pub(super) page_bytes: usize,
    /// Blocks at which a series goes on in another page.
    pub(super) record_entries: usize,
}

const SIZES: Sizes = Sizes {
    block_points: BLOCK_POINTS,
    block_points_max: BLOCK_POINTS_MAX,
    page_bytes: PAGE_BYTES,
    record_entries: RECORD_ENTRIES_MAX,
};

/// A sealed file that is being written.
///
/// In memory are one block (200 kB), one page of the index (16 KiB and a key), and 48 bytes for
/// each page that was written: a quarter of a byte for each series of a block.
///
/// After an error that is not the caller's it refuses everything; the file is then to be removed. Dropped without
/// [`Writer::finish`] it leaves a file that no [`super::Segment`] opens.
#[derive(Debug)]
pub(in crate::history) struct Writer {
    sizes: Sizes,
    out: Out,
    series: Option<Open>,
    points: Columns,
    page: PageBuilder,
    places: Vec<Place>,
    summary: Summary,
}

/// The series that points are written for.
#[derive(Debug)]
struct Open {
    head: SeriesHead,
    /// Blocks that are written and not yet in the index.
    entries: Vec<Entry>,
    /// Are some of its blocks in the index?
    is_part: bool,
    last_ts: Option<i64>,
}

impl Writer {
    /// Starts a file of this name. One that is there is overwritten.
    ///
    /// # Errors
    /// When it cannot be created or written to.
    pub(in crate::history) fn create(path: &Path) -> io::Result<Self> {
        Self::with_sizes(path, SIZES)
    }

    /// Tests make files of many small parts.
    pub(super) fn with_sizes(path: &Path, sizes: Sizes) -> io::Result<Self> {
        let file = BufWriter::with_capacity(WRITE_BYTES, File::create(path)?);
        let mut out = Out { file, at: 0, is_broken: false };
        out.append(&format::header())?;
        let summary = Summary {
            series: 0,
            points: 0,
            blocks: 0,
            min_ts: i64::MAX,
            max_ts: i64::MIN,
            closed_at_ms: 0,
            file_bytes: 0,
        };
        let (points, page) = (Columns::default(), PageBuilder::default());
        Ok(Self { sizes, out, series: None, points, page, places: Vec::new(), summary })
    }

    /// Starts the next series. One that gets no points is not in the file.
    ///
    /// # Errors
    /// When its id is not above the one before, when its key is longer than [`KEY_BYTES_MAX`], and
    /// when the file cannot be written to.
    pub(in crate::history) fn begin(&mut self, head: &SeriesHead) -> io::Result<()> {
        if self.series.as_ref().is_some_and(|before| before.head.id >= head.id) {
            return Err(refuse("series must come in ascending order of id"));
        }
        if head.key.len() > KEY_BYTES_MAX {
            return Err(refuse("the key is too long for a sealed file"));
        }
        self.end_series()?;
        self.series = Some(Open { head: head.clone(), entries: Vec::new(), is_part: false, last_ts: None });
        Ok(())
    }

    /// Adds points to the series. It takes all of them or none.
    ///
    /// # Errors
    /// When there is no series, when seconds do not ascend (from call to call too), and when the
    /// file cannot be written to.
    pub(in crate::history) fn points(&mut self, points: &[Point]) -> io::Result<()> {
        let series = self.series.as_mut().ok_or_else(|| refuse("points must be of a series"))?;
        let mut last = series.last_ts;
        for point in points {
            if last.is_some_and(|last| last >= point.ts) {
                return Err(refuse("points must come in ascending order of time"));
            }
            last = Some(point.ts);
        }
        series.last_ts = last;
        for point in points {
            self.points.push(point);
            if self.points.len() >= self.sizes.block_points_max {
                let block = self.points.take_first(self.sizes.block_points);
                self.write_block(&block)?;
            }
        }
        Ok(())
    }

    /// Writes what is left, and syncs the file. The directory that it is in is not synced.
    ///
    /// # Errors
    /// When it cannot be written or synced, now or before.
    pub(in crate::history) fn finish(mut self, closed_at_ms: i64) -> io::Result<Summary> {
        self.end_series()?;
        self.end_page()?;
        let directory = encode_directory(&self.places);
        let directory_at = self.out.append(&directory)?;
        self.summary.closed_at_ms = closed_at_ms;
        let footer = Footer {
            directory_at,
            pages: u32::try_from(self.places.len()).map_err(io::Error::other)?,
            directory_crc: crc32fast::hash(&directory),
            summary: self.summary,
        };
        self.out.append(&footer.encode())?;
        self.out.file.flush()?;
        self.out.file.get_ref().sync_all()?;
        Ok(Summary { file_bytes: self.out.at, ..self.summary })
    }

    fn write_block(&mut self, block: &Columns) -> io::Result<()> {
        let (entry, bytes) = block::encode(block, self.out.at).map_err(|why| self.out.give_up(why))?;
        self.out.append(&bytes)?;
        self.summary.points += u64::from(entry.count);
        self.summary.blocks += 1;
        self.summary.min_ts = self.summary.min_ts.min(entry.min_ts);
        self.summary.max_ts = self.summary.max_ts.max(entry.max_ts);
        let entries = self.series.as_mut().map_or(0, |series| {
            series.entries.push(entry);
            series.entries.len()
        });
        if entries < self.sizes.record_entries {
            return Ok(());
        }
        self.end_record()?;
        // The rest of this series begins the next page.
        self.end_page()
    }

    fn end_series(&mut self) -> io::Result<()> {
        let block = std::mem::take(&mut self.points);
        if block.len() > 0 {
            self.write_block(&block)?;
        }
        self.end_record()
    }

    /// Puts the blocks that the series has so far in the index.
    fn end_record(&mut self) -> io::Result<()> {
        let Some(series) = self.series.as_mut().filter(|series| !series.entries.is_empty()) else { return Ok(()) };
        if !series.is_part {
            self.summary.series += 1;
        }
        self.page.add(&series.head, series.is_part, &series.entries);
        series.entries.clear();
        series.is_part = true;
        if self.page.len() >= self.sizes.page_bytes { self.end_page() } else { Ok(()) }
    }

    fn end_page(&mut self) -> io::Result<()> {
        if let Some((place, bytes)) = self.page.finish(self.out.at) {
            self.out.append(&bytes)?;
            self.places.push(place);
        }
        Ok(())
    }
}

/// The file, and how much of it is written.
#[derive(Debug)]
struct Out {
    file: BufWriter<File>,
    at: u64,
    /// Did a write fail? Then something is missing in the file, and it must not be finished.
    is_broken: bool,
}

impl Out {
    /// Writes at the end, and says where that was.
    fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        if self.is_broken {
            return Err(io::Error::other("a write to this file failed before"));
        }
        self.is_broken = true;
        self.file.write_all(bytes)?;
        self.is_broken = false;
        let at = self.at;
        self.at += bytes.len() as u64;
        Ok(at)
    }

    fn give_up(&mut self, why: String) -> io::Error {
        self.is_broken = true;
        io::Error::other(why)
    }
}

fn refuse(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
