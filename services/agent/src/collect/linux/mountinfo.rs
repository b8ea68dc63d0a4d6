//! `mountinfo`: what is mounted, and whether the agent can see it.

use std::collections::BTreeMap;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::error::{CollectError, Faults};
use super::files::{Roots, Source};

/// What a mount's `device_error` says while it does not answer.
pub(in crate::collect) const STUCK: &str = "mountpoint timeout";
/// What it says of a mount that this process does not have: it was made after the agent's
/// container was, or hidden from it, and the directory that is there belongs to another one.
pub(super) const NOT_VISIBLE: &str = "not visible to the agent";
/// Longest list of mounts. A line of a container's overlay has some KiB.
pub(super) const LIST_BYTES_MAX: usize = 16 << 20;

/// A mounted file system.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::collect) struct Mount {
    /// What is mounted.
    pub(in crate::collect) device: String,
    /// Where, as the host sees it.
    pub(in crate::collect) mountpoint: String,
    /// Which kind of file system.
    pub(in crate::collect) fstype: String,
    /// The device's number.
    pub(in crate::collect) major: String,
    /// The device's number.
    pub(in crate::collect) minor: String,
    /// Can it only be read?
    pub(in crate::collect) readonly: bool,
    /// How full it is, or why that is not known.
    pub(in crate::collect) space: Result<Space, String>,
    /// Where to ask, as this process sees it.
    pub(in crate::collect) path: PathBuf,
}

impl Mount {
    /// Is this why it is not known how full it is?
    pub(super) fn says(&self, error: &str) -> bool {
        self.space.as_ref().is_err_and(|why| why == error)
    }
}

/// How full a file system is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::collect) struct Space {
    /// Its size in bytes.
    pub(in crate::collect) size: f64,
    /// Bytes that are free.
    pub(in crate::collect) free: f64,
    /// Bytes that are free for users other than root.
    pub(in crate::collect) avail: f64,
    /// How many files it can have.
    pub(in crate::collect) files: f64,
    /// How many more.
    pub(in crate::collect) files_free: f64,
}

/// Which mounts this process has itself. In a container, and in a service with a view of its own,
/// a directory of the host need not be what is mounted there on the host.
#[derive(Debug)]
pub(super) struct View {
    file: Source,
    /// The text that `own` was made of.
    of: Vec<u8>,
    /// Number of the device by path; `None`: they are the same ones, or cannot be known.
    own: Option<BTreeMap<PathBuf, String>>,
}

impl View {
    pub(super) fn new() -> Self {
        Self { file: Source::new("proc/self/mountinfo").with_max(LIST_BYTES_MAX), of: vec![], own: None }
    }

    /// Looks at our own mounts, beside the host's.
    pub(super) fn look(&mut self, roots: &Roots, host: &[u8]) {
        // Without an own list, as in tests, all that is listed is taken to be visible.
        if self.file.load(&roots.own, &mut Faults::default()).is_err() || self.file.bytes() == host {
            self.own = None;
            return;
        }
        if self.own.is_some() && self.file.bytes() == self.of {
            return;
        }
        self.of = self.file.bytes().to_vec();
        let mut seen: BTreeMap<PathBuf, String> = BTreeMap::new();
        for mount in self.of.split(|byte| *byte == b'\n').filter_map(|line| parse(line, Path::new("/"), None).ok()?) {
            // What is mounted later covers what was mounted below.
            let covered = |path: &PathBuf| path.starts_with(&mount.path);
            let below: Vec<PathBuf> = seen
                .range(mount.path.clone()..)
                .map(|(path, _)| path)
                .take_while(|path| covered(path))
                .cloned()
                .collect();
            below.iter().for_each(|path| drop(seen.remove(path)));
            seen.insert(mount.path, format!("{}:{}", mount.major, mount.minor));
        }
        self.own = Some(seen);
    }

    pub(super) fn has(&self, mount: &Mount) -> bool {
        let Some(own) = &self.own else { return true };
        own.get(&mount.path).is_some_and(|device| {
            device.split_once(':').is_some_and(|(major, minor)| major == mount.major && minor == mount.minor)
        })
    }
}

/// Reads one line of `mountinfo`; `None` for a mount that is not shown.
pub(super) fn parse(line: &[u8], root: &Path, strip: Option<&Path>) -> Result<Option<Mount>, CollectError> {
    let malformed = || CollectError::malformed("mountinfo", &String::from_utf8_lossy(line));
    let mut words = line.split(|byte| *byte == b' ');
    let numbers = words.nth(2).ok_or_else(malformed)?;
    let (mountpoint, options) = (words.nth(1).ok_or_else(malformed)?, words.next().ok_or_else(malformed)?);
    let mut words = words.skip_while(|word| *word != b"-").skip(1);
    let (kind, device) = (words.next().ok_or_else(malformed)?, words.next().ok_or_else(malformed)?);
    let super_options = words.next().unwrap_or_default();
    let numbers = String::from_utf8_lossy(numbers);
    let (major, minor) = numbers.split_once(':').ok_or_else(malformed)?;
    let seen = PathBuf::from(std::ffi::OsString::from_vec(unescaped(mountpoint)));
    let mountpoint = match strip {
        None => seen,
        Some(prefix) => match seen.strip_prefix(prefix) {
            Ok(below) => Path::new("/").join(below),
            Err(_) => return Ok(None),
        },
    };
    let fstype = text(kind);
    let readonly = [options, super_options]
        .iter()
        .any(|options| options.split(|byte| *byte == b',').any(|option| option == b"ro" || option == b"emergency_ro"));
    Ok(Some(Mount {
        device: text(&unescaped(device)),
        path: root.join(mountpoint.strip_prefix("/").unwrap_or(&mountpoint)),
        mountpoint: text(mountpoint.as_os_str().as_bytes()),
        fstype,
        major: major.to_owned(),
        minor: minor.to_owned(),
        readonly,
        space: Err(STUCK.to_owned()),
    }))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The kernel writes space, tab, newline and backslash in names as `\040` and so on.
fn unescaped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let (byte, next) = match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                ((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'), tail)
            }
            _ => (*first, tail),
        };
        out.push(byte);
        rest = next;
    }
    out
}
