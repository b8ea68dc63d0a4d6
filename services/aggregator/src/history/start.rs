//! What happens to the history before it takes anything: partitions are looked at, keys are
//! gathered, and what is damaged is set aside.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::commit::{Committer, Current};
use super::damage::Failure;
use super::hot::Hot;
use super::partitions::{self, Found, Partition, Store};
use super::{OpenError, Shared};
use crate::fleet::Moment;

/// The version of what lies in the folder.
const VERSION: u32 = 1;
const VERSION_FILE: &str = "version";

/// Makes the folder if it is missing, and says whether this program knows what is in it.
pub(super) fn check_version(dir: &Path) -> Result<(), OpenError> {
    fs::create_dir_all(dir)?;
    let path = dir.join(VERSION_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(version) if version > VERSION => return Err(OpenError::Newer(version, VERSION)),
            Ok(_) => return Ok(()),
            // A torn or damaged mark must not cost what it stands beside: it is written anew.
            Err(_) => tracing::warn!(file = %path.display(), "the version of the history cannot be read"),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let temporary = dir.join(format!("{VERSION_FILE}.new"));
    fs::write(&temporary, format!("{VERSION}\n"))?;
    fs::File::open(&temporary)?.sync_all()?;
    fs::rename(&temporary, &path)?;
    sync_dir(dir)?;
    Ok(())
}

/// Makes what was made or renamed in a directory last. Windows has no such call.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { fs::File::open(dir)?.sync_all() } else { Ok(()) }
}

/// Opens what there is.
pub(super) fn start(shared: &Arc<Shared>, now: fn() -> Moment) -> Result<Committer, OpenError> {
    let found = partitions::find(&shared.dir)?;
    let next = found.last().map_or(0, |found| found.number) + 1;
    let mut current = None;
    // Newest first: where two partitions know a key by two ids, the newer one's counts.
    for (at, found) in found.into_iter().rev().enumerate() {
        let hot = open(shared, &found);
        // One that was set aside is gone; one that cannot be opened now is tried again.
        if at == 0 && found.path.exists() {
            current = Some(Current { found, hot });
        }
    }
    Ok(Committer { shared: Arc::clone(shared), current, next, now, room_asked: None, opened_at: None })
}

/// Opens a partition and takes in its keys; `None`: it cannot be opened now, or was set aside.
pub(super) fn open(shared: &Shared, found: &Found) -> Option<Arc<Hot>> {
    let number = found.number;
    let mut aliases = HashMap::new();
    let opened = Hot::open(&found.path).and_then(|opened| {
        opened.hot.for_each_key(|id, space, text| {
            let key = shared.keys.restore(space, text, id, number);
            if key.id != id {
                aliases.insert(key.id, id);
            }
        })?;
        Ok(opened)
    });
    match opened {
        Ok(opened) => {
            if opened.cut_bytes > 0 {
                shared.telemetry.history.damaged("journal", 1);
                tracing::warn!(
                    partition = number,
                    bytes = opened.cut_bytes,
                    "the end of a journal could not be read and was cut: after a crash that is what was not acknowledged yet, else points are lost"
                );
            }
            let hot = Arc::new(opened.hot);
            shared.partitions.put(Partition { number, store: Store::Raw(Arc::clone(&hot)), aliases });
            Some(hot)
        }
        Err(Failure::Damaged(why)) => {
            shared.set_aside(number, &found.path, &why);
            None
        }
        // No room, no open files: a reason to try again, none to throw anything away.
        Err(failure) => {
            tracing::error!(%failure, partition = number, "a partition of the history cannot be opened now");
            shared.partitions.put(Partition { number, store: Store::Unavailable, aliases: HashMap::new() });
            None
        }
    }
}
