//! Where the vital signs stand in a declared set.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;

use super::{Source, VITALS};
use crate::fleet::declared::Declared;
use crate::fleet::families::Shape;

/// Which devices, in which order: a hash of their names. An agent that makes two lists alike gets
/// wrong rates of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Devices(pub(super) u64);

/// Where one vital sign stands, by the numbers of series.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    /// Here, as it is.
    Value(usize),
    /// Here, as a ratio.
    Percent(usize),
    /// Of these ratios the largest.
    Fullest(Range<usize>),
    /// Counters of these devices, at these places.
    Counters(Devices, Box<[usize]>),
}

impl Place {
    /// How many of these values it looks at that are there.
    pub(super) fn samples(&self, values: &[f64]) -> u64 {
        let is_there = |at: &usize| values.get(*at).is_some_and(|value| !protocol::is_absent(*value));
        match self {
            Self::Value(at) | Self::Percent(at) => u64::from(is_there(at)),
            Self::Fullest(series) => series.clone().filter(is_there).count() as u64,
            Self::Counters(_, series) => series.iter().filter(|at| is_there(at)).count() as u64,
        }
    }
}

/// The vital signs of one set, by their numbers in [`VITALS`].
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Places(Box<[(usize, Place)]>);

impl Places {
    /// Those of this set; `None`: it has none, as almost every set.
    pub(super) fn of(declared: &Declared) -> Option<Self> {
        let mut places = Vec::new();
        for (family, claim) in declared.claims.iter().enumerate() {
            let Some(number) = VITALS.iter().position(|vital| *vital.family == *claim.name) else { continue };
            if Shape::of(claim.kind) == Shape::Scalar
                && let Some(vital) = VITALS.get(number)
                && let Some(place) = find(vital.source, declared, declared.series_of(family))
            {
                places.push((number, place));
            }
        }
        (!places.is_empty()).then(|| Self(places.into()))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Place)> {
        self.0.iter().map(|(number, place)| (*number, place))
    }
}

fn find(source: Source, declared: &Declared, mut series: Range<usize>) -> Option<Place> {
    let label = |at: usize, name: &str| label(declared.prefix(at), name);
    match source {
        Source::Value => series.next().map(Place::Value),
        Source::Percent => series.next().map(Place::Percent),
        Source::Disk => match series.clone().find(|at| label(*at, "mountpoint") == Some(b"/")) {
            Some(root) => Some(Place::Percent(root)),
            None => (!series.is_empty()).then_some(Place::Fullest(series)),
        },
        Source::Rate => {
            let mut devices = DefaultHasher::new();
            let mut places = Vec::new();
            for at in series {
                if let Some(device) = label(at, "device").filter(|device| !is_loopback(device)) {
                    device.hash(&mut devices);
                    places.push(at);
                }
            }
            (!places.is_empty()).then(|| Place::Counters(Devices(devices.finish()), places.into()))
        }
    }
}

/// `lo`, `lo0`, `Loopback Pseudo-Interface 1`: what the systems call it.
fn is_loopback(device: &[u8]) -> bool {
    let numbered = device.strip_prefix(b"lo").is_some_and(|rest| rest.iter().all(u8::is_ascii_digit));
    numbered || device.starts_with(b"Loopback")
}

/// The value of a label, escaped as it stands in `name{label="value",…} `.
fn label<'a>(series: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let start = series.iter().position(|byte| *byte == b'{')? + 1;
    let mut rest = series.get(start..)?;
    loop {
        let (found, value) = rest.split_at_checked(rest.iter().position(|byte| *byte == b'=')?)?;
        let value = value.strip_prefix(b"=\"")?;
        let end = end_of_value(value)?;
        if found == name.as_bytes() {
            return value.get(..end);
        }
        rest = value.get(end..)?.strip_prefix(b"\",")?;
    }
}

/// Where the closing quote stands.
fn end_of_value(value: &[u8]) -> Option<usize> {
    let mut is_escaped = false;
    value.iter().position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(series: &str, name: &str, expected: Option<&str>) {
        assert_eq!(label(series.as_bytes(), name).map(String::from_utf8_lossy).as_deref(), expected, "{series}");
    }

    #[test]
    fn labels_are_found_whatever_the_others_say() {
        let series = r#"x{a="q\"\\",b="c,d=\"1\"",d="2",e=""} "#;
        check(series, "a", Some(r#"q\"\\"#));
        check(series, "b", Some(r#"c,d=\"1\""#));
        check(series, "d", Some("2"));
        check(series, "e", Some(""));
        check(series, "f", None);
        check(r#"x{a=",d=",b="1"} "#, "d", None);
        check("x ", "d", None);
        check("", "d", None);
        check("x{", "d", None);
    }

    #[test]
    fn loopback_has_many_names() {
        for device in ["lo", "lo0", "lo12", "Loopback Pseudo-Interface 1"] {
            assert!(is_loopback(device.as_bytes()), "{device}");
        }
        for device in ["eth0", "lora0", "l", "low", ""] {
            assert!(!is_loopback(device.as_bytes()), "{device}");
        }
    }
}
