//! One upload: lines in, answers out, and how far that came.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use client::{ClientError, Pipeline};
use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;

use super::lines::{Line, Place};
use super::position::{Position, Reached};
use super::progress::Progress;
use super::reader::Batch;

/// Why an upload did not come to its end.
pub(super) enum Stopped {
    Server(ClientError),
    Reading(io::Error),
    TooManyWrong,
}

impl From<ClientError> for Stopped {
    fn from(error: ClientError) -> Self {
        Self::Server(error)
    }
}

/// At most so often is the position kept; so much is uploaded again after a kill.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// Who stopped an import does not want to wait. An answer that is missed is asked for again.
const WIND_UP: Duration = Duration::from_millis(500);

pub(super) struct Upload {
    /// What lines are named after.
    name: String,
    pipeline: Pipeline,
    progress: Progress,
    position: Option<Position>,
    wrong_max: u64,
    /// Lines that are no points, those that an earlier import passed among them.
    misread: u64,
    /// Wrong lines that were named.
    named: u64,
    /// How many answers were taken note of.
    settled: u64,
    /// Where each point that waits for that ends.
    unsettled: VecDeque<Reached>,
    /// All lines before it are dealt with: named, skipped or on their way.
    taken: Reached,
    /// All points before it are answered.
    answered: Reached,
    /// All points before it are stored: what was refused may be taken when it is put again, so it
    /// is never behind the first such line.
    stored: Reached,
    /// A point was refused, and `stored` stays where it is.
    is_held: bool,
    kept: Instant,
}

impl Upload {
    pub(super) fn new(name: String, pipeline: Pipeline, from: Reached, wrong_max: u64, progress: Progress) -> Self {
        Self {
            name,
            pipeline,
            progress,
            position: None,
            wrong_max,
            misread: from.misread,
            named: from.misread,
            settled: 0,
            unsettled: VecDeque::new(),
            taken: from,
            answered: from,
            stored: from,
            is_held: false,
            kept: Instant::now(),
        }
    }

    /// Keeps how far it came.
    pub(super) fn keeping(mut self, position: Option<Position>) -> Self {
        self.position = position;
        self
    }

    /// Points that the server has.
    pub(super) fn stored(&self) -> u64 {
        self.pipeline.answered() - self.pipeline.refused()
    }

    /// Lines that are no points, and points that the server refused.
    pub(super) fn wrong(&self) -> u64 {
        self.misread + self.pipeline.refused()
    }

    /// Wrong lines that nobody was told the numbers of.
    pub(super) fn unnamed(&self) -> u64 {
        self.wrong().saturating_sub(self.named)
    }

    /// Where the next import has to begin.
    pub(super) fn place(&self) -> Place {
        self.stored.place
    }

    /// Uploads everything. May be dropped while it waits: nothing is on its way then that is not in
    /// `unsettled`, and nothing is taken that was not put.
    pub(super) async fn run(&mut self, batches: &mut Receiver<io::Result<Batch>>) -> Result<(), Stopped> {
        while let Some(batch) = self.next_batch(batches).await? {
            for line in batch.lines {
                self.take(line).await?;
            }
            self.taken.place = batch.next;
            self.settle()?;
        }
        self.pipeline.finish().await?;
        self.settle()
    }

    /// After an end or a stop: takes note of the answers that still come soon.
    pub(super) async fn wind_up(&mut self) {
        // Why it stopped is known already, and a pipeline that is over says so at once.
        let _known = tokio::time::timeout(WIND_UP, self.pipeline.finish()).await;
        let _known = self.settle();
        self.progress.done();
    }

    /// The next lines; while there are none, what is here is sent and answers are read.
    async fn next_batch(&mut self, batches: &mut Receiver<io::Result<Batch>>) -> Result<Option<Batch>, Stopped> {
        let next = match batches.try_recv() {
            Ok(next) => Some(next),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => {
                self.pipeline.flush().await?;
                loop {
                    tokio::select! {
                        next = batches.recv() => break next,
                        answered = self.pipeline.answer(), if self.pipeline.unanswered() > 0 => answered?,
                    }
                    self.settle()?;
                }
            }
        };
        next.transpose().map_err(Stopped::Reading)
    }

    async fn take(&mut self, line: Line) -> Result<(), Stopped> {
        let place = Place { offset: line.end, lines: line.number };
        match line.point {
            Ok(point) => {
                self.pipeline.put(&point.key, point.value, point.timestamp).await?;
                self.taken.place = place;
                self.unsettled.push_back(self.taken);
            }
            Err(why) => {
                self.misread += 1;
                self.name_line(line.number, &why);
                if self.wrong() > self.wrong_max {
                    // The next import meets this line again, and stops here until it may pass it.
                    return Err(Stopped::TooManyWrong);
                }
                self.taken = Reached { place, misread: self.misread };
            }
        }
        // Refusals are few, and named when they come.
        if self.pipeline.has_refusals() { self.settle() } else { Ok(()) }
    }

    /// Takes note of the answers that came.
    fn settle(&mut self) -> Result<(), Stopped> {
        let refusals = self.pipeline.take_refusals();
        let first_refused = refusals.first().map(|refusal| refusal.number);
        for refusal in refusals {
            let index = refusal.number.checked_sub(self.settled).and_then(|index| usize::try_from(index).ok());
            if let Some(reached) = index.and_then(|index| self.unsettled.get(index)) {
                self.name_line(reached.place.lines, &ClientError::Error(refusal.text).to_string());
            }
        }
        while self.settled < self.pipeline.answered()
            && let Some(reached) = self.unsettled.pop_front()
        {
            self.is_held |= first_refused == Some(self.settled);
            self.reach(reached);
            self.settled += 1;
        }
        if self.unsettled.is_empty() {
            self.reach(self.taken);
        }
        self.progress.at(self.answered.place.offset, self.stored());
        if self.kept.elapsed() >= KEEP_EVERY {
            self.keep_position();
        }
        if self.wrong() > self.wrong_max { Err(Stopped::TooManyWrong) } else { Ok(()) }
    }

    fn reach(&mut self, reached: Reached) {
        self.answered = reached;
        if !self.is_held {
            self.stored = reached;
        }
    }

    /// Says what is wrong with a line, for as many as may be wrong, and the one too many.
    fn name_line(&mut self, number: u64, why: &str) {
        if self.named <= self.wrong_max {
            self.named += 1;
            self.progress.say(&format!("{}:{number}: {why}", self.name));
        }
    }

    /// Writes the position down. An import goes on without it, but not without a word.
    pub(super) fn keep_position(&mut self) {
        self.kept = Instant::now();
        let Some(position) = &self.position else { return };
        if let Err(error) = position.keep(self.stored) {
            self.progress.say(&format!(
                "warning: cannot write {} ({error}): stopped, this import would begin anew",
                position.path().display()
            ));
            self.position = None;
        }
    }

    /// Nothing is left to go on with.
    pub(super) fn forget_position(&mut self) {
        if let Some(position) = self.position.take()
            && let Err(error) = position.forget()
        {
            self.progress.say(&format!("warning: cannot remove {}: {error}", position.path().display()));
        }
    }

    /// Is there a place to go on from?
    pub(super) fn has_position(&self) -> bool {
        self.position.is_some()
    }
}
