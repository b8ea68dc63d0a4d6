//! `fleetgauge import`: many numbers, as fast as the server syncs them to disk.

mod lines;
mod position;
mod progress;
mod reader;
mod upload;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use client::reply::Violation;
use client::{ClientError, Pipeline, Window};
use lifecycle::exit;
use lines::{Latest, Place};
use position::{Found, Identity, Position, Reached};
use progress::Progress;
use reader::Source;
use upload::{Stopped, Upload};

use crate::output::{self, counted};
use crate::server::{Server, Target};
use crate::span;

/// Store many numbers, from a file or standard input.
///
/// Each line is `key value timestamp`, with the timestamp in Unix seconds, as export writes them, or
/// written 2026-01-31T10:00:00Z. (1h, for an hour ago, would be another second at each run.)
/// Empty lines and those that begin with # are skipped. A line that is wrong, or that the server
/// refuses, is named with its number, and the rest goes on; the exit code is then 1.
///
/// An import that was stopped goes on where it was when the same command is run again. Until it is
/// done, FILE.fleetgauge-import keeps how far it came; when FILE has changed since, it begins anew. It
/// goes on no later than at the first line that the server refused, which it may take now, and counts
/// the wrong lines before that. To store a point twice does no harm.
#[derive(Args)]
#[command(after_help = "Examples:
  fleetgauge import points.txt
  fleetgauge import --server aggregator:8888 --max-errors 0 points.txt
  zcat points.txt.gz | fleetgauge import -

Many lines are on their way at once. FleetGauge answers each; for a server that does not, --window 1
sends one at a time.")]
pub(crate) struct Import {
    /// The file to read; - is standard input, where an import always begins anew.
    file: PathBuf,
    /// Begin anew, wherever an earlier import of this file stopped.
    #[arg(long)]
    restart: bool,
    /// Stop when more lines than this are wrong.
    #[arg(long, value_name = "N", default_value_t = 100)]
    max_errors: u64,
    /// Store timestamps that are more than a day ahead too; most of those are milliseconds.
    #[arg(long)]
    allow_future: bool,
    /// How many lines may be on their way without an answer.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    window: u32,
    #[command(flatten)]
    server: Server,
}

impl Import {
    pub(crate) fn run(&self) -> Result<(), ExitCode> {
        let target = self.server.resolve()?;
        let cannot_read = |error| exit::because(exit::FAILED, format!("cannot read {}: {error}", self.file.display()));
        let source = Source::open(&self.file).map_err(cannot_read)?;
        let size = source.as_regular().and_then(|file| file.metadata().ok());
        let position = size.as_ref().map(|found| Position::new(&self.file, Identity::new(&target.address, found)));
        let progress = Progress::of(size.map(|found| found.len()));
        let latest: Latest = if self.allow_future { || i64::MAX } else { span::latest };
        let from = self.begin(position.as_ref(), &progress);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| exit::because(exit::FAILED, format!("cannot start: {error}")))?;
        let done = runtime.block_on(async {
            let began = Instant::now();
            let window = Window { lines: self.window as usize, ..Window::default() };
            let pipeline = Pipeline::connect(target.server.clone(), target.timeout, window).await;
            let pipeline = pipeline.map_err(|error| target.failed(&error))?;
            let mut upload = Upload::new(self.name(), pipeline, from, self.max_errors, progress).keeping(position);
            let mut batches = source.read(from.place, latest).map_err(cannot_read)?;
            let stopped = tokio::select! {
                done = upload.run(&mut batches) => done.err().map(|stopped| self.explain(stopped, &target, &upload)),
                () = lifecycle::stop::signal() => Some((exit::FAILED, "stopped".to_owned())),
            };
            upload.wind_up().await;
            match stopped {
                None => finished(upload, began.elapsed()),
                Some((code, why)) => Err(self.stopped(upload, code, &why)),
            }
        });
        // A look-up of a name may hang for longer than anybody wants to wait.
        runtime.shutdown_background();
        done
    }

    /// Where to begin.
    fn begin(&self, position: Option<&Position>, progress: &Progress) -> Reached {
        let beginning = Reached { place: Place { offset: 0, lines: 0 }, misread: 0 };
        let Some(position) = position.filter(|_| !self.restart) else { return beginning };
        match position.find() {
            Found::Nothing => beginning,
            Found::Useless(why) => {
                progress.say(&format!("{} is of no use, {why}: beginning anew", position.path().display()));
                beginning
            }
            Found::Reached(reached) => {
                let before = match reached.misread {
                    0 => String::new(),
                    misread => format!(" ({} before it)", counted(misread, "wrong line")),
                };
                progress.say(&format!(
                    "going on at line {} of {}{before}; --restart begins anew",
                    reached.place.lines + 1,
                    self.file.display()
                ));
                reached
            }
        }
    }

    fn name(&self) -> String {
        if self.file == Path::new("-") { "stdin".to_owned() } else { self.file.display().to_string() }
    }

    /// The code to end with and a sentence.
    fn explain(&self, stopped: Stopped, target: &Target, upload: &Upload) -> (u8, String) {
        match stopped {
            Stopped::Server(error) => {
                let (code, mut sentence) = target.explain(&error);
                let may_not_be_ours =
                    matches!(error, ClientError::Timeout(_) | ClientError::Protocol(Violation::Unasked));
                if may_not_be_ours && self.window > 1 {
                    sentence.push_str("; a server other than FleetGauge may need --window 1");
                }
                (code, sentence)
            }
            Stopped::Reading(error) => (exit::FAILED, format!("cannot read {}: {error}", self.file.display())),
            Stopped::TooManyWrong => {
                let wrong = counted(upload.wrong(), "wrong line");
                let sentence = format!("{wrong}, and --max-errors allows {}", self.max_errors);
                (exit::FAILED, sentence)
            }
        }
    }

    /// Says why it stopped, and how to go on.
    fn stopped(&self, mut upload: Upload, code: u8, why: &str) -> ExitCode {
        upload.keep_position();
        let next = upload.place().lines + 1;
        let how = if upload.has_position() {
            format!("the same command goes on at line {next}")
        } else {
            format!("everything before line {next} is dealt with")
        };
        exit::because(code, format!("{why}\n{} stored; {how}", counted(upload.stored(), "point")))
    }
}

/// Says what was done.
fn finished(mut upload: Upload, took: Duration) -> Result<(), ExitCode> {
    upload.forget_position();
    let (stored, wrong) = (upload.stored(), upload.wrong());
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = stored as f64 / took.as_secs_f64().max(0.001);
    let sentence =
        format!("imported {} in {:.1} s ({rate:.0} points/s)\n", counted(stored, "point"), took.as_secs_f64());
    let mut out = output::Output::stdout();
    let said = std::io::Write::write_all(&mut out, sentence.as_bytes());
    output::ended(said.and_then(|()| out.finish()), "standard output")?;
    if wrong > 0 {
        let unnamed = match upload.unnamed() {
            0 => String::new(),
            unnamed => format!(", {unnamed} of them without their numbers; a smaller --window names all"),
        };
        return Err(exit::because(exit::FAILED, format!("{}, not stored{unnamed}", counted(wrong, "wrong line"))));
    }
    Ok(())
}
