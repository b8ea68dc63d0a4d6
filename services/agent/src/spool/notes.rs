//! The two small files beside the segments, as text: who the spool is, and how far it is.
//!
//! Each ends in a checksum: a number that was read wrong would be believed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use protocol::names::is_session;

use super::entry::NUMBER_MAX;
use crate::clock::Moment;

/// Most boots whose clocks are remembered.
pub(super) const BOOTS_MAX: usize = 8;

/// Who a spool is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// Its id, the session of the link.
    pub(super) id: String,
    /// Counts the processes that used it.
    pub(super) incarnation: u64,
    /// Marks the host that it is on.
    pub(super) host: u32,
}

/// How far a spool is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// All pushes of the late stream up to here are done with.
    pub(super) late: u64,
    /// The id that the losses were counted under.
    pub(super) session: String,
    /// Samples that were lost, by reason.
    pub(super) lost: BTreeMap<String, u64>,
    /// The last moment of each boot at which both clocks were read.
    pub(super) boots: BTreeMap<u64, Moment>,
    /// The last moment of each boot at which an aggregator said what time it is: the wall time is its.
    pub(super) heard: BTreeMap<u64, Moment>,
}

impl Identity {
    pub(super) fn to_text(&self) -> String {
        let Self { id, incarnation, host } = self;
        sealed(format!("id {id}\nincarnation {incarnation}\nhost {host:08x}\n"))
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = opened(text)?.lines().map(|line| line.split_once(' '));
        let mut word = |name: &str| words.next().flatten().filter(|(of, _)| *of == name).map(|(_, word)| word);
        let id = word("id").filter(|id| is_session(id))?.to_owned();
        // It is the upper half of a number.
        let incarnation = word("incarnation").and_then(number).filter(|it| *it <= NUMBER_MAX >> 32)?;
        let host = u32::from_str_radix(word("host")?, 16).ok()?;
        Some(Self { id, incarnation, host })
    }
}

impl Progress {
    pub(super) fn to_text(&self) -> String {
        let mut text = format!("late {}\nsession {}\n", self.late, self.session);
        for (reason, samples) in &self.lost {
            let _infallible = writeln!(text, "lost {reason} {samples}");
        }
        for (what, boots) in [("boot", &self.boots), ("heard", &self.heard)] {
            for (boot, moment) in boots {
                let _infallible = writeln!(text, "{what} {boot:016x} {} {}", moment.mono_ms, moment.wall_ms);
            }
        }
        sealed(text)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut read = Self::default();
        for line in opened(text)?.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match *words.as_slice() {
                ["late", late] => read.late = number(late)?,
                ["session", id] => read.session = id.to_owned(),
                ["lost", reason, samples] => {
                    read.lost.insert(reason.to_owned(), number(samples)?);
                }
                [what @ ("boot" | "heard"), boot, mono_ms, wall_ms] => {
                    let moment = Moment { mono_ms: number(mono_ms)?, wall_ms: wall_ms.parse().ok()? };
                    let boots = if what == "boot" { &mut read.boots } else { &mut read.heard };
                    boots.insert(u64::from_str_radix(boot, 16).ok()?, moment);
                }
                // What a later version added.
                _ => {}
            }
        }
        Some(read)
    }
}

/// A number that may be true.
fn number(word: &str) -> Option<u64> {
    word.parse().ok().filter(|number| *number <= NUMBER_MAX)
}

pub(super) fn sealed(mut text: String) -> String {
    let sum = crc32fast::hash(text.as_bytes());
    let _infallible = writeln!(text, "sum {sum:08x}");
    text
}

fn opened(text: &str) -> Option<&str> {
    let body = text.strip_suffix('\n')?;
    let (body, sum) = body.split_at_checked(body.rfind('\n')? + 1)?;
    let sum = u32::from_str_radix(sum.strip_prefix("sum ")?, 16).ok()?;
    (sum == crc32fast::hash(body.as_bytes())).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_numbers_are_not_believed() {
        let identity = |incarnation: u64| Identity { id: "5f2c".into(), incarnation, host: 1 }.to_text();
        assert!(Identity::parse(&identity(1 << 31)).is_some());
        assert_eq!(Identity::parse(&identity((1 << 31) + 1)), None);
        for line in ["late", "lost spool_full", "boot 0000000000000001"] {
            let parse = |number: u64| {
                Progress::parse(&sealed(format!(
                    "{line} {number}{}\n",
                    if line.starts_with("boot") { " 5" } else { "" }
                )))
            };
            assert!(parse(NUMBER_MAX).is_some(), "{line}");
            assert_eq!(parse(NUMBER_MAX + 1), None, "{line}");
        }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let identity = Identity { id: "5f2c".repeat(8), incarnation: 7, host: 0xab };
        let text = identity.to_text();
        assert_eq!(Identity::parse(&text), Some(identity));
        let progress = Progress {
            late: NUMBER_MAX,
            session: "5f2c".into(),
            lost: [("spool_full".to_owned(), 3)].into(),
            boots: [(u64::MAX, Moment { wall_ms: -5, mono_ms: 6 })].into(),
            heard: [(7, Moment { wall_ms: 8, mono_ms: 9 })].into(),
        };
        assert_eq!(Progress::parse(&progress.to_text()), Some(progress.clone()));
        for text in [text, progress.to_text()] {
            for at in 0..text.len() {
                let cut = &text[..at];
                assert_eq!((Identity::parse(cut), Progress::parse(cut)), (None, None), "{cut:?}");
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1;
                let Ok(other) = String::from_utf8(bytes) else { continue };
                assert_eq!((Identity::parse(&other), Progress::parse(&other)), (None, None), "{other:?}");
            }
        }
    }
}
