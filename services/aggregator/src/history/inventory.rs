//! Is everything there that makes up the database of a partition? It removes what it takes for
//! left-overs and makes missing parts anew, empty and without a word; so this is asked before it is
//! opened.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use twox_hash::XxHash3_128;

use super::damage::Failure;
use super::journal::Mended;
use super::start::sync_dir;

/// The mark of a partition in which something was stored.
const USED: &str = "used";
/// The database's lock: an empty file, which nobody else needs as the whole folder is locked.
const LOCK: &str = "lock";
const KEYSPACES: &str = "keyspaces";
/// The database's own keyspace, and ours.
const KEYSPACES_COUNT: usize = 4;

/// Says whether something was ever stored in this partition. What a crash left of one in which
/// nothing was is removed.
pub(super) fn check(dir: &Path, mended: &Mended) -> Result<bool, Failure> {
    if !dir.try_exists()? {
        return Ok(false);
    }
    let is_marked = dir.join(USED).try_exists()?;
    if !is_marked && !mended.has_batches && !has_tables(dir)? {
        fs::remove_dir_all(dir)?;
        return Ok(false);
    }
    if mended.journals == 0 {
        return Err(Failure::Damaged("its journal is gone".to_owned()));
    }
    if !dir.join("version").try_exists()? {
        return Err(Failure::Damaged("its version is gone".to_owned()));
    }
    for id in 0..KEYSPACES_COUNT {
        check_keyspace(&dir.join(KEYSPACES).join(id.to_string()))?;
    }
    File::options().create(true).append(true).open(dir.join(LOCK))?;
    if !is_marked {
        mark_used(dir)?;
    }
    Ok(true)
}

/// Is the list of a keyspace's tables what was written? It has a checksum that the database does not
/// look at: it believes the list, removes tables that are not on it, and makes room for what it counts.
fn check_keyspace(dir: &Path) -> Result<(), Failure> {
    let damaged = |what: &str| Failure::Damaged(format!("{} {what}", dir.display()));
    let current = match fs::read(dir.join("current")) {
        Ok(current) => current,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged("is gone")),
        Err(error) => return Err(error.into()),
    };
    // The number of the list, its checksum, and the kind of that.
    let parts =
        current.split_first_chunk::<8>().and_then(|(number, rest)| Some((number, rest.split_first_chunk::<16>()?)));
    let Some((number, (checksum, [0]))) = parts else { return Err(damaged("is damaged")) };
    let number = u64::from_le_bytes(*number);
    let list = fs::read(dir.join(format!("v{number}")))?;
    if XxHash3_128::oneshot(&list) != u128::from_le_bytes(*checksum) {
        return Err(damaged("has a damaged list of tables"));
    }
    Ok(())
}

/// From now on the partition is one in which something is stored.
pub(super) fn mark_used(dir: &Path) -> io::Result<()> {
    File::create(dir.join(USED))?.sync_all()?;
    sync_dir(dir)
}

/// Has anything of ours been written to a table?
fn has_tables(dir: &Path) -> io::Result<bool> {
    for id in 1..KEYSPACES_COUNT {
        match fs::read_dir(dir.join(KEYSPACES).join(id.to_string()).join("tables")) {
            Ok(mut tables) => {
                if tables.next().is_some() {
                    return Ok(true);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
