//! The history: fill it, read it raw, put on until a partition is sealed, read it again. Before each
//! reading the aggregator is started anew, so that what it holds is what it needs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::aggregator::Aggregator;
use crate::args::HistoryArgs;
use crate::disk::{bytes_of_files, file_system, fresh_folder, settle};
use crate::figures::HISTORY;
use crate::measure::{self, own_metric, until_quiet};
use crate::points::{Chunks, Look, Series, Stream};
use crate::proc::Memory;
use crate::progress::Progress;
use crate::report::Report;
use crate::stats::percentile;
use crate::{Error, Result};

/// Connections that fill it, and the lines of each that may be unanswered.
const CONNECTIONS: usize = 64;
const WINDOW: u64 = 1000;
/// A partition that is full must be sealed by then.
const SEALED_WITHIN: Duration = Duration::from_secs(600);
const ASK_EVERY: Duration = Duration::from_millis(250);
/// Where in its data directory the aggregator keeps the history, and how sealed files end.
const HISTORY_FOLDER: &str = "history";
const SEALED: &str = ".sealed";

/// Runs `bench history`.
///
/// # Errors
/// When a put is not acknowledged, or what is read is not what was put.
pub async fn history(args: &HistoryArgs, progress: &Progress) -> Result<Report> {
    let mut report = Report::new(HISTORY);
    report.set("keys", args.keys);
    report.set("long_points", args.long_points);
    super::about(&mut report);
    progress.step("building the aggregator");
    let binary = super::binary("aggregator", args.common.aggregator.clone()).await?;
    let folder = fresh_folder(args.common.dir.as_deref())?;
    report.set("file_system", file_system(folder.path())?);

    let aggregator = Aggregator::start_in(&binary, folder.path(), "sync").await?;
    let mut filled = Filled::new(args, binary, folder.path().to_owned());
    progress.step("putting");
    filled.fill(&aggregator, args, &mut report).await?;
    let aggregator = filled.read(aggregator, "raw", args, progress, &mut report).await?;
    if args.seal_points > filled.points {
        progress.step("putting on");
        filled.put_on(&aggregator, args).await?;
        progress.step("waiting for the seal");
        filled.seal(&aggregator, &mut report).await?;
        filled.read(aggregator, "sealed", args, progress, &mut report).await?.stop().await?;
    } else {
        aggregator.stop().await?;
    }
    Ok(report)
}

/// What was put, and where.
struct Filled {
    binary: PathBuf,
    data: PathBuf,
    /// The key with many points, before its first one.
    long: Series,
    many: Vec<Chunks>,
    points: u64,
}

impl Filled {
    fn new(args: &HistoryArgs, binary: PathBuf, data: PathBuf) -> Self {
        let streams = Stream::shared_out(args.keys as usize, CONNECTIONS, args.common.seed);
        let many = streams.into_iter().map(|stream| Chunks { stream, lines: WINDOW / 2, until: args.points.into() });
        let long = Series::called("bench.long".to_owned(), Look::Rate, args.common.seed);
        Self { binary, data, long, many: many.collect(), points: 0 }
    }

    /// Puts the key with many points, then the others.
    async fn fill(&mut self, aggregator: &Aggregator, args: &HistoryArgs, report: &mut Report) -> Result<()> {
        let long = Stream::new(vec![self.long.clone()]);
        let long = Chunks { stream: long, lines: WINDOW / 2, until: args.long_points.into() };
        self.points += measure::flood(aggregator, WINDOW, vec![long]).await?.0.puts;
        let (flood, many) = measure::flood(aggregator, WINDOW, std::mem::take(&mut self.many)).await?;
        self.many = many;
        self.points += flood.puts;
        report.measured("fill_puts_per_second", flood.per_second());
        until_quiet(aggregator.pid()).await?;
        settle(&self.data)?;
        let used = lifecycle::disk::used_bytes(&self.history()).map_err(Error::io("measuring the history"))?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        report.measured("bytes_per_point_raw", used as f64 / self.points as f64);
        Ok(())
    }

    /// Puts until there are points enough that a partition is full.
    async fn put_on(&mut self, aggregator: &Aggregator, args: &HistoryArgs) -> Result<()> {
        let steps = args.seal_points.saturating_sub(self.points).div_ceil(args.keys.into());
        self.many.iter_mut().for_each(|chunks| chunks.until += steps);
        let (flood, many) = measure::flood(aggregator, WINDOW, std::mem::take(&mut self.many)).await?;
        self.many = many;
        self.points += flood.puts;
        Ok(())
    }

