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
