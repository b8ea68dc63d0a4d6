//! A block: up to [`BLOCK_POINTS_MAX`] consecutive points of one series, as two compressed columns.
//! It does no I/O and knows nothing of the index.
//!
//! Sizes, at 10 s steps, in bytes per point by points per block (pco level 8; everything counted
//! but the index, which is 0.01):
//!
//! | | 2,048 | 4,096 | 8,640 | 16,384 |
//! |---|---|---|---|---|
//! | percent with one decimal, random walk | 0.83 | 0.81 | 0.80 | 0.80 |
//! | random walk of integers | 0.78 | 0.76 | 0.73 | 0.71 |
//! | bytes per second with noise, one decimal | 2.57 | 2.55 | 2.54 | 2.54 |
//! | constant | 0.007 | 0.004 | 0.002 | 0.001 |
//! | seconds with a jitter of 1 in 20 | 0.09 | 0.05 | 0.04 | 0.04 |
//!
//! Bigger blocks gain little beyond 8,192, and a read of a few points decodes a whole block (0.08 ms
//! there). Level 4 writes 1.4 to 5 times faster and is up to 6 % bigger; level 12 is up to 10 times
//! slower than 8 and gains less than 1 %. At level 8, 100,000 points are compressed in 3 to 10 ms and
//! decompressed in less than one, in blocks of any of these sizes.
//! Values with all 53 bits of noise cannot be compressed by anything: they take 6.4.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pco::metadata::DeltaEncoding;
use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, DeltaSpec, ModeSpec, PagingSpec};

use super::BLOCK_POINTS_MAX;
use super::index::Entry;
use crate::history::Point;

/// Points that a block of a long series has. What is left at the end of a series joins the block
/// before it up to [`BLOCK_POINTS_MAX`], so that a day of 10 s steps (8,640 points) is one block.
pub(super) const BLOCK_POINTS: usize = 8_192;
/// Longest block: pco promises that a column is never longer than its numbers and some metadata.
pub(super) const BLOCK_BYTES_MAX: usize = BLOCK_POINTS_MAX * 16 + 1_024;

const LEVEL: usize = 8;
/// pco writes at most 15 here. A foreign block could make it allocate 2^24 numbers for a few bytes.
const LOOKBACK_LOG_MAX: u32 = 16;
/// Seconds that take less are not tried in other ways.
const SECONDS_BYTES_FEW: usize = 64;

/// What a block holds, as it is filled and as it is read.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) seconds: Vec<i64>,
    pub(super) values: Vec<f64>,
}

impl Columns {
    pub(super) fn push(&mut self, point: &Point) {
        self.seconds.push(point.ts);
        self.values.push(point.value);
    }

    pub(super) fn len(&self) -> usize {
        self.seconds.len()
    }

    /// Takes the first `count` points out.
    pub(super) fn take_first(&mut self, count: usize) -> Self {
        let count = count.min(self.len());
        let rest = Self { seconds: self.seconds.split_off(count), values: self.values.split_off(count) };
        std::mem::replace(self, rest)
    }

    pub(super) fn points(&self) -> impl Iterator<Item = Point> {
        self.seconds.iter().zip(&self.values).map(|(ts, value)| Point { ts: *ts, value: *value })
    }
}

/// Compresses points, which must be in ascending order, to be written at this offset.
///
/// # Errors
/// When there are none or too many, or when the codec refuses them, which it has no reason to.
pub(super) fn encode(columns: &Columns, offset: u64) -> Result<(Entry, Vec<u8>), String> {
    let (Some(min_ts), Some(max_ts)) = (columns.seconds.first().copied(), columns.seconds.last().copied()) else {
        return Err("a block without points".to_owned());
    };
    let mut bytes =
        if spaced(min_ts, max_ts, columns.len()).is_some_and(|even| even.eq(columns.seconds.iter().copied())) {
            Vec::new()
        } else {
            encode_seconds(&columns.seconds).map_err(|error| error.to_string())?
        };
    let seconds_bytes = bytes.len();
    bytes.extend(compress(&columns.values, config()).map_err(|error| error.to_string())?);
    let too_long = |_| format!("a block of {} bytes", bytes.len());
    if columns.len() > BLOCK_POINTS_MAX || bytes.len() > BLOCK_BYTES_MAX {
        return Err(format!("a block of {} points and {} bytes", columns.len(), bytes.len()));
    }
    let entry = Entry {
        offset,
        bytes: u32::try_from(bytes.len()).map_err(too_long)?,
        seconds_bytes: u32::try_from(seconds_bytes).map_err(too_long)?,
        count: u32::try_from(columns.len()).map_err(too_long)?,
        crc: crc32fast::hash(&bytes),
        min_ts,
        max_ts,
    };
    Ok((entry, bytes))
}

