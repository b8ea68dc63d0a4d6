//! The two ends of a sealed file, header and footer, as bytes. It does no I/O.

use bytes::{Buf, BufMut};

use super::{OpenError, Summary};

const MAGIC: [u8; 8] = *b"FGSEALED";
/// The version that is written and read.
pub(super) const VERSION: u32 = 1;
pub(super) const HEADER_BYTES: usize = 16;
pub(super) const FOOTER_BYTES: usize = 72;

const CRC_BYTES: usize = 4;

pub(super) fn header() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.put_slice(&MAGIC);
    bytes.put_u32_le(VERSION);
    with_crc(bytes)
}

/// Is this the header of a file that this program can read? The version counts only when the
/// checksum fits: a flipped bit must not look like a newer program's file.
pub(super) fn check_header(bytes: &[u8; HEADER_BYTES]) -> Result<(), OpenError> {
    let mut rest = without_crc(bytes).ok_or(OpenError::Damaged("the checksum of its header does not fit"))?;
    let mut magic = [0; MAGIC.len()];
    let found = rest.try_copy_to_slice(&mut magic).and_then(|()| rest.try_get_u32_le());
    match found {
        Ok(VERSION) if magic == MAGIC => Ok(()),
        Ok(found) if magic == MAGIC && found > VERSION => Err(OpenError::Newer { found, known: VERSION }),
        _ => Err(OpenError::Damaged("it does not begin as a sealed file does")),
    }
}

/// What stands at the end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Footer {
    /// Offset of the directory.
    pub(super) directory_at: u64,
    /// Pages that the directory has.
    pub(super) pages: u32,
    /// Checksum of the directory.
    pub(super) directory_crc: u32,
    /// `file_bytes` of it is not in the footer.
    pub(super) summary: Summary,
}

impl Footer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FOOTER_BYTES);
        bytes.put_u64_le(self.directory_at);
        bytes.put_u32_le(self.pages);
        bytes.put_u32_le(self.directory_crc);
        bytes.put_u64_le(self.summary.series);
        bytes.put_u64_le(self.summary.points);
        bytes.put_u64_le(self.summary.blocks);
        bytes.put_i64_le(self.summary.min_ts);
        bytes.put_i64_le(self.summary.max_ts);
        bytes.put_i64_le(self.summary.closed_at_ms);
        bytes.put_u32_le(VERSION);
        with_crc(bytes)
    }

    /// Reads it. `None`: damaged.
    pub(super) fn parse(bytes: &[u8; FOOTER_BYTES], file_bytes: u64) -> Option<Self> {
        let mut rest = without_crc(bytes)?;
        let directory_at = rest.try_get_u64_le().ok()?;
        let pages = rest.try_get_u32_le().ok()?;
        let directory_crc = rest.try_get_u32_le().ok()?;
        let summary = Summary {
            series: rest.try_get_u64_le().ok()?,
            points: rest.try_get_u64_le().ok()?,
            blocks: rest.try_get_u64_le().ok()?,
            min_ts: rest.try_get_i64_le().ok()?,
            max_ts: rest.try_get_i64_le().ok()?,
            closed_at_ms: rest.try_get_i64_le().ok()?,
            file_bytes,
        };
        let version = rest.try_get_u32_le().ok()?;
        (version == VERSION).then_some(Self { directory_at, pages, directory_crc, summary })
    }
}

fn with_crc(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&bytes);
    bytes.put_u32_le(crc);
    bytes
}

/// The bytes before a checksum that fits them.
fn without_crc(bytes: &[u8]) -> Option<&[u8]> {
    let (rest, mut crc) = bytes.split_at_checked(bytes.len().checked_sub(CRC_BYTES)?)?;
    (crc.try_get_u32_le() == Ok(crc32fast::hash(rest))).then_some(rest)
}
