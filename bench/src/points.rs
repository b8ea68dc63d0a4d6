//! What is put: series of points 10 s apart, as programs and hosts put them. The same seed gives the
//! same points.
//!
//! How little room points take depends on nothing as much as on how they look, so four looks are
//! mixed in equal parts, from easy to hard: none is constant, none is noise alone.

use std::io::Write as _;

use bytes::Bytes;

/// Seconds between two points of a key.
pub const STEP_SECONDS: u64 = 10;
/// The first point's second. Any will do: points are kept from when they were put.
const FIRST_SECOND: u64 = 1_700_000_000;
/// Room for a line: a key, a number of up to 20 digits, a second.
const LINE_BYTES: usize = 64;

/// How the values of a key look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// A percentage with one decimal that wanders by up to 2 between two points.
    Percent,
    /// A whole number, of connections say, that stays half of the time and else moves by up to 3.
    Count,
    /// Bytes since a start: they grow by a rate of the key's own, give or take 30 %, and one time in
    /// ten not at all.
    Bytes,
    /// Something per second with three decimals: noise of 20 % around a level of the key's own.
    Rate,
}

/// One key and its next value.
#[derive(Debug, Clone)]
pub struct Series {
    /// The key.
    pub key: String,
    look: Look,
    /// The value without its decimal point.
    value: i64,
    /// What [`Look::Bytes`] grows by, and what [`Look::Rate`] is around.
    level: i64,
    random: fastrand::Rng,
}

impl Series {
    /// The series of this number: its key, its look and where it begins.
    #[must_use]
    pub fn new(number: usize, seed: u64) -> Self {
        let host = number / 4;
        let (name, look) = match number % 4 {
            0 => ("cpu", Look::Percent),
            1 => ("connections", Look::Count),
            2 => ("sent_bytes", Look::Bytes),
            _ => ("requests", Look::Rate),
        };
        Self::called(format!("web-{host:05}.{name}"), look, seed.wrapping_add(number as u64))
    }

    /// A series with this key.
    #[must_use]
    pub fn called(key: String, look: Look, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let (value, level) = match look {
            Look::Percent => (random.i64(50..=900), 0),
            Look::Count => (random.i64(50..=500), 0),
            Look::Bytes => (random.i64(0..=1 << 36), random.i64(10_000..=10_000_000)),
            // From a few to a thousand, with three decimals.
            Look::Rate => (0, random.i64(3_000..=1_000_000)),
        };
        Self { key, look, value, level, random }
    }

    /// Appends the next value as text.
    pub fn write_value(&mut self, out: &mut Vec<u8>) {
        let random = &mut self.random;
        self.value = match self.look {
            Look::Percent => (self.value + random.i64(-20..=20)).clamp(0, 1000),
            Look::Count if random.bool() => self.value,
            Look::Count => (self.value + random.i64(-3..=3)).max(0),
            Look::Bytes if random.u8(0..10) == 0 => self.value,
            Look::Bytes => self.value + random.i64(self.level * 7 / 10..=self.level * 13 / 10),
            Look::Rate => self.level + random.i64(-self.level / 5..=self.level / 5),
        };
        let value = self.value;
        let _a_vector_takes_all = match self.look {
            Look::Percent => write!(out, "{}.{}", value / 10, value % 10),
            Look::Count | Look::Bytes => write!(out, "{value}"),
            Look::Rate => write!(out, "{}.{:03}", value / 1000, value % 1000),
        };
    }
}

/// The second of the point of this number.
#[must_use]
pub fn second(step: u64) -> u64 {
    FIRST_SECOND + step * STEP_SECONDS
}

/// Lines that are sent together.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The lines, each with its end.
    pub bytes: Bytes,
    /// How many there are.
    pub lines: u64,
}

/// The keys of one connection: a point of each, then the next of each, as they would come from
/// hosts.
#[derive(Debug, Clone)]
pub struct Stream {
    series: Vec<Series>,
    step: u64,
    at: usize,
}

impl Stream {
    /// Of these series, each from its first point on.
    #[must_use]
    pub fn new(series: Vec<Series>) -> Self {
        Self { series, step: 0, at: 0 }
    }

