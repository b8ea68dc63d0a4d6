//! One segment: some pushes that stand together, in memory, on the disk, or both.

use std::collections::VecDeque;

use super::entry::{self, Head};
use super::files::FILE_BYTES_MAX;
use super::record::{self, Records};

/// A push that still waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) head: Head,
    /// The aggregator turned out to have it already.
    pub(super) is_safe: bool,
}

/// A segment.
#[derive(Debug, Default)]
pub(super) struct Segment {
    /// Its place in the order of all, and its file's name.
    pub(super) number: u64,
    /// Its pushes that still wait, in their order.
    pub(super) entries: VecDeque<Entry>,
    /// How long it is.
    pub(super) len: usize,
    /// What it consists of, unless that is only on the disk.
    pub(super) bytes: Option<Vec<u8>>,
    /// How much of it is on the disk, synced.
    pub(super) synced: usize,
    /// Something failed while its file was written: the file is to be made anew.
    pub(super) is_spoiled: bool,
    /// Nothing is added any more.
    pub(super) is_closed: bool,
}

impl Segment {
    /// Is all of it on the disk?
    pub(super) fn is_on_disk(&self) -> bool {
        self.synced == self.len && !self.is_spoiled
    }

    /// May there be a file of it?
    pub(super) fn has_file(&self) -> bool {
        self.synced > 0 || self.is_spoiled
    }

    /// Bytes that it takes in memory.
    pub(super) fn in_memory(&self) -> usize {
        self.bytes.as_ref().map_or(0, Vec::len)
    }

    /// Samples that still wait.
    pub(super) fn samples(&self) -> u64 {
        self.entries.iter().filter(|entry| !entry.is_safe).map(|entry| entry.head.samples).sum()
    }
}

/// What a file turned out to hold.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Its pushes.
    pub(super) heads: Vec<Head>,
    /// How often something could not be read.
    pub(super) damages: u64,
    /// Samples of pushes that stood between two others.
    pub(super) lost: u64,
    /// The good records alone, if there are others.
    pub(super) healed: Option<Vec<u8>>,
}

/// Looks through a file.
pub(super) fn look(bytes: &[u8]) -> Found {
    let mut records = Records::new(bytes, 0);
    let (mut found, mut good) = (Found::default(), Vec::new());
    let mut absurd = 0;
    for record in records.by_ref() {
        good.push(record);
        let Some(head) = entry::head(record) else {
            if entry::is_push(record) {
                absurd += 1;
                good.pop();
            }
            continue;
        };
        if let Some(last) = found.heads.last() {
            // Numbers of one segment have no gaps, and pushes that follow each other are much alike.
            if head.seq <= last.seq {
                good.pop();
                continue;
            }
            found.lost = found.lost.saturating_add((head.seq - last.seq - 1).saturating_mul(last.samples));
        }
        found.heads.push(head);
    }
    // There were no more of them than the file had room for.
    found.lost = found.lost.min(FILE_BYTES_MAX as u64);
    found.damages = records.damages + absurd;
    if found.damages > 0 {
        let mut healed = Vec::with_capacity(bytes.len());
        good.iter().for_each(|record| record::append(record, &mut healed));
        found.healed = Some(healed);
    }
    found
}
