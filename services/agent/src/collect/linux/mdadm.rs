//! `node_md_*` from `/proc/mdstat` and `/sys/block/md*/md`: arrays of disks (software RAID).
//!
//! The file is made for people. An array has a line at its beginning, others that are indented
//! follow: how large it is and how many of its disks work, then what it is busy with if it is.
//!
//! ```text
//! md1 : active raid5 sde1[3] sdd1[4](F) sdc1[1] sdb1[0]
//!       5860147200 blocks super 1.2 level 5, 512k chunk, algorithm 2 [4/3] [UU_U]
//!       [=>...................]  recovery =  8.5% (166113280/1953382400) finish=170.0min speed=175212K/sec
//! ```

use std::time::Duration;

use super::batch::Batch;
use super::error::{CollectError, Faults, at_most};
use super::files::{Roots, Source};
use super::sysfs::{devices, text};
use super::{Collector, whole};

/// Most arrays that are shown.
const ARRAYS_MAX: usize = 1024;
/// What an array can be doing, as the metric has it.
const STATES: [&str; 6] = ["active", "inactive", "recovering", "resync", "check", "reshape"];
/// The same as the kernel has it, while it is busy.
const BUSY: [(&str, &str); 4] =
    [("recovery", "recovering"), ("resync", "resync"), ("check", "check"), ("reshape", "reshape")];

/// The host's arrays of disks.
#[derive(Debug)]
pub(super) struct Mdadm {
    file: Source,
}

impl Mdadm {
    /// Reads nothing yet.
    #[must_use]
    pub(super) fn new() -> Self {
        Self { file: Source::new("mdstat") }
    }
}

impl Collector for Mdadm {
    fn name(&self) -> &'static str {
        "mdadm"
    }

    fn source(&self) -> &'static str {
        "`/proc/mdstat`, `/sys/block/md*/md/`"
    }

    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(15))
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        if let Some(text) = self.file.read_if_there(&roots.proc, &mut faults) {
            for array in arrays(text) {
                if let Some(array) = faults.check(array) {
                    report(&array, out);
                }
            }
        }
        let base = roots.sys.join("block");
        let is_array = |name: &str| name.starts_with("md") && base.join(name).join("md").is_dir();
        for device in devices(&base, "arrays", ARRAYS_MAX, is_array, &mut faults) {
            for (file, name, help) in [
                ("raid_disks", "node_md_raid_disks", "How many disks an array is made of."),
                ("degraded", "node_md_degraded", "How many disks an array that can do without some is short of."),
            ] {
                let path = base.join(&device).join("md").join(file);
                let Some(text) = text(&path, &mut faults) else { continue };
                // While it is made larger the number before stands behind: `4 (3)`.
                match text.split_ascii_whitespace().next().and_then(whole) {
                    Some(count) => out.gauge(name, help, &[("device", &device)], count),
                    None => faults.note(CollectError::malformed(&path.display().to_string(), &text)),
                }
            }
        }
        faults.into_result()
    }
}

/// An array as the file tells of it.
#[derive(Debug, PartialEq)]
struct Array<'a> {
    device: &'a str,
    /// One of [`STATES`].
    state: &'static str,
    /// Disks that it should have, and that work.
    required: f64,
    working: f64,
    failed: f64,
    spare: f64,
    /// Its size, unless it has none yet; and how much of it is in order.
    blocks: Option<(f64, f64)>,
}

/// The arrays in the file.
fn arrays(text: &str) -> impl Iterator<Item = Result<Array<'_>, CollectError>> {
    let is_head =
        |line: &str| !line.starts_with([' ', '\t']) && line.contains(" : ") && !line.starts_with("Personalities");
    let lines: Vec<&str> = text.lines().collect();
    let starts: Vec<usize> = lines.iter().enumerate().filter(|(_, line)| is_head(line)).map(|(at, _)| at).collect();
    let arrays = starts.into_iter().map(move |start| {
        let mut lines = lines.iter().skip(start).copied();
        let head = lines.next().unwrap_or_default();
        array(head, lines.take_while(|line| line.starts_with([' ', '\t'])))
    });
    at_most(ARRAYS_MAX, "arrays", arrays)
}

/// One array, of its first line and the others.
fn array<'a>(head: &'a str, rest: impl Iterator<Item = &'a str>) -> Result<Array<'a>, CollectError> {
    let malformed = |line: &str| CollectError::malformed("mdstat", line);
    let (device, about) = head.split_once(" : ").ok_or_else(|| malformed(head))?;
    let state = about.split_ascii_whitespace().next().unwrap_or_default();
    let state = STATES.into_iter().take(2).find(|known| *known == state).ok_or_else(|| malformed(head))?;
    let flags = |flag: &str| count(about.split_ascii_whitespace().filter(|word| word.contains(flag)).count());
    let disks = count(about.split_ascii_whitespace().filter(|word| is_disk(word)).count());
    let device = device.trim_end();
    let mut array =
        Array { device, state, required: 0.0, working: 0.0, failed: flags("(F)"), spare: flags("(S)"), blocks: None };
    for line in rest {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some(size), Some("blocks")) => {
                let size = whole(size).ok_or_else(|| malformed(line))?;
                array.blocks = Some((size, size));
                // Only arrays that can do without a disk tell how many work.
                let counts = words.find_map(pair).unwrap_or((disks, disks));
                (array.required, array.working) = if state == "active" { counts } else { (0.0, 0.0) };
            }
            _ => {
                let Some((state, done)) = busy(line) else { continue };
                array.state = state;
                array.blocks = array.blocks.map(|(size, _)| (size, done));
            }
        }
    }
    Ok(array)
}

