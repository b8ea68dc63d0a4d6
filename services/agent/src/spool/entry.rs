//! What the records say: declarations of sets, and pushes that refer to them by number.
//!
//! The numbers are those of one segment, which therefore needs no other. A push says only what was
//! measured anew since the one before it in its segment; the first one says everything.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::frame::Family;
use protocol::is_absent;
use protocol::limits::NAME_BYTES_MAX;

use super::bytes::{Reader, put_number, put_sample, put_signed, put_text};
use super::record;
use crate::clock::Moment;
use crate::collect::batch::Layout;
use crate::measurement::{Measurement, Outcome};

/// A file that has a number above this is not believed: so adding to what was read is safe.
pub(super) const NUMBER_MAX: u64 = 1 << 63;

const DECLARATION: u8 = b'D';
const PUSH: u8 = b'P';
const VALUES: u8 = b'V';
const FAILED: u8 = b'F';
/// Longest reason for a failed set that is kept, in characters.
const REASON_CHARS_MAX: usize = 300;

/// What is known of a push without reading its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Its number on the late stream.
    pub(super) seq: u64,
    /// How many samples it holds.
    pub(super) samples: u64,
    /// The boot in which it was measured.
    pub(super) boot: u64,
    /// When.
    pub(super) taken: Moment,
}

/// A push as it was kept.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its number on the late stream.
    pub seq: u64,
    /// The segment that it is of: another one has other layouts.
    pub segment: u64,
    /// The boot in which it was measured.
    pub boot: u64,
    /// When it was measured.
    pub taken: Moment,
    /// What was measured.
    pub readings: Vec<Kept>,
}

/// What one set said.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its name.
    pub set: Arc<str>,
    /// What the values are the values of; the same `Arc` in all pushes of a segment.
    pub layout: Arc<Layout>,
    /// The values, or why there are none.
    pub outcome: Result<Vec<f64>, String>,
}

/// Writes measurements into a segment, and knows what the segment knows.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// Declared sets by number, with the reading that was written last.
    declared: Vec<(&'static str, Arc<Layout>, Option<u64>)>,
}

impl Writer {
    /// Appends the records of a measurement; gives how many samples are in it, and how many of the
    /// bytes are declarations.
    pub(super) fn write(&mut self, seq: u64, boot: u64, from: &Measurement, out: &mut Vec<u8>) -> (u64, usize) {
        let before = out.len();
        let mut body = Vec::new();
        let (mut samples, mut count) = (0, 0);
        for reading in &from.readings {
            let number = match &reading.outcome {
                Outcome::Values { layout, .. } if layout.total() > 0 => self.number_of(reading.set, layout, out),
                Outcome::Values { .. } => continue,
                // Of a set that was never measured there is nothing to miss.
                Outcome::Failed(_) => match self.declared.iter().rposition(|(name, ..)| *name == reading.set) {
                    Some(number) => number,
                    None => continue,
                },
            };
            let Some((_, _, sent)) = self.declared.get_mut(number) else { continue };
            match &reading.outcome {
                Outcome::Values { .. } if *sent == Some(reading.version) => continue,
                Outcome::Values { layout, from: at } => {
                    *sent = Some(reading.version);
                    let values = from.values(layout, *at);
                    put_number(number as u64, &mut body);
                    body.push(VALUES);
                    put_number(values.len() as u64, &mut body);
                    values.iter().for_each(|value| put_sample(*value, &mut body));
                    samples += present(values);
                }
                Outcome::Failed(reason) => {
                    *sent = None;
                    put_number(number as u64, &mut body);
                    body.push(FAILED);
                    put_text(&reason.chars().take(REASON_CHARS_MAX).collect::<String>(), &mut body);
                }
            }
            count += 1;
        }
        let declarations = out.len() - before;
        let taken = from.taken.unwrap_or(Moment { wall_ms: 0, mono_ms: 0 });
        let mut push = vec![PUSH];
        put_number(seq, &mut push);
        put_number(samples, &mut push);
        push.extend_from_slice(&boot.to_le_bytes());
        put_number(taken.mono_ms, &mut push);
        put_signed(taken.wall_ms, &mut push);
        put_number(count, &mut push);
        push.append(&mut body);
        record::append(&push, out);
        (samples, declarations)
    }

