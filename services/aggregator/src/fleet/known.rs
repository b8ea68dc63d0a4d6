//! The names that must survive a restart: without them, restarting the aggregator would resolve
//! the alert on a host that is dead.
//!
//! One small file, written whole: to a temporary name, synced, renamed, the directory synced. It
//! carries a checksum; a file that cannot be read is set aside under another name and the
//! aggregator starts without it. Nothing else of the fleet is kept on disk.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use protocol::{AgentName, Labels};
use serde::{Deserialize, Serialize};

use super::agent::{Agent, Facts, Presence};
use super::sights::Sights;
use super::{EXPECT_FOR, Fleet, Moment};
use crate::alive::Former;

const FILE: &str = "agents.json";
/// 20,000 agents with a kilobyte of labels each, and room to spare.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// A name, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnownAgent {
    name: String,
    info: Labels,
    last_seen_ms: i64,
    /// When its tombstone goes; `None`: it was there when this was written.
    forget_at_ms: Option<i64>,
    /// When it could be seen; `None`: an earlier version did not say.
    #[serde(default)]
    sights: Option<Sights>,
}

#[derive(Serialize, Deserialize)]
struct Contents {
    version: u32,
    /// CRC-32 of `agents` as text.
    crc32: u32,
    /// The agents as JSON text, so that the checksum is of bytes and not of a value.
    agents: String,
}

/// The file.
#[derive(Debug, Clone)]
pub struct KnownFile {
    dir: PathBuf,
    writing: Arc<Mutex<()>>,
}

impl KnownFile {
    /// The file in this directory, which is made if it is missing.
    ///
    /// # Errors
    /// When the directory cannot be made or written to.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let probe = dir.join(".probe");
        File::create(&probe).and_then(|_| fs::remove_file(&probe)).map_err(|error| named(&probe, &error))?;
        Ok(Self { dir: dir.to_owned(), writing: Arc::default() })
    }

    /// What was kept. A damaged file is set aside, and named in the log.
    ///
    /// # Errors
    /// When there is a file and it cannot be read or set aside.
    pub fn load(&self) -> io::Result<Vec<KnownAgent>> {
        let path = self.dir.join(FILE);
        let mut text = Vec::new();
        match File::open(&path) {
            Ok(file) => file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(|error| named(&path, &error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(named(&path, &error)),
        };
        match parse(&text) {
            Ok(agents) => Ok(agents),
            Err(why) => {
                let aside = self.dir.join(format!("{FILE}.damaged"));
                fs::rename(&path, &aside).map_err(|error| named(&aside, &error))?;
                tracing::error!(%why, file = %path.display(), aside = %aside.display(), "the list of known agents is damaged and was set aside: tombstones from before this start are lost");
                Ok(Vec::new())
            }
        }
    }

    /// Keeps this list, durably, in place of the one before.
    ///
    /// # Errors
    /// When it cannot be written; the list before is then still there.
    pub fn save(&self, agents: &[KnownAgent]) -> io::Result<()> {
        let agents = serde_json::to_string(agents)?;
        let contents = Contents { version: 1, crc32: crc32fast::hash(agents.as_bytes()), agents };
        // Two processes that share a directory by mistake must not write one file together.
        let temporary = self.dir.join(format!("{FILE}.{}.new", std::process::id()));
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(&contents)?)?;
        file.sync_all()?;
        fs::rename(&temporary, self.dir.join(FILE))?;
        sync_dir(&self.dir)
    }
}

/// The error, with the file that it is about.
fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Makes a rename in this directory last. Windows has no such call for directories.
fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

fn parse(text: &[u8]) -> Result<Vec<KnownAgent>, String> {
    let contents: Contents = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if contents.version != 1 {
        return Err(format!("it is of version {}, this program knows version 1", contents.version));
    }
    if crc32fast::hash(contents.agents.as_bytes()) != contents.crc32 {
        return Err("its checksum does not fit".to_owned());
    }
    serde_json::from_str(&contents.agents).map_err(|error| error.to_string())
}

