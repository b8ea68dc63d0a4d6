//! When a connection is hurt, and how: all of it from one seed, so that what was seen once can be
//! seen again. Positions are counted in bytes, not in time, which differs from run to run.
//!
//! [`Mangler`] is the pure part of a hurt connection: bytes go in, what is to be done comes out, the
//! same however the stream was split. It waits for nothing; [`super::Cable`] does.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// What a duplicate repeats at most. Longer than any number, so that what is repeated always holds a
/// comma or a brace, and no reader can take the result for something that was said.
const REPEAT_BYTES: usize = 512;
/// Connections whose schedule is shown by [`Schedule`]'s `Display`.
const SHOWN_CONNECTIONS: u64 = 3;
const SHOWN_STEPS: usize = 4;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From whoever connected.
    There,
    /// To whoever connected.
    Back,
}

/// What happens to a connection at one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Both ends see a reset.
    Cut,
    /// Nothing passes any more in this direction, and nobody is told: half open.
    Silence,
    /// Nothing passes for a while, then all of it at once.
    Stall(Duration),
    /// The next bytes come a few at a time.
    Drip {
        /// How many come so.
        bytes: usize,
        /// How many at a time.
        step: usize,
    },
    /// A byte becomes one that stands in no text. (A digit for another one would be taken on trust:
    /// a link without TLS has no more than TCP's own checksum.)
    Corrupt,
    /// What came last comes once more.
    Duplicate,
}

impl Fault {
    /// Everything that may happen.
    pub const ALL: [Self; 6] = [
        Self::Cut,
        Self::Silence,
        Self::Stall(Duration::from_millis(700)),
        Self::Drip { bytes: 200, step: 3 },
        Self::Corrupt,
        Self::Duplicate,
    ];
    /// What TCP itself can do to its users: late, torn, or never; but never other bytes.
    pub const OF_TCP: [Self; 4] =
        [Self::Cut, Self::Silence, Self::Stall(Duration::from_millis(700)), Self::Drip { bytes: 200, step: 3 }];
}

/// All faults of all connections of a cable.
#[derive(Debug, Clone)]
pub struct Schedule {
    seed: u64,
    faults: Vec<Fault>,
    /// Bytes between two faults, at least and at most.
    gap: (u64, u64),
}

impl Schedule {
    /// These faults, in an order and at distances that the seed decides, every `gap` bytes on average.
    #[must_use]
    pub fn new(seed: u64, faults: &[Fault], gap: u64) -> Self {
        Self { seed, faults: faults.to_vec(), gap: (gap / 4, gap * 7 / 4) }
    }

    /// Nothing ever happens.
    #[must_use]
    pub fn quiet() -> Self {
        Self { seed: 0, faults: Vec::new(), gap: (0, 0) }
    }

    /// What happens to a connection, by its number.
    #[must_use]
    pub fn of(&self, connection: u64, direction: Direction) -> Steps {
        let way = u64::from(direction == Direction::Back);
        // Spread over all bits: seeds that differ by one are to have nothing in common.
        let number = (connection * 2 + way).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let seed = (self.seed ^ number).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Steps { random: fastrand::Rng::with_seed(seed), faults: self.faults.clone(), gap: self.gap }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.faults.is_empty() {
            return f.write_str("no faults");
        }
        write!(f, "seed {}", self.seed)?;
        for connection in 0..SHOWN_CONNECTIONS {
            for direction in [Direction::There, Direction::Back] {
                write!(f, "\n  connection {connection} {direction:?}:")?;
                for (after, fault) in self.of(connection, direction).take(SHOWN_STEPS) {
                    write!(f, " +{after} {fault:?}")?;
                }
            }
        }
        f.write_str("\n  and so on")
    }
}

/// Distances and faults, for ever; none where no faults are scheduled.
#[derive(Debug, Clone)]
pub struct Steps {
    random: fastrand::Rng,
    faults: Vec<Fault>,
    gap: (u64, u64),
}

impl Iterator for Steps {
    type Item = (u64, Fault);

    fn next(&mut self) -> Option<Self::Item> {
        if self.faults.is_empty() {
            return None;
        }
        let fault = self.faults.get(self.random.usize(..self.faults.len())).copied()?;
        Some((self.random.u64(self.gap.0..=self.gap.1), fault))
    }
}

/// What a cable has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Pass these on.
    Send(Vec<u8>),
    /// Wait.
    Wait(Duration),
    /// Pass on nothing more.
    Silence,
    /// Close both sides.
    Cut,
}

/// One direction of a connection that is hurt.
#[derive(Debug)]
pub struct Mangler {
    steps: Steps,
    /// What happens next, and after how many bytes.
    next: Option<(u64, Fault)>,
    /// The bytes that are still to drip, and how many at a time.
    dripping: (usize, usize),
    /// What came last.
    tail: VecDeque<u8>,
}

impl Mangler {
    /// Follows these steps.
    #[must_use]
    pub fn new(mut steps: Steps) -> Self {
        let next = steps.next();
        Self { steps, next, dripping: (0, 0), tail: VecDeque::new() }
    }

