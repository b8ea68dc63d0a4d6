//! Sealed files: all points of a partition of the history that is over, compressed per series.
//!
//! A sealed file is written once, in order of series and time ([`Writer`]), read from then on
//! ([`Segment`]) and deleted as a whole. This module neither decides when that is so, nor names,
//! renames or deletes files; it has no threads, reads no clock and never changes a file.
//!
//! Damage costs what is damaged: a block of points or a page of the index, each with a checksum of
//! its own, and is reported by the read that meets it. Only a file whose header, directory or
//! footer is damaged cannot be opened at all.
//!
//! # Layout, version 1
//!
//! All integers are little-endian. All checksums are CRC-32 (the one of zlib and Ethernet).
//!
//! ```text
//! file      = header, (block | page)*, directory, footer
//!
//! header    16 bytes; all later versions will have it too
//!           magic       8   "FGSEALED"
//!           version     u32
//!           crc         u32 of the 12 bytes before it
//!
//! block     some consecutive points of one series; what it is stands in its entry in a page
//!           seconds         a pco column of i64, or nothing, see below
//!           values          a pco column of f64
//!
//! page      a part of the index: the series of a range of ids and where their blocks are
//!           records     u32
//!           record*         in ascending order of id
//!
//! record    id          u64
//!           space       u8  0 put, 1 vital
//!           part        u8  0, or 1: goes on from a record of the same id, the last one of the page before
//!           key         u16 bytes of the key; 0 where part is 1
//!           entries     u32 at least 1
//!           key             UTF-8
//!           entry*          in ascending order of time; no two overlap
//!
//! entry     40 bytes
//!           offset      u64 of the block, from the start of the file
//!           bytes       u32 of the block
//!           seconds     u32 bytes of its first column
//!           count       u32 of points, 1 to 12,288
//!           crc         u32 of the block
//!           min_ts      i64 its first second
//!           max_ts      i64 its last second
//!
//! directory one of these for each page, in order; 48 bytes
//!           offset      u64
//!           bytes       u32 of the page
//!           crc         u32 of the page
//!           first_id    u64
//!           last_id     u64 may be the first_id of the next page, whose first record then has part 1
//!           min_ts      i64 of all its blocks
//!           max_ts      i64
//!
//! footer    72 bytes: the end of the file
//!           directory   u64 its offset; it ends where the footer begins
//!           pages       u32 how many the directory has
//!           crc         u32 of the directory
//!           series      u64
//!           points      u64
//!           blocks      u64
//!           min_ts      i64 i64::MAX where there are no points
//!           max_ts      i64 i64::MIN where there are no points
//!           closed_at   i64 Unix milliseconds
//!           version     u32 again
//!           crc         u32 of the 68 bytes before it
//! ```
//!
//! A pco column is what `pco::wrapped` writes: a header, the metadata of one chunk and one page of
//! `count` numbers. Seconds that are evenly spaced, as most are, have no column: with no bytes for
//! it, point `i` of `n` is at `min_ts + i * (max_ts - min_ts) / (n - 1)`, which must be whole.
//!
//! Pages stand between blocks, behind those that they describe, so that a writer need not keep the
//! index. A reader keeps the directory: a quarter of a byte for each series of a block.

mod block;
mod format;
#[cfg(feature = "fuzzing")]
pub(in crate::history) mod fuzzing;
mod heads;
mod index;
mod pread;
mod segment;
mod writer;

#[cfg(test)]
mod tests;

pub(in crate::history) use heads::Heads;
pub(in crate::history) use segment::Segment;
pub(in crate::history) use writer::Writer;

use std::io;

use super::keys::Space;

/// Longest key in bytes. Lines are shorter than this.
pub(in crate::history) const KEY_BYTES_MAX: usize = u16::MAX as usize;
/// Most points that one block has: what damage of a byte costs at most, and what a read may give
/// beyond its limit.
pub(in crate::history) const BLOCK_POINTS_MAX: usize = 12_288;

/// What a series is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::history) struct SeriesHead {
    /// Its number, the same in all files.
    pub(in crate::history) id: u64,
    /// Where its key is looked for.
    pub(in crate::history) space: Space,
    /// Its key, at most [`KEY_BYTES_MAX`] long.
    pub(in crate::history) key: Box<str>,
}

/// What a sealed file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::history) struct Summary {
    /// Series that have points here.
    pub(in crate::history) series: u64,
    /// Points of all series.
    pub(in crate::history) points: u64,
    /// Blocks of all series.
    pub(in crate::history) blocks: u64,
    /// The oldest second; `i64::MAX` without points.
    pub(in crate::history) min_ts: i64,
    /// The newest second; `i64::MIN` without points.
    pub(in crate::history) max_ts: i64,
    /// When the partition was over, in Unix milliseconds, as it was told to [`Writer::finish`].
    pub(in crate::history) closed_at_ms: i64,
    /// Size of the file.
    pub(in crate::history) file_bytes: u64,
}

/// What could not be read because it is damaged, or because the disk does not give it.
/// The latter may pass: whoever writes a file anew from this one keeps it when anything was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::history) struct Lost {
    /// Blocks of points.
    pub(in crate::history) blocks: u64,
    /// Points in these blocks.
    pub(in crate::history) points: u64,
    /// Pages of the index. What a series has in them is not known: perhaps nothing.
    pub(in crate::history) pages: u64,
    /// The first and the last second that the blocks and pages may have had.
    pub(in crate::history) span: Option<(i64, i64)>,
}

impl Lost {
    /// Is nothing lost?
    #[must_use]
    pub(in crate::history) fn is_empty(&self) -> bool {
        self.blocks == 0 && self.pages == 0
    }

    /// Adds what another read lost.
    pub(in crate::history) fn add(&mut self, other: &Self) {
        self.blocks += other.blocks;
        self.points += other.points;
        self.pages += other.pages;
        if let Some((min, max)) = other.span {
            self.widen(min, max);
        }
    }

    fn block(entry: &index::Entry) -> Self {
        let span = Some((entry.min_ts, entry.max_ts));
        Self { blocks: 1, points: u64::from(entry.count), pages: 0, span }
    }

    fn page(place: &index::Place) -> Self {
        Self { blocks: 0, points: 0, pages: 1, span: Some((place.min_ts, place.max_ts)) }
    }

    fn widen(&mut self, min: i64, max: i64) {
        self.span = Some(self.span.map_or((min, max), |(a, b)| (a.min(min), b.max(max))));
    }
}

/// Why a file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(in crate::history) enum OpenError {
    /// The system does not give it.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is whole, and not for this program: it must never be set aside as damage.
    #[error("is of version {found} and this program reads version {known}: start the newer program that wrote it")]
    Newer {
        /// The version of the file.
        found: u32,
        /// The version that this program reads and writes.
        known: u32,
    },
    /// It is damaged where nothing can be read without it.
    #[error("is damaged: {0}")]
    Damaged(&'static str),
}
