//! What of a database's journals was lost when it was opened. After a crash the last batch of a
//! journal may be there in part, and the database cuts it off without a word; but it does the same
//! with all that follows a damaged place. This file measures what was cut, so that it can be said.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Journals begin as 64 MiB of zeros: they are looked through from their end, in such pieces.
const PIECE_BYTES: u64 = 1 << 20;

/// The journals of a database that is not open.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// Up to where each has been written.
    used: BTreeMap<PathBuf, u64>,
    /// The database was never made whole, and nothing is in it.
    pub(super) is_unfinished: bool,
}

/// Looks at the journals of the database in this folder, which may not exist yet.
pub(super) fn used(dir: &Path) -> io::Result<Before> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Before::default()),
        Err(error) => return Err(error),
    };
    let mut before = Before::default();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            let bytes = used_bytes(&mut File::open(&path)?)?;
            before.used.insert(path, bytes);
        }
    }
    before.is_unfinished = !dir.join("version").try_exists()? && before.used.values().all(|bytes| *bytes == 0);
    Ok(before)
}

/// How many bytes of them are gone now that it is open.
pub(super) fn cut(before: &Before) -> io::Result<u64> {
    let mut bytes = 0;
    for (path, used) in &before.used {
        match fs::metadata(path) {
            Ok(now) => bytes += used.saturating_sub(now.len()),
            // What it held is in tables by now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// The place after the last byte that is not zero.
fn used_bytes(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut piece = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(PIECE_BYTES);
        file.seek(SeekFrom::Start(start))?;
        piece.clear();
        file.by_ref().take(end - start).read_to_end(&mut piece)?;
        if let Some(last) = piece.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zeros_at_the_end_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.jnl");
        for used in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1] {
            let mut bytes = vec![0; 3 * usize::try_from(PIECE_BYTES).unwrap() + 7];
            if used > 0 {
                bytes[usize::try_from(used).unwrap() - 1] = 1;
            }
            fs::write(&path, bytes).unwrap();
            assert_eq!(used_bytes(&mut File::open(&path).unwrap()).unwrap(), used);
        }
    }

    #[test]
    fn what_is_cut_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("version"), "x").unwrap();
        fs::write(dir.path().join("0.jnl"), [1; 100]).unwrap();
        let before = used(dir.path()).unwrap();
        assert_eq!(cut(&before).unwrap(), 0);
        File::options().write(true).open(dir.path().join("0.jnl")).unwrap().set_len(60).unwrap();
        assert_eq!(cut(&before).unwrap(), 40);
    }

    #[test]
    fn a_database_that_was_never_made_is_told_from_one_that_lost_its_mark() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!used(&dir.path().join("nothing")).unwrap().is_unfinished);
        fs::write(dir.path().join("0.jnl"), [0; 100]).unwrap();
        assert!(used(dir.path()).unwrap().is_unfinished);
        fs::write(dir.path().join("0.jnl"), [1; 100]).unwrap();
        assert!(!used(dir.path()).unwrap().is_unfinished);
    }
}
