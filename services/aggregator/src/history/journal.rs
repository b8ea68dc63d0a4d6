//! Mends the journals of a database before it opens them. What the database does itself with a
//! journal that it cannot read is too little and too much: it cuts off all that follows a damaged
//! place without a word, gives up the whole database for a wrong checksum, and believes any length.
//!
//! After a crash the last batch may be there in part: it was never acknowledged, and is cut off.
//! Of a journal that is damaged further in, the whole batches stay, and the file as it was is kept
//! for a person to look at.

mod batches;

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::partitions;
use super::start::sync_dir;

/// Journals begin as 64 MiB of zeros: they are looked through from their end, in such pieces.
const PIECE_BYTES: u64 = 1 << 20;
static ZEROS: [u8; PIECE_BYTES as usize] = [0; PIECE_BYTES as usize];
/// What a journal is called while it is written anew.
const MENDING: &str = "mending";

/// The mark of a partition that lost something with a damaged journal.
const DAMAGED: &str = "damaged";

/// What was found in the journals of a database, and mended.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mended {
    /// How many there are.
    pub(super) journals: usize,
    /// Is there any batch in them?
    pub(super) has_batches: bool,
    /// Bytes at the end that were no whole batch. After a crash that is what was not acknowledged.
    pub(super) torn_bytes: u64,
    /// Bytes between whole batches: points that were acknowledged are lost.
    pub(super) lost_bytes: u64,
}

/// Mends the journals of the database in this folder, which may not exist yet.
pub(super) fn mend(dir: &Path) -> io::Result<Mended> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Mended::default()),
        Err(error) => return Err(error),
    };
    let mut all = Mended::default();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            let one = mend_one(dir, &path)?;
            all.journals += 1;
            all.has_batches |= one.has_batches;
            all.torn_bytes += one.torn_bytes;
            all.lost_bytes += one.lost_bytes;
        }
    }
    Ok(all)
}

/// Was one of the journals in this folder damaged further in, now or before?
pub(super) fn is_marked(dir: &Path) -> io::Result<bool> {
    dir.join(DAMAGED).try_exists()
}

fn mend_one(dir: &Path, path: &Path) -> io::Result<Mended> {
    let bytes = used(&mut File::open(path)?)?;
    let whole = batches::find(&bytes);
    let mended = look(&bytes, &whole);
    if mended.lost_bytes > 0 {
        write_anew(dir, path, &bytes, &whole)?;
    } else if mended.torn_bytes > 0 {
        let file = File::options().write(true).open(path)?;
        file.set_len(bytes.len() as u64 - mended.torn_bytes)?;
        file.sync_all()?;
    }
    Ok(mended)
}

fn look(bytes: &[u8], whole: &[Range<usize>]) -> Mended {
    let end = whole.last().map_or(0, |last| last.end);
    let kept: usize = whole.iter().map(Range::len).sum();
    Mended {
        journals: 1,
        has_batches: !whole.is_empty(),
        torn_bytes: (bytes.len() - end) as u64,
        lost_bytes: (end - kept) as u64,
    }
}

/// Would nothing of this file be noticed to be missing?
#[cfg(test)]
pub(super) fn looks_whole(path: &Path) -> bool {
    let bytes = used(&mut File::open(path).unwrap()).unwrap();
    let found = look(&bytes, &batches::find(&bytes));
    found.torn_bytes + found.lost_bytes == 0
}

/// Leaves the whole batches alone in the journal. At every moment one of the two is in its place.
fn write_anew(dir: &Path, path: &Path, bytes: &[u8], whole: &[Range<usize>]) -> io::Result<()> {
    let temporary: PathBuf = path.with_extension(MENDING);
    let mut file = File::create(&temporary)?;
    for piece in whole.iter().filter_map(|range| bytes.get(range.clone())) {
        file.write_all(piece)?;
    }
    file.sync_all()?;
    File::create(dir.join(DAMAGED))?.sync_all()?;
    partitions::copy_aside(dir, path)?;
    fs::rename(&temporary, path)?;
    sync_dir(dir)
}

/// What has been written of it: all up to the last byte that is not zero.
fn used(file: &mut File) -> io::Result<Vec<u8>> {
    let mut end = file.metadata()?.len();
    let mut piece = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(PIECE_BYTES);
        file.seek(SeekFrom::Start(start))?;
        piece.clear();
        Read::by_ref(file).take(end - start).read_to_end(&mut piece)?;
        // At once: looking at each byte of 64 MiB takes its time.
        if ZEROS.get(..piece.len()) == Some(&piece) {
            end = start;
            continue;
        }
        let last = piece.iter().rposition(|byte| *byte != 0).unwrap_or_default();
        let used = start + last as u64 + 1;
        file.rewind()?;
        let mut bytes = Vec::new();
        Read::by_ref(file).take(used).read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zeros_at_the_end_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.jnl");
        for length in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1] {
            let mut bytes = vec![0; 3 * usize::try_from(PIECE_BYTES).unwrap() + 7];
            if length > 0 {
                bytes[usize::try_from(length).unwrap() - 1] = 1;
            }
            fs::write(&path, bytes).unwrap();
            assert_eq!(used(&mut File::open(&path).unwrap()).unwrap().len() as u64, length);
        }
    }

    #[test]
    fn what_is_no_batch_is_cut_off_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(mend(&dir.path().join("nothing")).unwrap(), Mended::default());
        let path = dir.path().join("0.jnl");
        fs::write(&path, [[1; 60], [0; 60]].concat()).unwrap();
        let mended = mend(dir.path()).unwrap();
        assert_eq!(mended, Mended { journals: 1, has_batches: false, torn_bytes: 60, lost_bytes: 0 });
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        assert_eq!(mend(dir.path()).unwrap(), Mended { torn_bytes: 0, ..mended });
    }
}