    /// Takes bytes; says what to do. After a cut or silence nothing more is said.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<Deed> {
        if self.next.is_none() {
            return vec![Deed::Send(bytes.to_vec())];
        }
        let mut deeds = Vec::new();
        for &byte in bytes {
            let mut byte = byte;
            while let Some((0, fault)) = self.next {
                self.next = self.steps.next();
                match fault {
                    Fault::Cut => return ended(deeds, Deed::Cut),
                    Fault::Silence => return ended(deeds, Deed::Silence),
                    Fault::Stall(time) => deeds.push(Deed::Wait(time)),
                    Fault::Drip { bytes, step } => self.dripping = (bytes, step.max(1)),
                    Fault::Corrupt => byte |= 0x80,
                    Fault::Duplicate => send(&mut deeds, self.tail.iter().copied()),
                }
            }
            if let Some((left, _)) = &mut self.next {
                *left -= 1;
            }
            self.pass(byte, &mut deeds);
        }
        deeds
    }

    fn pass(&mut self, byte: u8, deeds: &mut Vec<Deed>) {
        let (left, step) = self.dripping;
        if left > 0 {
            self.dripping.0 -= 1;
            if left.is_multiple_of(step) {
                deeds.push(Deed::Wait(Duration::from_millis(1)));
            }
        }
        send(deeds, [byte]);
        self.tail.push_back(byte);
        if self.tail.len() > REPEAT_BYTES {
            self.tail.pop_front();
        }
    }
}

fn ended(mut deeds: Vec<Deed>, how: Deed) -> Vec<Deed> {
    deeds.push(how);
    deeds
}

fn send(deeds: &mut Vec<Deed>, bytes: impl IntoIterator<Item = u8>) {
    match deeds.last_mut() {
        Some(Deed::Send(open)) => open.extend(bytes),
        _ => deeds.push(Deed::Send(bytes.into_iter().collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mangled(schedule: &Schedule, pieces: &[&[u8]]) -> (Vec<u8>, Vec<Deed>) {
        let mut mangler = Mangler::new(schedule.of(3, Direction::There));
        let deeds: Vec<Deed> = pieces.iter().flat_map(|piece| mangler.take(piece)).collect();
        let is_end = |deed: &Deed| matches!(deed, Deed::Cut | Deed::Silence);
        let until = deeds.iter().position(is_end).map_or(deeds.len(), |end| end + 1);
        let (mut sent, mut others) = (Vec::new(), Vec::new());
        for deed in deeds.into_iter().take(until) {
            match deed {
                Deed::Send(bytes) => sent.extend(bytes),
                other => others.push(other),
            }
        }
        (sent, others)
    }

    #[test]
    fn a_seed_gives_the_same_however_the_stream_is_split() {
        let stream: Vec<u8> = (0..20_000_u32).map(|n| b"0123456789,{}\n"[n as usize % 14]).collect();
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let schedule = Schedule::new(seed, &Fault::ALL, 3000);
            kinds.extend(schedule.of(3, Direction::There).take(3).map(|(_, fault)| format!("{fault:?}")));
            let whole = mangled(&schedule, &[&stream]);
            let mut random = fastrand::Rng::with_seed(seed);
            let mut pieces = Vec::new();
            let mut rest = stream.as_slice();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(random.usize(1..=rest.len().min(2000)));
                pieces.push(piece);
                rest = after;
            }
            assert_eq!(mangled(&schedule, &pieces), whole, "{schedule}");
        }
        assert_eq!(kinds.len(), Fault::ALL.len(), "{kinds:?}");
    }

    #[test]
    fn each_fault_does_what_it_says() {
        let one = |fault, stream: &[u8]| mangled(&Schedule { seed: 1, faults: vec![fault], gap: (6, 6) }, &[stream]);
        assert_eq!(one(Fault::Cut, b"0123456789"), (b"012345".to_vec(), vec![Deed::Cut]));
        assert_eq!(one(Fault::Silence, b"0123456789"), (b"012345".to_vec(), vec![Deed::Silence]));
        assert_eq!(one(Fault::Corrupt, b"0123456789").0, b"012345\xb6789");
        assert_eq!(one(Fault::Duplicate, b"01234567").0, b"01234501234567");
        let stall = Duration::from_secs(1);
        assert_eq!(one(Fault::Stall(stall), b"0123456789"), (b"0123456789".to_vec(), vec![Deed::Wait(stall)]));
        let (sent, waits) = one(Fault::Drip { bytes: 4, step: 2 }, b"0123456789");
        assert_eq!((sent.as_slice(), waits.len()), (b"0123456789".as_slice(), 2));
        assert_eq!(mangled(&Schedule::quiet(), &[b"abc"]), (b"abc".to_vec(), vec![]));
    }

    #[test]
    fn connections_directions_and_seeds_have_schedules_of_their_own() {
        let steps = |seed, connection, direction| -> Vec<_> {
            Schedule::new(seed, &Fault::ALL, 100_000).of(connection, direction).take(5).collect()
        };
        let first = steps(1, 0, Direction::There);
        assert_eq!(first, steps(1, 0, Direction::There));
        for other in [steps(2, 0, Direction::There), steps(1, 1, Direction::There), steps(1, 0, Direction::Back)] {
            assert_ne!(first, other);
        }
    }
}
