//! What happens to the history before it takes anything: partitions are looked at, keys are
//! gathered, and what is damaged is set aside.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::commit::{Committer, Current};
use super::damage::{self, Failure};
use super::hot::Hot;
use super::journal::Mended;
use super::keys::Space;
use super::partitions::{self, Found, Kind, Partition, Store};
use super::sealed::Segment;
use super::{OpenError, Shared};
use crate::fleet::Moment;

/// The version of what lies in the folder.
const VERSION: u32 = 1;
const VERSION_FILE: &str = "version";

/// Makes the folder if it is missing, and says whether this program knows what is in it.
pub(super) fn check_version(dir: &Path) -> Result<(), OpenError> {
    fs::create_dir_all(dir)?;
    let path = dir.join(VERSION_FILE);
    match fs::read(&path) {
        Ok(text) => match parse_version(&text) {
            Some(version) if version > VERSION => return Err(OpenError::Newer(version, VERSION)),
            Some(_) => return Ok(()),
            // A torn or damaged mark must not cost what it stands beside: it is written anew.
            None => tracing::warn!(file = %path.display(), "the version of the history cannot be read"),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let temporary = dir.join(format!("{VERSION_FILE}.new"));
    fs::write(&temporary, version_text(VERSION))?;
    fs::File::open(&temporary)?.sync_all()?;
    fs::rename(&temporary, &path)?;
    sync_dir(dir)?;
    Ok(())
}

/// A version as it is written: with a checksum, so that damage does not look like a newer one.
fn version_text(version: u32) -> String {
    let version = version.to_string();
    format!("{version} {:08x}\n", crc32fast::hash(version.as_bytes()))
}

fn parse_version(text: &[u8]) -> Option<u32> {
    let version = std::str::from_utf8(text).ok()?.split_once(' ')?.0.parse().ok()?;
    (version_text(version).as_bytes() == text).then_some(version)
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
        let hot = open(shared, &found, true);
        if at == 0 {
            current = hot.map(|hot| Current { found, hot });
        }
    }
    Ok(Committer::new(Arc::clone(shared), current, next, now))
}

/// Opens a partition, takes in its keys, and puts it among the others. What is damaged is set aside;
/// what the system does not give now is put there as such, and said if that is asked for. Gives what
/// can be written to.
pub(super) fn open(shared: &Shared, found: &Found, is_said: bool) -> Option<Arc<Hot>> {
    let mut aliases = HashMap::new();
    let mut take = |id, space, text: &str| {
        let key = shared.keys.restore(space, text, id, found.number);
        if key.id != id {
            aliases.insert(key.id, id);
            // The id that it has here may be another key's elsewhere, which is not in here by it.
            aliases.entry(id).or_insert(partitions::NO_ID);
        }
    };
    let opened = match found.kind {
        Kind::Raw => open_raw(shared, found, &mut take),
        Kind::Sealed => open_sealed(shared, found, &mut take),
    };
    match opened {
        Ok(store) => {
            let hot = if let Store::Raw(hot) = &store { Some(Arc::clone(hot)) } else { None };
            shared.partitions.put(Partition::new(found.clone(), store).with_aliases(aliases));
            shared.read_keys_of(found.number);
            hot
        }
        Err(Failure::Damaged(why)) => {
            shared.set_aside(found, &why);
            shared.read_keys_of(found.number);
            None
        }
        // No room, no open files: a reason to try again, none to throw anything away.
        Err(failure) => {
            if is_said {
                tracing::error!(%failure, partition = found.number, "a partition of the history cannot be opened now: until it can, nothing is read, and no new key is taken");
            }
            shared.misses_keys_of(found.number);
            shared.partitions.put(Partition::new(found.clone(), Store::Unavailable));
            None
        }
    }
}

fn open_raw(shared: &Shared, found: &Found, mut take: impl FnMut(u64, Space, &str)) -> Result<Store, Failure> {
    let opened = Hot::open(&found.path)?;
    damage::catch(|| {
        opened.hot.for_each_key(|id, space, text| {
            take(id, space, text);
            Ok(())
        })
    })?;
    let Mended { torn_bytes, lost_bytes, .. } = opened.mended;
    if torn_bytes > 0 {
        shared.telemetry.history.damaged("journal", 1);
        tracing::warn!(
            partition = found.number,
            bytes = torn_bytes,
            "the end of a journal could not be read and was cut: after a crash that is what was not acknowledged yet, else points are lost"
        );
    }
    if lost_bytes > 0 {
        shared.telemetry.history.damaged("journal", 1);
        tracing::error!(
            partition = found.number,
            bytes = lost_bytes,
            "a journal of the history is damaged: the points of the damaged places are lost, the file as it was is set aside"
        );
    }
    Ok(Store::Raw(Arc::new(opened.hot)))
}

fn open_sealed(shared: &Shared, found: &Found, mut take: impl FnMut(u64, Space, &str)) -> Result<Store, Failure> {
    let segment = Segment::open(&found.path)?;
    for head in segment.series() {
        match head {
            Ok(head) => take(head.id, head.space, &head.key),
            Err(lost) => {
                shared.telemetry.history.damaged("block", lost.pages);
                tracing::error!(
                    partition = found.number,
                    ?lost,
                    "a part of the index of a partition is damaged: its keys may be missing"
                );
            }
        }
    }
    Ok(Store::Sealed(segment))
}
