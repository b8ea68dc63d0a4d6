//! A thread that reads and parses ahead, so that neither a slow disk nor a silent standard input
//! keeps answers from being read.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use tokio::sync::mpsc;

use super::lines::{Latest, Line, Lines, Place};

/// Some lines in a row.
pub(super) struct Batch {
    pub(super) lines: Vec<Line>,
    /// Where the first line after them begins.
    pub(super) next: Place,
}

/// How much makes a batch, and how many are read ahead: with the one in hand and the one being
/// read that is 10,000 lines or, with the longest ones, about 3 MB.
const BATCH_LINES: usize = 1000;
const BATCH_BYTES: u64 = 256 * 1024;
const BATCHES: usize = 8;
const BUFFER_BYTES: usize = 64 * 1024;

/// What is read from.
pub(super) enum Source {
    File(File),
    Stdin,
}

impl Source {
    /// A file, or with `-` standard input.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == "-" { Ok(Self::Stdin) } else { File::open(path).map(Self::File) }
    }

    /// An ordinary file, which can be read again from any place.
    pub(super) fn as_regular(&self) -> Option<&File> {
        match self {
            Self::File(file) if file.metadata().is_ok_and(|metadata| metadata.is_file()) => Some(file),
            _ => None,
        }
    }

    /// Starts to read at a place. The thread ends at the end, at an error, and when nobody receives.
    pub(super) fn read(self, from: Place, latest: Latest) -> io::Result<mpsc::Receiver<io::Result<Batch>>> {
        let (batches, receiver) = mpsc::channel(BATCHES);
        let reader: Box<dyn Read + Send> = match self {
            Self::Stdin => Box::new(io::stdin()),
            Self::File(mut file) => {
                if from.offset > 0 {
                    file.seek(SeekFrom::Start(from.offset))?;
                }
                Box::new(file)
            }
        };
        let lines = Lines::new(BufReader::with_capacity(BUFFER_BYTES, reader), from, latest);
        std::thread::Builder::new().name("lines".to_owned()).spawn(move || read_all(lines, &batches))?;
        Ok(receiver)
    }
}

fn read_all<R: Read>(mut lines: Lines<BufReader<R>>, batches: &mpsc::Sender<io::Result<Batch>>) {
    let mut batch = Vec::new();
    let mut begin = lines.place().offset;
    loop {
        let next = lines.next_line();
        let is_end = !matches!(next, Ok(Some(_)));
        match next {
            Ok(Some(line)) => batch.extend(line),
            Ok(None) => {}
            Err(error) => {
                // What was read before it comes first.
                let before = Batch { lines: std::mem::take(&mut batch), next: lines.place() };
                let _nobody_receives = batches.blocking_send(Ok(before));
                let _nobody_receives = batches.blocking_send(Err(error));
                return;
            }
        }
        // With an empty buffer the next line may be long in coming.
        let is_full = batch.len() >= BATCH_LINES || lines.place().offset - begin >= BATCH_BYTES;
        if is_full || is_end || lines.reader().buffer().is_empty() {
            begin = lines.place().offset;
            let full = Batch { lines: std::mem::take(&mut batch), next: lines.place() };
            if batches.blocking_send(Ok(full)).is_err() || is_end {
                return;
            }
        }
    }
}
