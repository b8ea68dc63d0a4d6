//! `fleetgauge export`: everything that was put, as `import` reads it.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use client::Row;
use lifecycle::exit;

use crate::output::{self, Output};
use crate::server::Server;
use crate::span::Span;

/// Write out everything that was put, as import reads it.
///
/// One line for each point: `key value timestamp`. What agents record by themselves is not among it. A
/// file is there as a whole or not at all.
#[derive(Args)]
#[command(after_help = "Examples:
  fleetgauge export -o points.txt
  fleetgauge export --from 30d | gzip > points.txt.gz
  fleetgauge export | fleetgauge import --server other:8888 -")]
pub(crate) struct Export {
    /// The file to write; without it, standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    span: Span,
    #[command(flatten)]
    server: Server,
}

impl Export {
    pub(crate) fn run(&self) -> Result<(), ExitCode> {
        let target = self.server.resolve()?;
        self.span.check()?;
        let mut client = target.connect()?;
        let (mut out, name) = self.open()?;
        let mut points = 0_u64;
        let answered = client.get_each("*", |row| {
            if !self.span.has(row.point.timestamp) {
                return ControlFlow::Continue(());
            }
            points += 1;
            match out.write_all(indent(&row)).and_then(|()| writeln!(out, "{}", row.text)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(error),
            }
        });
        match answered {
            Ok(ControlFlow::Continue(())) => output::ended(out.finish(), &name)?,
            Ok(ControlFlow::Break(error)) => return output::ended(Err(error), &name),
            Err(error) => return Err(target.failed(&error)),
        }
        if self.output.is_some() {
            say(points, &name);
        }
        Ok(())
    }

    fn open(&self) -> Result<(Output, String), ExitCode> {
        let Some(path) = &self.output else { return Ok((Output::stdout(), "standard output".to_owned())) };
        let name = path.display().to_string();
        let because = |error| exit::because(exit::FAILED, format!("cannot write {name}: {error}"));
        Ok((Output::file(path).map_err(because)?, name))
    }
}

/// A line that begins with `#` is a comment for `import`; with a space before it, it is none.
fn indent(row: &Row<'_>) -> &'static [u8] {
    if row.key.starts_with('#') { b" " } else { b"" }
}

#[expect(clippy::print_stderr, reason = "a word to whoever waits; standard output belongs to the rows")]
fn say(points: u64, name: &str) {
    eprintln!("wrote {} to {name}", output::counted(points, "point"));
}
