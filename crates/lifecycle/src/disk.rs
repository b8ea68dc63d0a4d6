//! How much room a disk has.

use std::io;
use std::path::Path;

/// Bytes that this process may still write on the file system of this path; `None`: not known on
/// this system.
///
/// # Errors
/// When the system cannot say.
pub fn free_bytes(path: &Path) -> io::Result<Option<u64>> {
    #[cfg(unix)]
    {
        let stat = rustix::fs::statvfs(path)?;
        Ok(Some(stat.f_bavail.saturating_mul(stat.f_frsize)))
    }
    #[cfg(not(unix))]
    {
        let _unknown = path;
        Ok(None)
    }
}

/// How deep folders are looked into: deeper than any program here makes them.
const DEPTH_MAX: usize = 8;

/// Bytes that a folder takes on its disk. What vanishes meanwhile does not count.
///
/// # Errors
/// When the folder cannot be listed.
pub fn used_bytes(folder: &Path) -> io::Result<u64> {
    used_below(folder, DEPTH_MAX)
}

fn used_below(folder: &Path, depth: usize) -> io::Result<u64> {
    let mut bytes = 0_u64;
    for entry in std::fs::read_dir(folder)? {
        let Ok(entry) = entry else { continue };
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() && depth > 0 => {
                bytes = bytes.saturating_add(used_below(&entry.path(), depth - 1).unwrap_or(0));
            }
            Ok(metadata) => bytes = bytes.saturating_add(on_disk(&metadata)),
            Err(_) => {}
        }
    }
    Ok(bytes)
}

/// A file may have holes.
fn on_disk(metadata: &std::fs::Metadata) -> u64 {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        metadata.blocks().saturating_mul(512)
    }
    #[cfg(not(unix))]
    metadata.len()
}