    /// The number of a set, which is declared if it is not. One that changed gets another number.
    fn number_of(&mut self, set: &'static str, layout: &Arc<Layout>, out: &mut Vec<u8>) -> usize {
        let is_it = |(name, known, _): &(&str, Arc<Layout>, _)| *name == set && Arc::ptr_eq(known, layout);
        if let Some(number) = self.declared.iter().rposition(is_it) {
            return number;
        }
        let number = self.declared.len();
        let mut declaration = vec![DECLARATION];
        put_number(number as u64, &mut declaration);
        put_text(set, &mut declaration);
        serde_json::to_writer(&mut declaration, layout.families()).expect("names and labels can always be written");
        record::append(&declaration, out);
        self.declared.push((set, Arc::clone(layout), None));
        number
    }
}

/// How many of these are there.
pub(crate) fn present(values: &[f64]) -> u64 {
    values.iter().filter(|value| !is_absent(**value)).count() as u64
}

/// The samples of all of a measurement's sets.
pub(super) fn samples_of(measurement: &Measurement) -> u64 {
    let values = measurement.readings.iter().filter_map(|reading| match &reading.outcome {
        Outcome::Values { layout, from } => Some(measurement.values(layout, *from)),
        Outcome::Failed(_) => None,
    });
    values.map(present).sum()
}

/// The head of a push; `None` for any other record, and where its number cannot be true.
pub(super) fn head(record: &[u8]) -> Option<Head> {
    read_head(&mut Reader(record)).filter(|head| head.seq <= NUMBER_MAX)
}

/// Does it claim to be a push?
pub(super) fn is_push(record: &[u8]) -> bool {
    record.first() == Some(&PUSH)
}

fn read_head(reader: &mut Reader<'_>) -> Option<Head> {
    if reader.byte()? != PUSH {
        return None;
    }
    let (seq, samples) = (reader.number()?, reader.number()?);
    let mut boot = [0; 8];
    for byte in &mut boot {
        *byte = reader.byte()?;
    }
    let (mono_ms, wall_ms) = (reader.number()?, reader.signed()?);
    // A sample takes at least a byte.
    let is_absurd = mono_ms > NUMBER_MAX || samples > reader.0.len() as u64;
    if is_absurd {
        return None;
    }
    Some(Head { seq, samples, boot: u64::from_le_bytes(boot), taken: Moment { wall_ms, mono_ms } })
}

/// The sets that a segment has declared so far.
#[derive(Debug, Default)]
pub(super) struct Declared(HashMap<u64, (Arc<str>, Arc<Layout>)>);

impl Declared {
    /// Takes a record: a declaration is remembered, a push is given back, with how many of its
    /// samples cannot be told because their declaration is lost. `None`: no push that can be read.
    pub(super) fn take(&mut self, segment: u64, record: &[u8]) -> Option<(Stored, u64)> {
        if record.first() == Some(&DECLARATION) {
            if let Some((number, set)) = declaration(record) {
                self.0.insert(number, set);
            }
            return None;
        }
        let mut reader = Reader(record);
        let head = read_head(&mut reader)?;
        let mut readings = Vec::new();
        let mut untold = 0;
        for _ in 0..reader.count()? {
            let known = self.0.get(&reader.number()?);
            let outcome = match reader.byte()? {
                VALUES => {
                    let count = reader.count()?;
                    Ok((0..count).map(|_| reader.sample()).collect::<Option<Vec<f64>>>()?)
                }
                FAILED => Err(reader.text()?.to_owned()),
                _ => return None,
            };
            let is_fit = |layout: &Layout| outcome.as_ref().map_or(true, |values| values.len() == layout.total());
            match known.filter(|(_, layout)| is_fit(layout)) {
                Some((set, layout)) => {
                    readings.push(Kept { set: Arc::clone(set), layout: Arc::clone(layout), outcome });
                }
                None => untold += outcome.as_deref().map_or(0, present),
            }
        }
        let Head { seq, boot, taken, .. } = head;
        reader.is_at_end().then_some((Stored { seq, segment, boot, taken, readings }, untold))
    }
}

type Set = (Arc<str>, Arc<Layout>);

fn declaration(record: &[u8]) -> Option<(u64, Set)> {
    let mut reader = Reader(record);
    reader.byte()?;
    let number = reader.number()?;
    let name = reader.text().filter(|name| (1..=NAME_BYTES_MAX).contains(&name.len()))?;
    let families: Vec<Family> = serde_json::from_slice(reader.0).ok()?;
    Some((number, (Arc::from(name), Arc::new(Layout::of(families)?))))
}
