//! Directories below `/sys` and `/proc` that a host has only with certain hardware or file systems.
//!
//! What is not there gives nothing. They are read rarely, so nothing in them is kept open.

use std::io::ErrorKind;
use std::path::Path;

use super::error::{CollectError, Faults, at_most};
use super::files::{attribute, names};
use super::whole;

/// Most names that are looked at in one directory, wanted or not.
const ENTRIES_MAX: usize = 16_384;

/// The wanted names in a directory, sorted, at most `max`; more of them are a fault. Empty, and no
/// fault, where there is no such directory.
pub(super) fn entries(
    directory: &Path,
    max: usize,
    what: &'static str,
    faults: &mut Faults,
    wanted: impl Fn(&str) -> bool,
) -> Vec<String> {
    let found = names(directory, ENTRIES_MAX + 1).map_err(|error| CollectError::at(directory, &error));
    let found = faults.check_if_there(found).unwrap_or_default();
    if found.len() > ENTRIES_MAX {
        faults.note(CollectError::TooMany { what, max: ENTRIES_MAX });
    }
    let found = found.into_iter().filter(|name| wanted(name)).map(Ok);
    at_most(max, what, found).filter_map(|name| faults.check(name)).collect()
}

/// The text of an attribute without blanks at its end. `None` where there is no such file and where
/// the driver has no answer; that it may not be read is a fault.
pub(super) fn text(path: &Path, faults: &mut Faults) -> Option<String> {
    match attribute(path) {
        Ok(text) => Some(text),
        Err(error) => {
            if error.kind() == ErrorKind::PermissionDenied {
                faults.note(CollectError::at(path, &error));
            }
            None
        }
    }
}

/// The whole number in an attribute; see [`text`]. Anything else there is a fault.
pub(super) fn count(path: &Path, faults: &mut Faults) -> Option<f64> {
    parsed(path, faults, whole)
}

/// What an attribute means; see [`text`]. That it means nothing is a fault.
pub(super) fn parsed(path: &Path, faults: &mut Faults, parse: impl Fn(&str) -> Option<f64>) -> Option<f64> {
    let text = text(path, faults)?;
    let value = parse(&text);
    if value.is_none() {
        faults.note(CollectError::malformed(&path.display().to_string(), &text));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_no_fault() {
        let root = tempfile::tempdir().unwrap();
        let mut faults = Faults::default();
        assert_eq!(entries(&root.path().join("none"), 9, "things", &mut faults, |_| true), [""; 0]);
        assert_eq!(count(&root.path().join("none"), &mut faults), None);
        faults.into_result().unwrap();
    }

    #[test]
    fn more_than_wanted_is_a_fault() {
        let root = tempfile::tempdir().unwrap();
        for name in ["b1", "b2", "a", "b0"] {
            std::fs::write(root.path().join(name), "7 \n").unwrap();
        }
        let mut faults = Faults::default();
        let is_b = |name: &str| name.starts_with('b');
        assert_eq!(entries(root.path(), 3, "things", &mut faults, is_b), ["b0", "b1", "b2"]);
        assert_eq!(count(&root.path().join("a"), &mut faults), Some(7.0));
        assert_eq!(entries(root.path(), 2, "things", &mut faults, is_b), ["b0", "b1"]);
        assert_eq!(faults.into_result().unwrap_err().to_string(), "things: more than 2, the others are not shown");
    }

    #[test]
    fn what_makes_no_sense_is_a_fault() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("x");
        std::fs::write(&path, "-7\n").unwrap();
        let mut faults = Faults::default();
        assert_eq!(count(&path, &mut faults), None);
        assert!(faults.into_result().unwrap_err().to_string().ends_with("cannot make sense of \"-7\""));
    }
}
