//! Puts: many connections with and without syncs, the disk alone, then one put at a time.

use std::path::Path;

use crate::aggregator::Aggregator;
use crate::args::LinesArgs;
use crate::disk::{Synced, file_system, fresh_folder};
use crate::figures::LINES;
use crate::measure::{self, Flood, blocking};
use crate::points::{Chunk, Chunks, Stream};
use crate::proc::Memory;
use crate::progress::Progress;
use crate::report::Report;
use crate::stats::percentile;
use crate::{Error, Result};

/// Syncs of the plain file: enough to know how fast the disk is.
const APPENDS_MAX: usize = 200;

/// Runs `bench lines`.
///
/// # Errors
/// When a put is not acknowledged.
pub async fn lines(args: &LinesArgs, progress: &Progress) -> Result<Report> {
    let mut report = Report::new(LINES);
    report.set("connections", args.connections);
    report.set("window", args.window);
    report.set("keys", args.keys);
    super::about(&mut report);
    progress.step("building the aggregator");
    let binary = super::binary("aggregator", args.common.aggregator.clone()).await?;
    let folder = fresh_folder(args.common.dir.as_deref())?;
    report.set("file_system", file_system(folder.path())?);

    progress.step("making lines");
    let load = load(args);
    progress.step("putting, synced");
    let synced = Aggregator::start_in(&binary, &folder.path().join("sync"), "sync").await?;
    let flood = flood(&synced, args, &load).await?;
    report.set("puts", flood.puts);
    flood_figures(&flood, "", &mut report);
    report.measured("puts_rss_peak_mib", Memory::of(synced.pid())?.peak_mib);
    synced.stop().await?;
    progress.step("appending to a file");
    if flood.syncs > 0.0 {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let points_per_sync = flood.puts as f64 / flood.syncs;
        report.measured("points_per_sync", points_per_sync);
        report.measured("syncs_per_second", flood.syncs / flood.took.as_secs_f64());
        let alone = appended(folder.path(), &load, points_per_sync).await?;
        report.measured("appender_puts_per_second", alone);
    }

    progress.step("putting, not synced");
    let unsynced = Aggregator::start_in(&binary, &folder.path().join("os"), "os").await?;
    flood_figures(&self::flood(&unsynced, args, &load).await?, "_os", &mut report);
    unsynced.stop().await?;
    drop(load);

    progress.step("one put at a time");
    let single = Aggregator::start_in(&binary, &folder.path().join("single"), "sync").await?;
    single_figures(&single, folder.path(), args.single_puts, &mut report).await?;
    single.stop().await?;
    Ok(report)
}

/// All lines, made before anything is measured: a list of chunks for each connection.
fn load(args: &LinesArgs) -> Vec<Vec<Chunk>> {
    let streams = Stream::shared_out(args.keys as usize, args.connections as usize, args.common.seed);
    // While one half of the window is stored, the other is on its way.
    let lines = u64::from(args.window.div_ceil(2));
    streams.into_iter().map(|stream| Chunks { stream, lines, until: u64::from(args.points) }.collect()).collect()
}

async fn flood(aggregator: &Aggregator, args: &LinesArgs, load: &[Vec<Chunk>]) -> Result<Flood> {
    let sources = load.iter().map(|chunks| chunks.clone().into_iter()).collect();
    let (flood, _) = measure::flood(aggregator, u64::from(args.window), sources).await?;
    Ok(flood)
}

fn flood_figures(flood: &Flood, suffix: &str, report: &mut Report) {
    report.measured(&format!("puts_per_second{suffix}"), flood.per_second());
    report.measured(&format!("put_cpu_us{suffix}"), flood.us_per_put(flood.cpu_ns));
    report.measured(&format!("put_generator_cpu_us{suffix}"), flood.us_per_put(flood.generator_cpu_ns));
}

/// Lines per second that a plain file takes, when about as many share each sync.
async fn appended(folder: &Path, load: &[Vec<Chunk>], points_per_sync: f64) -> Result<f64> {
    let (folder, chunks) = (folder.to_owned(), load.iter().flatten().cloned().collect::<Vec<Chunk>>());
    blocking(move || {
        let mut appender = Synced::create(&folder, "appended")?;
        let (mut lines, mut seconds, mut appends) = (0.0, 0.0, 0);
        let (mut piece, mut piece_lines) = (Vec::new(), 0.0);
        for chunk in chunks {
            piece.extend_from_slice(&chunk.bytes);
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
            let more = chunk.lines as f64;
            piece_lines += more;
            if piece_lines < points_per_sync {
                continue;
            }
            seconds += appender.write(&piece)?.as_secs_f64();
            lines += std::mem::take(&mut piece_lines);
            piece.clear();
            appends += 1;
            if appends == APPENDS_MAX {
                break;
            }
        }
        if appends == 0 {
            seconds = appender.write(&piece)?.as_secs_f64();
            lines = piece_lines;
        }
        Ok(lines / seconds)
    })
    .await
}

async fn single_figures(aggregator: &Aggregator, folder: &Path, puts: u32, report: &mut Report) -> Result<()> {
    let disk = folder.join("disk");
    std::fs::create_dir(&disk).map_err(Error::io(format!("making {}", disk.display())))?;
    let found = measure::alternate(aggregator.line(), &disk, puts).await?;
    report.set("single_puts", puts);
    for percent in [50, 99] {
        let put = percentile(&found.put_ms, percent).unwrap_or(f64::NAN);
        let plain = percentile(&found.fdatasync_ms, percent).unwrap_or(f64::NAN);
        let append = percentile(&found.append_ms, percent).unwrap_or(f64::NAN);
        report.measured(&format!("put_ms_p{percent}"), put);
        report.measured(&format!("fdatasync_ms_p{percent}"), plain);
        report.measured(&format!("fdatasync_append_ms_p{percent}"), append);
        report.measured(&format!("put_over_fdatasync_ms_p{percent}"), put - plain);
    }
    Ok(())
}