/// Decompresses what [`encode`] made. `None`: damaged.
pub(super) fn decode(entry: &Entry, bytes: &[u8]) -> Option<Columns> {
    if crc32fast::hash(bytes) != entry.crc {
        return None;
    }
    let count = usize::try_from(entry.count).ok().filter(|count| (1..=BLOCK_POINTS_MAX).contains(count))?;
    let (seconds, values) = bytes.split_at_checked(usize::try_from(entry.seconds_bytes).ok()?)?;
    let seconds = if seconds.is_empty() {
        spaced(entry.min_ts, entry.max_ts, count)?.collect()
    } else {
        decompress::<i64>(seconds, count)?
    };
    // Readers rely on the order, and on what the index says of the block.
    let is_as_said = seconds.first() == Some(&entry.min_ts)
        && seconds.last() == Some(&entry.max_ts)
        && seconds.iter().zip(seconds.iter().skip(1)).all(|(earlier, later)| earlier < later);
    if !is_as_said {
        return None;
    }
    Some(Columns { seconds, values: decompress::<f64>(values, count)? })
}

/// The evenly spaced seconds from the first to the last, if they are whole.
fn spaced(first: i64, last: i64, count: usize) -> Option<impl Iterator<Item = i64>> {
    let range = i128::from(last) - i128::from(first);
    let steps = i128::try_from(count).ok()?.checked_sub(1)?;
    // One point has no step.
    let step = if steps == 0 { range } else { range / steps };
    if step * steps != range {
        return None;
    }
    let at = move |index: i128| i64::try_from(i128::from(first) + index * step).unwrap_or(last);
    Some((0..=steps).map(at))
}

fn config() -> ChunkConfig {
    ChunkConfig::default().with_compression_level(LEVEL)
}

/// Plain deltas are best for nearly all, but pco finds them only in long blocks (0.27 against 0.01
/// bytes per point in blocks of 2,048); what pco finds is better where steps differ.
fn encode_seconds(seconds: &[i64]) -> pco::errors::PcoResult<Vec<u8>> {
    let deltas = config().with_mode_spec(ModeSpec::Classic).with_delta_spec(DeltaSpec::TryConsecutive(1));
    let plain = compress(seconds, deltas)?;
    if plain.len() <= SECONDS_BYTES_FEW {
        return Ok(plain);
    }
    let found = compress(seconds, config())?;
    Ok(if found.len() < plain.len() { found } else { plain })
}

fn compress<T: pco::data_types::Number>(numbers: &[T], config: ChunkConfig) -> pco::errors::PcoResult<Vec<u8>> {
    let format = FileCompressor::default();
    let one_page = config.with_paging_spec(PagingSpec::Exact(vec![numbers.len()]));
    let mut chunk = format.chunk_compressor(numbers, &one_page)?;
    let bytes = format.write_header(Vec::new())?;
    let bytes = chunk.write_meta(bytes)?;
    chunk.write_page(0, bytes)
}

/// Reads one column. Its length is the index's word: the bytes cannot ask for more memory.
fn decompress<T: pco::data_types::Number + Default>(bytes: &[u8], count: usize) -> Option<Vec<T>> {
    let read = || -> pco::errors::PcoResult<Option<Vec<T>>> {
        let (format, rest) = FileDecompressor::new(bytes)?;
        let (mut chunk, rest) = format.chunk_decompressor::<T, _>(rest)?;
        if let DeltaEncoding::Lookback { config, .. } = &chunk.meta().delta_encoding
            && config.window_n_log > LOOKBACK_LOG_MAX
        {
            return Ok(None);
        }
        let mut numbers = vec![T::default(); count];
        let progress = chunk.page_decompressor(rest, count)?.read(&mut numbers)?;
        Ok((progress.finished && progress.n_processed == count).then_some(numbers))
    };
    // The checksum fits, so only another program's bytes get here. pco promises errors for them;
    // should it panic all the same, one block is lost and not the reader.
    catch_unwind(AssertUnwindSafe(read)).ok()?.ok()?
}
