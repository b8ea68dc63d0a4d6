//! What was put, up to the next `get`: one batch for the history, one reply for each line.

use protocol::lines::{Command, Line, LineSplitter, Lost, OK, WRONG_COMMAND, parse, write_error};
use security::Denied;
use tokio::io::{AsyncRead, AsyncWrite};

use super::guard::{Guard, Shown};
use super::opening::{NOT_HTTP, Opening};
use super::wire::Wire;
use super::{Ended, Lines};
use crate::history::{Batch, PutError, What};
use crate::telemetry::LineError;

/// Why no more lines were taken.
#[derive(Debug)]
pub(super) enum Next {
    /// No whole line is left.
    Nothing,
    /// The first `put` needs a batch; it is in [`Run::first`].
    Batch,
    /// Somebody wants to know this.
    Get(What),
    /// The client speaks HTTP.
    Http,
    /// The client showed a token that is none.
    Stranger(Denied),
}

/// What the reply to a line will be.
#[derive(Debug, Clone, Copy)]
enum Said {
    /// `ok`: the token is good.
    Shown,
    /// `ok`, once the batch is stored.
    Put,
    /// The next of [`Run::refused`].
    Refused,
    /// The line is at fault, or there is no history.
    Error(LineError),
}

/// A line that is no command to be carried out.
#[derive(Debug, Clone, Copy)]
enum Judged {
    /// A token that is good.
    Shown,
    Error(LineError),
    /// A token that is none.
    Stranger(Denied),
}

/// Lines that were taken and are not answered.
#[derive(Debug)]
pub(super) struct Run<'a> {
    lines: &'a Lines,
    opening: &'a mut Opening,
    guard: &'a mut Guard,
    batch: Option<Batch<'a>>,
    /// A point that waits for the batch.
    first: Option<(String, f64, i64)>,
    said: Vec<Said>,
    /// Points that the history would not even take into a batch.
    refused: Vec<PutError>,
}

impl<'a> Run<'a> {
    pub(super) fn new(lines: &'a Lines, opening: &'a mut Opening, guard: &'a mut Guard) -> Self {
        Self { lines, opening, guard, batch: None, first: None, said: Vec::new(), refused: Vec::new() }
    }

