//! What is done all the time, whoever asks: what is over is let go, limits are looked at, and what the
//! next process must know is kept on the disk.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::alive::{self, AliveFile};
use crate::fleet::known::KnownFile;
use crate::limits;
use crate::link::{Shared, moment};
use crate::stop::Stop;

/// Between two writes of the list of known agents.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Between two signs of life for the process after this one.
const ALIVE_EVERY: Duration = Duration::from_millis(alive::EVERY_MS.unsigned_abs());
/// How often series whose time has come are let go, and changes of the list of known agents are
/// looked for. A scrape does not depend on it.
const TICK: Duration = Duration::from_millis(250);

/// Lets go of what is over, and keeps the list of known agents up to date on disk, where it is of
/// the version `saved`.
pub(crate) async fn keep_house(
    kept: Option<(KnownFile, AliveFile)>,
    mut saved: u64,
    shared: Arc<Shared>,
    mut stop: Stop,
) {
    let mut is_failing = false;
    let (mut last_alive, mut listed_ms) = (None::<tokio::time::Instant>, moment().wall_ms);
    let mut last_save = tokio::time::Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.requested() => return,
        }
        shared.fleet.expire(moment());
        limits::tick(&shared, moment());
        if let Some(history) = &shared.history {
            history.keep_house(moment().instant);
        }
        let version = shared.fleet.version();
        let Some((file, alive)) = &kept else { continue };
        if version == saved {
            listed_ms = moment().wall_ms;
        }
        if last_alive.is_none_or(|last| last.elapsed() >= ALIVE_EVERY) {
            last_alive = Some(tokio::time::Instant::now());
            let (file, alive_ms) = (alive.clone(), moment().wall_ms);
            let written = tokio::task::spawn_blocking(move || file.save(alive_ms, listed_ms)).await;
            if !matches!(written, Ok(Ok(()))) {
                shared.telemetry.known_file_errors.inc();
            }
        }
        if version != saved && last_save.elapsed() >= SAVE_EVERY {
            // A disk may be full for days: that is said once, and counted at each try.
            match save(file.clone(), &shared).await {
                Ok(()) => {
                    saved = version;
                    if std::mem::take(&mut is_failing) {
                        tracing::info!("the list of known agents can be written again");
                    }
                }
                Err(error) if !is_failing => {
                    is_failing = true;
                    tracing::error!(%error, "the list of known agents cannot be written, a crash would forget who is gone; it is tried again every second");
                }
                Err(_) => {}
            }
            last_save = tokio::time::Instant::now();
        }
    }
}

/// Writes the list of known agents.
pub(crate) async fn save(file: KnownFile, shared: &Shared) -> io::Result<()> {
    let known = shared.fleet.known(moment());
    let written = tokio::task::spawn_blocking(move || file.save(&known)).await;
    let written = written.unwrap_or_else(|error| Err(io::Error::other(error)));
    if written.is_err() {
        shared.telemetry.known_file_errors.inc();
    }
    written
}
