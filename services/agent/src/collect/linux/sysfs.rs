//! Devices below `/sys` and their attributes, for collectors that look now and then: which there
//! are, and what each says. What is read for every push stays open instead (`attr.rs`).

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::io::Errno;

use super::error::{CollectError, Faults};
use super::files::listed;
use super::{number, whole};

/// No attribute is longer: a page of memory, as the kernel has it.
const BYTES_MAX: usize = 4096;

/// The names in a directory that are those of devices, sorted; see [`listed`]. No such directory,
/// no devices.
pub(super) fn devices(
    path: &Path,
    what: &'static str,
    max: usize,
    is_one: impl Fn(&str) -> bool,
    faults: &mut Faults,
) -> Vec<String> {
    let names = listed(path, what, max, is_one, faults);
    faults.check_if_there(names).unwrap_or_default()
}

/// The number of a device that is called by it, such as the `3` of `cpu3`.
pub(super) fn numbered<'a>(name: &'a str, stem: &str) -> Option<&'a str> {
    name.strip_prefix(stem).filter(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Reads an attribute once, without its last newline. One call of `read` gets all of it, and
/// drivers that answer `EAGAIN` for ever are not asked again.
///
/// # Errors
/// When it cannot be opened or read.
fn attribute(path: &Path) -> io::Result<String> {
    let mut bytes = [0; BYTES_MAX];
    let got = File::open(path)?.read(&mut bytes)?;
    let text = String::from_utf8_lossy(bytes.get(..got).unwrap_or_default());
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

/// The same where the device need not have the attribute, nor its driver an answer (`EINVAL`,
/// `ENODATA`, `EIO`, …): `None` then. That the system refuses to say is a fault.
pub(super) fn line(path: &Path, faults: &mut Faults) -> Option<String> {
    unless_refused(path, attribute(path), faults)
}

/// The same of a file that is longer than an attribute, up to 64 KiB, without blanks at its end.
pub(super) fn long(path: &Path, faults: &mut Faults) -> Option<String> {
    unless_refused(path, super::files::attribute(path), faults)
}

fn unless_refused(path: &Path, text: io::Result<String>, faults: &mut Faults) -> Option<String> {
    let refused = |error: &io::Error| is_refusal(path, error);
    if let Some(error) = text.as_ref().err().filter(|error| refused(error)) {
        faults.note(CollectError::at(path, error));
    }
    text.ok()
}

/// The same where the kernel tells nobody but root, on purpose: to be refused is no fault.
pub(super) fn line_for_root(path: &Path, faults: &mut Faults) -> Option<String> {
    let is_hidden = File::open(path).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    if is_hidden { None } else { line(path, faults) }
}

/// The same without blanks around it.
pub(super) fn text(path: &Path, faults: &mut Faults) -> Option<String> {
    line(path, faults).map(|text| text.trim().to_owned())
}

/// The same as a number; what is none is a fault.
pub(super) fn value(path: &Path, faults: &mut Faults) -> Option<f64> {
    parsed(path, faults, signed)
}

/// The same as a whole number without a sign.
pub(super) fn count(path: &Path, faults: &mut Faults) -> Option<f64> {
    parsed(path, faults, whole)
}

/// What an attribute means; that it means nothing is a fault.
pub(super) fn parsed(path: &Path, faults: &mut Faults, parse: impl Fn(&str) -> Option<f64>) -> Option<f64> {
    let text = text(path, faults)?;
    let value = parse(&text);
    if value.is_none() {
        faults.note(CollectError::malformed(&path.display().to_string(), &text));
    }
    value
}

/// A decimal number with a fraction or without, and a minus sign or none.
pub(super) fn signed(text: &str) -> Option<f64> {
    let number = match text.strip_prefix('-') {
        Some(text) => -number(text)?,
        None => number(text)?,
    };
    number.is_finite().then_some(number)
}

/// Is it for want of a permission or of room that nothing was read? An attribute that can only be
/// written has nothing to say to anybody.
fn is_refusal(path: &Path, error: &io::Error) -> bool {
    match Errno::from_io_error(error) {
        Some(Errno::ACCESS | Errno::PERM) => {
            fs::metadata(path).map_or(true, |about| about.permissions().mode() & 0o444 != 0)
        }
        Some(errno) => [Errno::MFILE, Errno::NFILE, Errno::NOMEM].contains(&errno),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("x");
        let mut faults = Faults::default();
        assert_eq!((line(&path, &mut faults), line(root.path(), &mut faults)), (None, None), "it need not be there");
        for (text, number) in [("-12.5 \n", Some(-12.5)), ("7", Some(7.0)), ("0x", None), ("", None), ("1e999", None)] {
            fs::write(&path, text).unwrap();
            let mut faults = Faults::default();
            assert_eq!(value(&path, &mut faults), number, "{text}");
            assert_eq!(faults.into_result().is_err(), number.is_none(), "{text}");
        }
        fs::write(&path, " two \n").unwrap();
        assert_eq!(line(&path, &mut faults).as_deref(), Some(" two "));
        assert_eq!(text(&path, &mut faults).as_deref(), Some("two"));
        fs::write(&path, "9".repeat(BYTES_MAX * 2)).unwrap();
        assert_eq!(line(&path, &mut faults).map(|text| text.len()), Some(BYTES_MAX));
        assert_eq!(faults.into_result(), Ok(()));
    }

    #[test]
    fn only_a_refusal_is_a_fault() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("x");
        fs::write(&path, "").unwrap();
        for (errno, mode, expected) in [
            (Errno::ACCESS, 0o400, true),
            (Errno::ACCESS, 0o200, false),
            (Errno::MFILE, 0o444, true),
            (Errno::INVAL, 0o444, false),
            (Errno::NODATA, 0o444, false),
            (Errno::AGAIN, 0o444, false),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_refusal(&path, &errno.into()), expected, "{errno:?} of {mode:o}");
        }
    }

    #[test]
    fn devices_are_sorted_and_bounded() {
        let root = tempfile::tempdir().unwrap();
        for name in ["md2", "sda", "md10", "md1"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let mut faults = Faults::default();
        let is_array = |name: &str| numbered(name, "md").is_some();
        assert_eq!(devices(root.path(), "arrays", 3, is_array, &mut faults), ["md1", "md10", "md2"]);
        assert_eq!(devices(&root.path().join("none"), "arrays", 3, is_array, &mut faults), [""; 0]);
        assert_eq!(faults.into_result(), Ok(()));
        let mut faults = Faults::default();
        assert_eq!(devices(root.path(), "arrays", 2, is_array, &mut faults), ["md1", "md10"]);
        assert!(faults.into_result().unwrap_err().to_string().contains("arrays: more than 2"));
    }

    #[test]
    fn numbers_in_names() {
        assert_eq!(
            ["cpu12", "cpu", "cpufreq", "cpu1x"].map(|name| numbered(name, "cpu")),
            [Some("12"), None, None, None]
        );
    }
}