    /// Takes lines up to a `get`, and carries out what was put; replies are in line then. What is
    /// asked for is given back.
    pub(super) async fn carry_out<IO>(mut self, wire: &mut Wire<'_, IO>) -> Result<Option<What>, Ended>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        loop {
            let next = self.take_lines(wire.lines());
            let what = match (next, self.lines.history()) {
                (Next::Batch, Some(history)) => {
                    self.batch = Some(history.batch().await);
                    if let Some((key, value, ts)) = self.first.take() {
                        self.put(&key, value, ts);
                    }
                    continue;
                }
                (Next::Get(what), _) => Some(what),
                (Next::Http, _) => return self.end(wire, NOT_HTTP, Ended::Http).await,
                (Next::Stranger(denied), _) => return self.end(wire, &denied.to_string(), Ended::Unauthorized).await,
                (Next::Nothing | Next::Batch, _) => None,
            };
            self.finish(wire).await?;
            return Ok(what);
        }
    }

    /// Answers what was taken, says why there is no more, and ends the connection.
    async fn end<IO>(self, wire: &mut Wire<'_, IO>, why: &str, ended: Ended) -> Result<Option<What>, Ended>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        self.finish(wire).await?;
        let mut reply = Vec::new();
        write_error(&mut reply, why);
        wire.queue(&reply).await?;
        wire.flush().await?;
        Err(ended)
    }

    /// What this line is: a command that may be carried out, nothing, or something else.
    fn command<'l>(&mut self, line: Line<'l>) -> Result<Option<Command<'l>>, Judged> {
        let line = match line {
            Line::Whole(line) => line,
            Line::Lost(Lost::TooLong) => return Err(Judged::Error(LineError::TooLong)),
            Line::Lost(Lost::NoRoom) => return Err(Judged::Error(LineError::NoRoom)),
        };
        let command = parse(line);
        if matches!(command, Ok(None)) {
            return Ok(None);
        }
        let access = self.lines.access();
        match self.guard.look(access, line) {
            Shown::Nothing => {}
            Shown::Good => return Err(Judged::Shown),
            Shown::Unauthorized => return Err(Judged::Error(LineError::Unauthorized)),
            Shown::Bad(denied) => return Err(Judged::Stranger(denied)),
        }
        let command = command.map_err(|_| Judged::Error(LineError::WrongCommand))?;
        if let Some(command) = &command {
            self.guard.may(access, command).map_err(Judged::Error)?;
        }
        Ok(command)
    }

    fn take_lines(&mut self, splitter: &mut LineSplitter) -> Next {
        let telemetry = self.lines.telemetry();
        while let Some(line) = splitter.next_line() {
            if self.opening.is_http(&line) {
                return Next::Http;
            }
            let command = match self.command(line) {
                Ok(Some(command)) => command,
                Ok(None) => continue,
                Err(Judged::Shown) => {
                    self.said.push(Said::Shown);
                    continue;
                }
                Err(Judged::Error(error)) => {
                    self.said.push(Said::Error(error));
                    continue;
                }
                Err(Judged::Stranger(denied)) => return Next::Stranger(denied),
            };
            match command {
                Command::Put { .. } => telemetry.put.inc(),
                Command::Get { .. } => telemetry.get.inc(),
                Command::GetAll => telemetry.get_all.inc(),
            }
            match command {
                _ if self.lines.history().is_none() => self.said.push(Said::Error(LineError::NoHistory)),
                Command::Put { key, value, ts } if self.batch.is_none() => {
                    self.first = Some((key.to_owned(), value, ts));
                    return Next::Batch;
                }
                Command::Put { key, value, ts } => self.put(key, value, ts),
                Command::Get { key } => return Next::Get(What::Key(key.to_owned())),
                Command::GetAll => return Next::Get(What::Puts),
            }
        }
        Next::Nothing
    }

    fn put(&mut self, key: &str, value: f64, ts: i64) {
        let Some(batch) = &mut self.batch else { return };
        match batch.put(key, value, ts) {
            Ok(()) => self.said.push(Said::Put),
            Err(error) => {
                self.refused.push(error);
                self.said.push(Said::Refused);
            }
        }
    }

    /// Stores what was put, and puts the replies in line.
    async fn finish<IO>(self, wire: &mut Wire<'_, IO>) -> Result<(), Ended>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let stored = match (self.batch, self.lines.history()) {
            (Some(batch), Some(history)) => history.commit(batch).await,
            _ => Ok(()),
        };
        // A stranger must not hold its place by not reading either.
        wire.answer_until(self.guard.until());
        let telemetry = self.lines.telemetry();
        let mut refused = self.refused.into_iter();
        let mut reply = Vec::new();
        for said in self.said {
            reply.clear();
            let failed = match said {
                Said::Shown => None,
                Said::Put => stored.as_ref().err().cloned(),
                Said::Refused => refused.next(),
                Said::Error(error) => {
                    telemetry.error(error);
                    write_line_error(&mut reply, error);
                    None
                }
            };
            if let Some(error) = failed {
                telemetry.error(LineError::NotStored);
                write_error(&mut reply, &error.to_string());
            }
            wire.queue(if reply.is_empty() { OK } else { &reply }).await?;
        }
        Ok(())
    }
}

/// What a person is told.
fn write_line_error(reply: &mut Vec<u8>, error: LineError) {
    let text = match error {
        LineError::TooLong => "the line is too long: with its end it may have 65536 bytes",
        LineError::NoRoom => {
            "no room for so long a line now: FLEETGAUGE_RECEIVE_BUFFER of the aggregator is full of lines that \
             are not whole, send it again later"
        }
        LineError::Unauthorized => "unauthorized",
        LineError::Forbidden => "this token is not for that: put needs the scope put, get the scope read",
        LineError::NoHistory => "this aggregator keeps no history: its FLEETGAUGE_DATA_DIR is not set",
        // Those that only the history knows have a text that says more.
        LineError::WrongCommand | LineError::NotStored | LineError::Unreadable | LineError::Busy => {
            reply.extend_from_slice(WRONG_COMMAND);
            return;
        }
    };
    write_error(reply, text);
}