    /// Waits until partitions are sealed, and says what sealed points take.
    async fn seal(&self, aggregator: &Aggregator, report: &mut Report) -> Result<()> {
        let until = Instant::now() + SEALED_WITHIN;
        while own_metric(aggregator.target().http, "fleetgauge_history_partitions", "state=\"sealed\"").await? < 1.0 {
            if Instant::now() >= until {
                let what = format!("of {} points none is sealed after {SEALED_WITHIN:?}", self.points);
                return Err(Error::Lines(what));
            }
            sleep(ASK_EVERY).await;
        }
        until_quiet(aggregator.pid()).await?;
        settle(&self.data)?;
        let missing = || Error::Lines("its log says nothing of a sealed partition".to_owned());
        let sealed = aggregator.logged(partition_sealed).ok_or_else(missing)?;
        report.set("sealed_points", sealed.points);
        report.measured("seal_seconds", sealed.took.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let per_point = bytes_of_files(&self.history(), SEALED)? as f64 / sealed.points as f64;
        report.measured("bytes_per_point_sealed", per_point);
        Ok(())
    }

    /// Starts the aggregator anew and reads, all and one key.
    async fn read(
        &self,
        aggregator: Aggregator,
        state: &str,
        args: &HistoryArgs,
        progress: &Progress,
        report: &mut Report,
    ) -> Result<Aggregator> {
        let mut measured = |name: &str, value: f64| report.measured(&format!("{name}_{state}"), value);
        aggregator.stop().await?;
        progress.step("starting anew");
        let began = Instant::now();
        let aggregator = Aggregator::start_in(&self.binary, &self.data, "sync").await?;
        measured("start_ms", began.elapsed().as_secs_f64() * 1e3);
        until_quiet(aggregator.pid()).await?;
        measured("rss_idle_mib", Memory::of(aggregator.pid())?.now_mib);

        progress.step("getting all");
        let all = measure::get_all(&aggregator, self.points).await?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let rows = all.rows as f64;
        measured("get_all_seconds", all.took.as_secs_f64());
        measured("get_all_rows_per_second", rows / all.took.as_secs_f64());
        measured("get_all_rss_growth_mib", all.rss_growth_mib);
        progress.step("getting one key");
        let ms = measure::get_key(&aggregator, &self.long, args.long_points.into(), args.gets).await?;
        measured("get_key_ms_p50", percentile(&ms, 50).unwrap_or(f64::NAN));
        measured("get_key_ms_p99", percentile(&ms, 99).unwrap_or(f64::NAN));
        report.set(&format!("points_{state}"), self.points);
        report.set(&format!("get_all_rows_{state}"), all.rows);
        Ok(aggregator)
    }

    fn history(&self) -> PathBuf {
        Path::new(&self.data).join(HISTORY_FOLDER)
    }
}

/// What the aggregator says of a partition that it sealed.
#[derive(Debug, PartialEq)]
struct Sealed {
    points: u64,
    took: Duration,
}

fn partition_sealed(line: &str) -> Option<Sealed> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    (line.get("message")? == "partition sealed").then_some(())?;
    let took = line.get("took")?.as_str()?;
    let unit = took.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    let number: f64 = took.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        "s" => number,
        "ms" => number / 1e3,
        "µs" => number / 1e6,
        _ => return None,
    };
    Some(Sealed { points: line.get("points")?.as_u64()?, took: Duration::try_from_secs_f64(seconds).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_says_that_a_partition_is_sealed() {
        let line = r#"{"level":"INFO","message":"partition sealed","partition":1,"points":20000123,"took":"14.5s"}"#;
        let sealed = |took: Duration| Some(Sealed { points: 20_000_123, took });
        assert_eq!(partition_sealed(line), sealed(Duration::from_millis(14_500)));
        assert_eq!(partition_sealed(&line.replace("14.5s", "20.5ms")), sealed(Duration::from_micros(20_500)));
        assert_eq!(partition_sealed(&line.replace("sealed", "begun")), None);
        assert_eq!(partition_sealed("not JSON"), None);
    }
}