impl Fleet {
    /// What must survive a restart.
    #[must_use]
    pub fn known(&self, now: Moment) -> Vec<KnownAgent> {
        let know = |agent: &Arc<Agent>| {
            let mut state = agent.lock();
            state.note_sight(now);
            let forget_at_ms = match state.presence {
                Presence::Gone { forget_at } => Some(now.wall_ms + millis(forget_at.duration_since(now.instant))),
                Presence::Expected { .. } => None,
                // The page says already that it is gone, though no tick has noticed.
                _ if !state.is_fresh(now.instant) => Some(now.wall_ms + millis(self.rules.tombstone)),
                _ => None,
            };
            let facts = &state.facts;
            let (name, info) = (agent.name.as_str().to_owned(), Labels::clone(&facts.info));
            let (last_seen_ms, sights) = (facts.last_seen_ms, Some(state.sights.clone()));
            state.has_pushed.then_some(KnownAgent { name, info, last_seen_ms, forget_at_ms, sights })
        };
        self.all().iter().filter_map(know).collect()
    }

    /// Takes in what was kept, before anyone connects. Agents that were there when it was written
    /// are expected back; the others keep their tombstones for what is left of their time. `former`:
    /// when the process before ended; `None`: what could be seen before this one began is not known.
    pub fn recall(&self, known: Vec<KnownAgent>, former: Option<Former>, now: Moment) {
        let unheard = sights_of(None, former, now);
        self.unheard.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&unheard);
        let mut agents = self.agents.write().unwrap_or_else(PoisonError::into_inner);
        for one in known.into_iter().take(self.rules.agents_max) {
            let Ok(name) = AgentName::parse(&one.name) else { continue };
            let presence = match one.forget_at_ms {
                None => Presence::Expected { until: now.instant + EXPECT_FOR },
                Some(at) => {
                    let left = Duration::from_millis(u64::try_from(at - now.wall_ms).unwrap_or(0));
                    // A wall clock that was set back must not keep a tombstone for years.
                    Presence::Gone { forget_at: now.instant + left.min(self.rules.tombstone) }
                }
            };
            let facts = Facts { info: Arc::new(one.info), last_seen_ms: one.last_seen_ms, ..Facts::default() };
            let former = former.filter(|_| one.sights.is_some());
            let agent = Agent::new(name.clone(), presence, facts, sights_of(one.sights, former, now));
            agent.lock().has_pushed = true;
            agents.insert(name, Arc::new(agent));
        }
    }
}

/// When an agent could be seen until this process began.
fn sights_of(kept: Option<Sights>, former: Option<Former>, now: Moment) -> Sights {
    let mut sights = kept.unwrap_or_default();
    match former {
        // Where the wall clock was set back, it ended now.
        Some(Former { ended_ms, listed_ms }) => {
            let ended_ms = ended_ms.min(now.wall_ms);
            sights.end(ended_ms);
            // What changed after the list was written last is not in it.
            sights.add(listed_ms.min(ended_ms), ended_ms);
        }
        None => {
            sights.end(now.wall_ms);
            sights.know_nothing_before(now.wall_ms);
        }
    }
    sights
}

/// What the wall clock says, or said, at this instant.
pub(super) fn after(now: Moment, instant: Instant) -> i64 {
    let ahead = millis(instant.saturating_duration_since(now.instant));
    now.wall_ms.saturating_add(ahead).saturating_sub(millis(now.instant.saturating_duration_since(instant)))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str) -> KnownAgent {
        let info = Labels::of(&[("os", "linux\n\"")]);
        KnownAgent { name: name.into(), info, last_seen_ms: 5, forget_at_ms: Some(7), sights: None }
    }

    #[test]
    fn what_is_saved_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = KnownFile::open(&dir.path().join("made/on/demand")).unwrap();
        assert_eq!(file.load().unwrap(), []);
        file.save(&[agent("a")]).unwrap();
        file.save(&[agent("a"), agent("b")]).unwrap();
        assert_eq!(file.load().unwrap(), [agent("a"), agent("b")]);
    }

    #[test]
    fn any_damage_is_noticed_and_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let file = KnownFile::open(dir.path()).unwrap();
        file.save(&[agent("a"), agent("b")]).unwrap();
        let path = dir.path().join(FILE);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            fs::write(&path, &good[..at]).unwrap();
            assert_eq!(file.load().unwrap(), [], "cut at {at}");
            assert!(!path.exists());
            let mut flipped = good.clone();
            flipped[at] ^= 1;
            fs::write(&path, &flipped).unwrap();
            let loaded = file.load().unwrap();
            // A flipped bit may only pass where it changes nothing, as in the name of a field that
            // is then missing; it must never give other agents.
            assert!(loaded.is_empty() || loaded == [agent("a"), agent("b")], "flipped at {at}: {loaded:?}");
        }
    }
}