/// What an array is busy with, and how much of that is done: nothing if it has not begun.
fn busy(line: &str) -> Option<(&'static str, f64)> {
    let (before, after) = line.split_once('=').filter(|(before, _)| !before.contains('[')).or_else(|| {
        // The bar before it has the same sign: `[==>....]  recovery = 8.5% (1/12)`.
        line.split_once(']')?.1.split_once('=')
    })?;
    let (_, state) = BUSY.into_iter().find(|(word, _)| *word == before.trim())?;
    let done = after.split_once('(').and_then(|(_, rest)| whole(rest.split('/').next()?));
    Some((state, done.unwrap_or(0.0)))
}

/// The numbers of `[4/3]`.
fn pair(word: &str) -> Option<(f64, f64)> {
    let (required, working) = word.strip_prefix('[')?.strip_suffix(']')?.split_once('/')?;
    Some((whole(required)?, whole(working)?))
}

/// Is it a disk, such as `sda1[0]` or `sdb1[2](F)`?
fn is_disk(word: &str) -> bool {
    let number = word.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    number.is_some_and(|(number, _)| whole(number).is_some())
}

#[expect(clippy::cast_precision_loss, reason = "words of a file of at most a megabyte")]
fn count(words: usize) -> f64 {
    words as f64
}

fn report(array: &Array<'_>, out: &mut Batch) {
    let device = ("device", array.device);
    for state in STATES {
        let value = if state == array.state { 1.0 } else { 0.0 };
        out.gauge("node_md_state", "1 for what an array is doing.", &[device, ("state", state)], value);
    }
    for (state, disks) in [("active", array.working), ("failed", array.failed), ("spare", array.spare)] {
        out.gauge(
            "node_md_disks",
            "How many disks of an array are in which state.",
            &[device, ("state", state)],
            disks,
        );
    }
    let help = "How many disks an array needs to be whole.";
    out.gauge("node_md_disks_required", help, &[device], array.required);
    if let Some((size, done)) = array.blocks {
        out.gauge("node_md_blocks", "Size of an array in blocks of 1024 bytes.", &[device], size);
        let help = "How many blocks are in order, or how many are done of what an array is busy with.";
        out.gauge("node_md_blocks_synced", help, &[device], done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_array(text: &str, expected: Array<'_>) {
        assert_eq!(arrays(text).collect::<Vec<_>>(), [Ok(expected)]);
    }

    const HEAD: &str = "Personalities : [raid1] [raid5] \n";

    #[test]
    fn whole_and_busy_arrays() {
        let raid5 = Array {
            device: "md1",
            state: "active",
            required: 4.0,
            working: 3.0,
            failed: 1.0,
            spare: 0.0,
            blocks: Some((300.0, 300.0)),
        };
        let start =
            format!("{HEAD}md1 : active raid5 sde1[3] sdd1[4](F) sdb1[0]\n      300 blocks level 5 [4/3] [UU_U]\n");
        check_array(&format!("{start}\nunused devices: <none>\n"), raid5);
        for (line, state, done) in [
            ("      [=>...]  recovery =  8.5% (17/200) finish=170.0min speed=175212K/sec", "recovering", 17.0),
            ("      [>....]  resync = 0.0% (0/200) finish=170.0min speed=175212K/sec", "resync", 0.0),
            ("      [====>]  check = 99.9% (199/200) finish=0.0min speed=1K/sec", "check", 199.0),
            ("      [====>]  reshape = 99.9% (199/200) finish=0.0min speed=1K/sec", "reshape", 199.0),
            ("      \tresync=DELAYED", "resync", 0.0),
            ("      \tresync=PENDING", "resync", 0.0),
            ("      \trecovery=REMOTE", "recovering", 0.0),
            ("      bitmap: 3/15 pages [12KB], 65536KB chunk", "active", 300.0),
            ("      something = new", "active", 300.0),
        ] {
            let text = format!("{start}      bitmap: 0/1 pages [0KB], 65536KB chunk\n{line}\n");
            let got: Vec<_> = arrays(&text).map(|array| array.map(|array| (array.state, array.blocks))).collect();
            assert_eq!(got, [Ok((state, Some((300.0, done))))], "{line}");
        }
    }

    #[test]
    fn arrays_that_cannot_do_without_a_disk() {
        let text = "md2 : active (read-only) raid0 sdb[1] sda[0](W)\n      12 blocks super 1.2 512k chunks\n      \n";
        let raid0 = Array {
            device: "md2",
            state: "active",
            required: 2.0,
            working: 2.0,
            failed: 0.0,
            spare: 0.0,
            blocks: Some((12.0, 12.0)),
        };
        check_array(text, raid0);
    }

    #[test]
    fn inactive_arrays() {
        let inactive = |spare, blocks| Array {
            device: "md3",
            state: "inactive",
            required: 0.0,
            working: 0.0,
            failed: 0.0,
            spare,
            blocks,
        };
        check_array(
            "md3 : inactive sdg1[1](S) sdh1[0](S)\n      7 blocks super 1.2\n",
            inactive(2.0, Some((7.0, 7.0))),
        );
        check_array("md3 : inactive\n      \n", inactive(0.0, None));
    }

    #[test]
    fn what_makes_no_sense_is_a_fault() {
        let text = format!("{HEAD}md1 : lazy raid1\nmd2 : active raid1 sda[0]\n      x blocks\nmd3 : inactive\n\n");
        let got: Vec<String> =
            arrays(&text).map(|array| array.map_or_else(|e| e.to_string(), |array| array.device.to_owned())).collect();
        assert!(got[0].contains("\"md1 : lazy raid1\"") && got[1].contains("x blocks"), "{got:?}");
        assert_eq!(got[2..], ["md3"]);
    }
}
