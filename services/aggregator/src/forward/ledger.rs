//! Who holds how much of the room for what waits to be written. One agent holds a share of it at
//! most, so that whoever floods it costs only himself. Names and labels are held as long as anything
//! that waits speaks of them, and count once, however many pushes do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::batch::Moments;
use crate::fleet::declared::Declared;
use crate::fleet::room::{Room, Share};

/// One agent holds no more than this part of the room.
const SHARE: usize = 8;
/// What a push takes besides its values, and each of its sets.
pub(super) const PUSH_BYTES: usize = 512;
pub(super) const SET_BYTES: usize = 128;

/// What a push holds of the room; free again when it is dropped.
#[derive(Debug, Default)]
pub struct Held {
    _push: Option<[Share; 2]>,
    _texts: Vec<Arc<Text>>,
}

/// The names and labels of a set, and their part of the room.
#[derive(Debug)]
struct Text {
    /// While it is kept, its address is nobody else's.
    _declared: Arc<Declared>,
    _shares: [Share; 2],
}

/// Why a push finds no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// Its agent holds all of its share.
    Share,
    /// All agents together hold all of it.
    All,
}

/// The room.
#[derive(Debug)]
pub(super) struct Ledger {
    room: Room,
    agents: Mutex<HashMap<String, Own>>,
}

/// One agent's share.
#[derive(Debug)]
struct Own {
    room: Room,
    /// By address.
    texts: HashMap<usize, Weak<Text>>,
}

impl Ledger {
    pub(super) fn new(bytes: usize) -> Self {
        Self { room: Room::new(bytes), agents: Mutex::default() }
    }

    /// Bytes that are taken.
    pub(super) fn used(&self) -> usize {
        self.room.used()
    }

    /// Takes room for a push. One that is larger than a share takes a whole one, so that it finds
    /// room some time.
    pub(super) fn hold(&self, push: &Moments) -> Result<Held, Full> {
        let share = self.room.max() / SHARE;
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        let own = agents
            .entry(push.agent.as_str().to_owned())
            .or_insert_with(|| Own { room: Room::new(share), texts: HashMap::new() });
        let values: usize = push.sets.iter().map(|set| set.values.len()).sum();
        let bytes = (PUSH_BYTES + push.sets.len() * SET_BYTES + values * size_of::<f64>()).min(share);
        let mut left = share - bytes;
        let push_shares = self.take(&own.room, bytes)?;
        let (mut texts, mut new) = (Vec::new(), Vec::new());
        for set in &push.sets {
            let address = Arc::as_ptr(&set.declared).addr();
            if let Some(text) = own.texts.get(&address).and_then(Weak::upgrade) {
                texts.push(text);
                continue;
            }
            let bytes = set.declared.bytes().min(left);
            left -= bytes;
            let shares = self.take(&own.room, bytes)?;
            let text = Arc::new(Text { _declared: Arc::clone(&set.declared), _shares: shares });
            new.push((address, Arc::downgrade(&text)));
            texts.push(text);
        }
        own.texts.extend(new);
        Ok(Held { _push: Some(push_shares), _texts: texts })
    }

    fn take(&self, own: &Room, bytes: usize) -> Result<[Share; 2], Full> {
        let mut shares = [own.share(), self.room.share()];
        let [of_agent, of_all] = &mut shares;
        if !of_agent.resize(bytes) {
            return Err(Full::Share);
        }
        if of_all.resize(bytes) { Ok(shares) } else { Err(Full::All) }
    }

    /// Forgets agents that hold nothing, and texts that are gone.
    pub(super) fn tidy(&self) {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, own| {
            own.texts.retain(|_, text| text.strong_count() > 0);
            own.room.used() > 0 || !own.texts.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::tests::{declared, push};
    use super::*;

    #[test]
    fn names_and_labels_count_once_for_each_declaration_that_is_held() {
        let ledger = Ledger::new(1 << 20);
        let (one, other) = (declared(100), declared(100));
        let of_push = PUSH_BYTES + SET_BYTES + 800;
        let first = ledger.hold(&push(1, &one, vec![0.0; 100])).unwrap();
        assert_eq!(ledger.used(), of_push + one.bytes());
        let second = ledger.hold(&push(2, &one, vec![0.0; 100])).unwrap();
        assert_eq!(ledger.used(), 2 * of_push + one.bytes());
        let third = ledger.hold(&push(3, &other, vec![0.0; 100])).unwrap();
        assert_eq!(ledger.used(), 3 * of_push + 2 * one.bytes());
        assert!(one.bytes() > 100 * 20, "its text is in it");
        drop((first, third));
        assert_eq!(ledger.used(), of_push + one.bytes());
        drop(second);
        ledger.tidy();
        assert_eq!((ledger.used(), ledger.agents.lock().unwrap().len()), (0, 0));
    }

    #[test]
    fn one_agent_holds_a_share_and_what_is_larger_than_that_fits_alone() {
        let ledger = Ledger::new(80_000);
        let set = declared(1);
        let of = |name: &str, values: usize| {
            let agent = protocol::AgentName::parse(name).unwrap();
            ledger.hold(&Moments { agent, ..push(1, &set, vec![0.0; values]) })
        };
        let large = of("a", 1_000_000).unwrap();
        assert_eq!(ledger.used(), 10_000);
        assert_eq!(of("a", 1).unwrap_err(), Full::Share);
        let others: Vec<_> = "bcdefgh".chars().map(|name| of(&name.to_string(), 5_000).unwrap()).collect();
        assert_eq!(of("i", 1).unwrap_err(), Full::All);
        drop(large);
        assert!(of("i", 1).is_ok());
        assert_eq!(others.len(), 7);
    }
}
