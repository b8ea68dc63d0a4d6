//! A spool's files: what is found at the start, and how a job is done. Whatever the files hold, the
//! start goes on: what cannot be read is set aside or skipped, and counted.

use std::io;

use super::entry::NUMBER_MAX;
use super::files::Files;
use super::notes::{Identity, Progress};
use super::segment::look;
use super::store::{Limits, Store};
use super::upkeep::Job;

const IDENTITY: &str = "identity";
const PROGRESS: &str = "progress";
const SEGMENT: &str = "seg";
const SET_ASIDE: &str = "bad";
const UNFINISHED: &str = "tmp";
/// Most files that are set aside, for whoever wants to know what became of them.
const SET_ASIDE_MAX: usize = 4;

/// What a process knows of itself when it opens a spool.
#[derive(Debug, Clone)]
pub(super) struct Newcomer {
    /// An id in case that there is none yet.
    pub(super) id: String,
    /// Marks the host.
    pub(super) host: u32,
    /// Marks the boot.
    pub(super) boot: u64,
}

/// A spool that was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) identity: Identity,
    /// Numbers of pushes begin above this one.
    pub(super) base: u64,
    /// Why the identity could not be written down: the disk is full.
    pub(super) unwritten: Option<io::Error>,
}

/// Opens the spool in a folder.
///
/// # Errors
/// When the folder cannot be read or written; never because of what is in the files.
pub(super) fn open(files: &dyn Files, limits: Limits, newcomer: Newcomer) -> io::Result<Opened> {
    let mut names = files.list()?;
    names.sort_unstable();
    for name in names.iter().filter(|name| extension(name) == UNFINISHED) {
        let _gone_or_not = files.remove(name);
    }
    let progress = text(files, PROGRESS).and_then(|text| Progress::parse(&text)).unwrap_or_default();
    let mut store = Store::new(limits, newcomer.boot, progress);
    for (number, name) in names.iter().filter_map(|name| Some((number_of(name)?, name))) {
        if number > NUMBER_MAX {
            set_aside(files, &mut store, name);
        } else {
            restore(files, &mut store, number, name);
        }
    }
    set_aside_less(files);
    let (identity, unwritten) = introduce(files, &store, newcomer)?;
    let base = identity.incarnation << 32;
    store.begin(&identity.id, base);
    store.identity = Some(identity.clone());
    Ok(Opened { store, identity, base, unwritten })
}

/// Who this spool is from now on. Written down before any number is used.
fn introduce(files: &dyn Files, store: &Store, newcomer: Newcomer) -> io::Result<(Identity, Option<io::Error>)> {
    let known = text(files, IDENTITY).and_then(|text| Identity::parse(&text));
    // The half of a number that counts processes.
    let used = (store.last() >> 32).max(known.as_ref().map_or(0, |known| known.incarnation));
    let incarnation = used.saturating_add(1).min(u64::from(u32::MAX) - 1);
    let fresh = Identity { id: newcomer.id, incarnation, host: newcomer.host };
    let identity = match known {
        Some(known) if known.host == fresh.host => Identity { incarnation, ..known },
        Some(known) => {
            tracing::warn!(former = known.id, "the spool comes from another host, it gets an id of its own");
            fresh.clone()
        }
        None => fresh.clone(),
    };
    match files.write(IDENTITY, identity.to_text().as_bytes()) {
        Ok(()) => Ok((identity, None)),
        // No two processes may use the same numbers: this one has an id that no other will know.
        Err(error) if is_full(&error) => Ok((fresh, Some(error))),
        Err(error) => Err(error),
    }
}

/// Is this an error that passes without anybody changing a setting?
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn restore(files: &dyn Files, store: &mut Store, number: u64, name: &str) {
    let bytes = match files.read(name) {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::warn!(file = name, %error, "cannot read what waits in the spool, it is set aside");
            return set_aside(files, store, name);
        }
    };
    let found = look(&bytes);
    if found.damages > 0 {
        let (damages, samples) = (found.damages, found.lost);
        tracing::warn!(file = name, damages, samples, pushes = found.heads.len(), "a file of the spool is damaged");
    }
    if found.heads.is_empty() && !bytes.is_empty() {
        return set_aside(files, store, name);
    }
    let mut len = bytes.len();
    if let Some(healed) = &found.healed {
        // If that fails it is found damaged again next time, and the rest is still good.
        if files.write(name, healed).is_ok() {
            len = healed.len();
        }
    }
    store.restore(number, len, &found);
}

fn set_aside(files: &dyn Files, store: &mut Store, name: &str) {
    store.damaged(1, 0);
    let aside = format!("{}.{SET_ASIDE}", name.trim_end_matches(&format!(".{SEGMENT}")));
    if let Err(error) = files.rename(name, &aside) {
        tracing::warn!(file = name, %error, "cannot set a file of the spool aside");
    }
}

/// The oldest of what was set aside go.
fn set_aside_less(files: &dyn Files) {
    let mut aside: Vec<String> = files.list().unwrap_or_default();
    aside.retain(|name| extension(name) == SET_ASIDE);
    aside.sort_unstable_by(|a, b| b.cmp(a));
    for name in aside.iter().skip(SET_ASIDE_MAX) {
        let _gone_or_not = files.remove(name);
    }
}

/// Does a job.
pub(super) fn perform(files: &dyn Files, job: &Job) -> io::Result<Vec<u8>> {
    match job {
        Job::Write { number, bytes } => files.write(&name_of(*number), bytes).map(|()| vec![]),
        Job::Append { number, bytes } => files.append(&name_of(*number), bytes).map(|()| vec![]),
        Job::Identity(identity) => files.write(IDENTITY, identity.to_text().as_bytes()).map(|()| vec![]),
        Job::Progress(progress) => files.write(PROGRESS, progress.to_text().as_bytes()).map(|()| vec![]),
        Job::Remove(number) => files.remove(&name_of(*number)).map(|()| vec![]),
        Job::Load(number) => files.read(&name_of(*number)),
    }
}

fn text(files: &dyn Files, name: &str) -> Option<String> {
    match files.read(name).map(String::from_utf8) {
        Ok(Ok(text)) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        unreadable => {
            let error = unreadable.map_or_else(|error| error.to_string(), |_| "it is no text".to_owned());
            tracing::warn!(file = name, error, "cannot read a file of the spool, it is made anew");
            None
        }
    }
}

fn extension(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, extension)| extension)
}

fn name_of(number: u64) -> String {
    format!("{number:016x}.{SEGMENT}")
}

fn number_of(name: &str) -> Option<u64> {
    let number = u64::from_str_radix(name.strip_suffix(SEGMENT)?.strip_suffix('.')?, 16).ok()?;
    (name_of(number) == name).then_some(number)
}