    /// `keys` keys shared out among `connections` connections.
    #[must_use]
    pub fn shared_out(keys: usize, connections: usize, seed: u64) -> Vec<Self> {
        let of = |connection| (connection..keys).step_by(connections).map(|number| Series::new(number, seed)).collect();
        (0..connections).map(|connection| Self::new(of(connection))).collect()
    }

    /// The next lines, `lines` of them at most, before the point of number `until`.
    pub fn chunk(&mut self, lines: u64, until: u64) -> Option<Chunk> {
        let mut bytes = Vec::with_capacity(usize::try_from(lines).unwrap_or(0) * LINE_BYTES);
        let mut made = 0;
        while made < lines && self.step < until && !self.series.is_empty() {
            if let Some(series) = self.series.get_mut(self.at) {
                bytes.extend_from_slice(b"put ");
                bytes.extend_from_slice(series.key.as_bytes());
                bytes.push(b' ');
                series.write_value(&mut bytes);
                let _a_vector_takes_all = writeln!(bytes, " {}", second(self.step));
                made += 1;
            }
            self.at += 1;
            if self.at >= self.series.len() {
                (self.at, self.step) = (0, self.step + 1);
            }
        }
        (made > 0).then(|| Chunk { bytes: Bytes::from(bytes), lines: made })
    }
}

/// The lines of a stream before the point of number `until`, in chunks of `lines`.
#[derive(Debug, Clone)]
pub struct Chunks {
    /// Whose lines.
    pub stream: Stream,
    /// Most lines of a chunk.
    pub lines: u64,
    /// The first point that is left out.
    pub until: u64,
}

impl Iterator for Chunks {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        self.stream.chunk(self.lines, self.until)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn text(streams: &mut [Stream], lines: u64, until: u64) -> String {
        let mut text = String::new();
        for stream in streams {
            while let Some(chunk) = stream.chunk(lines, until) {
                let new = std::str::from_utf8(&chunk.bytes).unwrap();
                assert_eq!(new.lines().count() as u64, chunk.lines);
                assert!(chunk.lines <= lines && new.ends_with('\n'));
                text.push_str(new);
            }
        }
        text
    }

    #[test]
    fn every_key_has_a_point_at_every_step() {
        let all = text(&mut Stream::shared_out(10, 3, 1), 7, 5);
        let mut seen = HashSet::new();
        for line in all.lines() {
            let parts: Vec<&str> = line.split(' ').collect();
            let [put, key, value, second] = parts[..] else { panic!("{line}") };
            assert_eq!(put, "put");
            assert!(value.parse::<f64>().unwrap() >= 0.0);
            assert!(seen.insert((key.to_owned(), second.parse::<u64>().unwrap())), "no point twice");
        }
        assert_eq!(seen.len(), 50);
        for number in 0..10 {
            let key = Series::new(number, 1).key;
            assert!((0..5).all(|step| seen.contains(&(key.clone(), second(step)))), "{key}");
        }
    }

    #[test]
    fn it_goes_on_where_it_ended() {
        let whole = text(&mut Stream::shared_out(4, 1, 9), 100, 6);
        let mut streams = Stream::shared_out(4, 1, 9);
        let parts = text(&mut streams, 3, 2) + &text(&mut streams, 100, 6);
        assert_eq!(parts, whole);
        assert!(text(&mut Stream::shared_out(1, 2, 9), 3, 2).lines().count() == 2, "a connection may have no key");
    }

    #[test]
    fn the_looks_are_what_they_say() {
        let values = |look| {
            let mut series = Series::called("k".into(), look, 4);
            let mut text = Vec::new();
            (0..1000).for_each(|_| {
                series.write_value(&mut text);
                text.push(b' ');
            });
            let text = String::from_utf8(text).unwrap();
            text.split_whitespace().map(|value| value.parse::<f64>().unwrap()).collect::<Vec<f64>>()
        };
        assert!(values(Look::Percent).iter().all(|value| (0.0..=100.0).contains(value)));
        let bytes = values(Look::Bytes);
        assert!(bytes.is_sorted() && bytes[0] < bytes[999]);
        let stays = |values: &[f64]| values.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!((400..750).contains(&stays(&values(Look::Count))) && (50..200).contains(&stays(&bytes)));
        assert!(stays(&values(Look::Rate)) < 20 && values(Look::Rate).iter().any(|value| value.fract() != 0.0));
    }
}
