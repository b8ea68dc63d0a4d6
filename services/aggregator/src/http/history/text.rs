//! Points and keys as JSON, piece by piece. Between two pieces the points of a piece are held, and the
//! list of keys that are still to come: 8 bytes for each key of that prefix, so `FLEETGAUGE_MAX_KEYS`
//! bounds it (8 MB for a million).

use std::sync::Arc;
use std::time::{Duration, Instant};
use std::vec::IntoIter;

use super::Pieces;
use super::query::{Asked, Which};
use crate::history::{History, Key, Point, ReadError, Rows, Space, What};
use crate::page::encode::write_value;

/// Text of a piece, about.
const PIECE_BYTES: usize = 64 * 1024;
/// How long is searched for points to fill a piece. Many keys may have none in the range.
const PIECE_WITHIN: Duration = Duration::from_millis(50);

/// Whose points are still to be read.
#[derive(Debug)]
enum Keys {
    One(Option<String>),
    /// They are looked up where that may take time.
    Prefix(String),
    Listed(IntoIter<Arc<Key>>),
}

impl Keys {
    fn next(&mut self, history: &History) -> Option<String> {
        if let Self::Prefix(prefix) = self {
            *self = Self::Listed(history.keys(prefix).into_iter());
        }
        match self {
            Self::One(key) => key.take(),
            Self::Prefix(_) => None,
            Self::Listed(keys) => Some(keys.next()?.text.to_string()),
        }
    }
}

/// `{"series":[{"key":"huginn.cpu","points":[[1642667947,10.6]]}]}`. A key without points in the
/// range is left out.
#[derive(Debug)]
pub(super) struct SeriesText {
    history: Arc<History>,
    asked: Asked,
    keys: Keys,
    reading: Option<(String, Rows)>,
    points: Vec<Point>,
    has_begun: bool,
    /// Series so far.
    series: u64,
    /// Points so far of the series that is being written; 0: it has not begun.
    written: u64,
}

impl SeriesText {
    pub(super) fn new(history: Arc<History>, asked: Asked) -> Self {
        let keys = match &asked.which {
            Which::Key(key) => Keys::One(Some(key.clone())),
            Which::Prefix(prefix) => Keys::Prefix(prefix.clone()),
        };
        let (points, reading) = (Vec::new(), None);
        Self { history, asked, keys, reading, points, has_begun: false, series: 0, written: 0 }
    }

    fn write_points(&mut self, key: &str, out: &mut Vec<u8>) {
        for Point { ts, value } in &self.points {
            if self.written == 0 {
                out.extend_from_slice(if self.series == 0 { b"{\"key\":" } else { b",\n{\"key\":" });
                write_text(key, out);
                out.extend_from_slice(b",\"points\":[");
                self.series += 1;
            } else {
                out.push(b',');
            }
            self.written += 1;
            out.push(b'[');
            out.extend_from_slice(itoa::Buffer::new().format(*ts).as_bytes());
            out.push(b',');
            write_number(*value, out);
            out.push(b']');
        }
    }
}

impl Pieces for SeriesText {
    fn next_piece(&mut self, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        let began = Instant::now();
        if !std::mem::replace(&mut self.has_begun, true) {
            out.extend_from_slice(b"{\"series\":[");
        }
        while out.len() < PIECE_BYTES && began.elapsed() < PIECE_WITHIN {
            let (key, mut rows) = match self.reading.take() {
                Some(reading) => reading,
                None => match self.keys.next(&self.history) {
                    Some(key) => {
                        let rows = self.history.rows(What::Key(key.clone()), self.asked.range.clone());
                        (key, rows)
                    }
                    None => {
                        out.extend_from_slice(b"]}\n");
                        return Ok(false);
                    }
                },
            };
            if rows.next_piece(&mut self.points)?.is_some() {
                self.write_points(&key, out);
                self.reading = Some((key, rows));
            } else if std::mem::take(&mut self.written) > 0 {
                out.extend_from_slice(b"]}");
            }
        }
        Ok(true)
    }
}

/// `{"keys":[{"key":"huginn.cpu","source":"vital"}]}`.
#[derive(Debug)]
pub(super) struct KeysText {
    history: Arc<History>,
    prefix: String,
    /// `None`: they are not listed yet, which may take time.
    keys: Option<IntoIter<Arc<Key>>>,
}

impl KeysText {
    pub(super) fn new(history: Arc<History>, prefix: String) -> Self {
        Self { history, prefix, keys: None }
    }
}

impl Pieces for KeysText {
    fn next_piece(&mut self, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        let mut is_first = self.keys.is_none();
        if is_first {
            out.extend_from_slice(b"{\"keys\":[");
        }
        let keys = self.keys.get_or_insert_with(|| self.history.keys(&self.prefix).into_iter());
        for key in keys {
            if !std::mem::take(&mut is_first) {
                out.extend_from_slice(b",\n");
            }
            out.extend_from_slice(b"{\"key\":");
            write_text(&key.text, out);
            out.extend_from_slice(match key.space {
                Space::Put => br#","source":"put"}"#,
                Space::Vital => br#","source":"vital"}"#,
            });
            if out.len() >= PIECE_BYTES {
                return Ok(true);
            }
        }
        out.extend_from_slice(b"]}\n");
        Ok(false)
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("text becomes JSON, and memory takes it");
}

/// JSON has no NaN and no infinities: they are strings, as on the link.
fn write_number(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        write_value(value, out);
    } else {
        out.push(b'"');
        write_value(value, out);
        out.push(b'"');
    }
}
