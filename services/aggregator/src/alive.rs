//! Until when this process ran, for the next one: by then its page could be seen no more.
//!
//! A small file in the data directory, written every second, and not synced: a killed process
//! loses nothing that way. After a power failure what it says may be half a minute old, which is
//! allowed for. A file that cannot be read means that nothing is known.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const FILE: &str = "alive";
/// How often it is written.
pub(crate) const EVERY_MS: i64 = 1_000;
/// How much longer the process may have run than the file says: until the next write, which may
/// have taken its time.
const AFTER_MS: i64 = 2 * EVERY_MS;
/// The same, where the whole machine ended: systems write a file back within 35 s.
const AFTER_POWER_FAILURE_MS: i64 = 60_000;
/// Far more than is ever written.
const FILE_BYTES_MAX: u64 = 1_024;

/// What is known of the process before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Former {
    /// It ended by then, Unix ms.
    pub ended_ms: i64,
    /// The list of known agents says all that was so until then, Unix ms.
    pub listed_ms: i64,
}

/// The file.
#[derive(Debug, Clone)]
pub(crate) struct AliveFile {
    path: PathBuf,
    boot: String,
}

impl AliveFile {
    /// The file in this directory.
    pub(crate) fn new(dir: &Path) -> Self {
        Self { path: dir.join(FILE), boot: boot_id() }
    }

    /// What the process before has left; `None`: nothing, or nothing that can be believed.
    pub(crate) fn load(&self) -> Option<Former> {
        let is_small = fs::metadata(&self.path).ok()?.len() <= FILE_BYTES_MAX;
        parse(&fs::read_to_string(&self.path).ok().filter(|_| is_small)?, &self.boot)
    }

    /// The process runs at this time; the list of known agents was written at that one.
    pub(crate) fn save(&self, alive_ms: i64, listed_ms: i64) -> io::Result<()> {
        fs::write(&self.path, text(alive_ms, listed_ms, &self.boot))
    }
}

fn text(alive_ms: i64, listed_ms: i64, boot: &str) -> String {
    let line = format!("1 {alive_ms} {listed_ms} {boot}");
    format!("{line} {:08x}\n", crc32fast::hash(line.as_bytes()))
}

fn parse(text: &str, boot: &str) -> Option<Former> {
    let (line, sum) = text.strip_suffix('\n')?.rsplit_once(' ')?;
    if u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(line.as_bytes()) {
        return None;
    }
    let mut words = line.splitn(4, ' ');
    let (version, alive_ms, listed_ms) = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    if version != "1" {
        return None;
    }
    // Where the system does not say which start this is, it may be another one.
    let is_same_boot = words.next().is_some_and(|word| word == boot && !word.is_empty());
    let after = if is_same_boot { AFTER_MS } else { AFTER_POWER_FAILURE_MS };
    Some(Former { ended_ms: i64::saturating_add(alive_ms, after), listed_ms })
}

/// Which start of the system this is; empty where it does not say.
fn boot_id() -> String {
    let id = if cfg!(target_os = "linux") {
        fs::read_to_string("/proc/sys/kernel/random/boot_id")
    } else {
        Ok(String::new())
    };
    id.unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let file = AliveFile::new(dir.path());
        assert_eq!(file.load(), None);
        file.save(1_790_000_000_000, 1_789_999_999_000).unwrap();
        let after = if cfg!(target_os = "linux") { AFTER_MS } else { AFTER_POWER_FAILURE_MS };
        assert_eq!(file.load(), Some(Former { ended_ms: 1_790_000_000_000 + after, listed_ms: 1_789_999_999_000 }));
    }

    #[test]
    fn another_start_of_the_system_may_have_lost_half_a_minute() {
        let written = text(5, 4, "b");
        assert_eq!(parse(&written, "b").unwrap().ended_ms, 5 + AFTER_MS);
        for boot in ["c", ""] {
            assert_eq!(parse(&written, boot).unwrap().ended_ms, 5 + AFTER_POWER_FAILURE_MS);
        }
        assert_eq!(parse(&text(5, 4, ""), "").unwrap().ended_ms, 5 + AFTER_POWER_FAILURE_MS);
    }

    #[test]
    fn damage_is_noticed() {
        let written = text(1_790_000_000_000, 7, "b");
        for at in 0..written.len() {
            assert_eq!(parse(&written[..at], "b"), None, "cut at {at}");
            let mut flipped = written.clone().into_bytes();
            flipped[at] ^= 1;
            assert_eq!(parse(&String::from_utf8(flipped).unwrap(), "b"), None, "flipped at {at}");
        }
    }
}
