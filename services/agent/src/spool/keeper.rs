//! The thread that carries to the disk what is put into a spool. It holds the lock only to ask what
//! to do and to tell what became of it, so a disk that hangs holds up nobody else.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::disk::perform;
use super::files::Files;
use super::upkeep::Job;
use super::{Inner, Shared, not_before};

/// Starts it. It ends when the spool is finished, after a last round.
pub(super) fn start(files: Box<dyn Files>, shared: Arc<Shared>) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("spool".to_owned()).stack_size(256 * 1024);
    thread.spawn(move || run(&*files, &shared)).map(drop)
}

/// What to do next.
enum Turn {
    Load(Job),
    Round { jobs: Vec<Job>, is_last: bool },
}

fn run(files: &dyn Files, shared: &Shared) {
    let (mut last_round, mut is_failing) = (None, false);
    loop {
        match wait(shared, last_round, is_failing) {
            Turn::Load(job) => {
                let result = perform(files, &job);
                if let Err(error) = &result {
                    tracing::warn!(%error, "cannot read what waits in the spool, it is lost and counted");
                }
                shared.inner().store.done(job, result);
                shared.changed.notify_one();
            }
            Turn::Round { jobs, is_last } => {
                last_round = Some(Instant::now());
                is_failing = round(files, shared, jobs, is_failing);
                if is_last {
                    shared.ended.notify_one();
                    return;
                }
            }
        }
    }
}

/// Waits until there is something to do.
fn wait(shared: &Shared, last_round: Option<Instant>, is_failing: bool) -> Turn {
    let mut inner = shared.inner();
    loop {
        if let Some(job) = inner.store.wanted() {
            return Turn::Load(job);
        }
        let Inner { store, is_stopped, .. } = &mut *inner;
        let then = not_before(last_round, is_failing);
        let left = then.map_or_else(Default::default, |then| then.saturating_duration_since(Instant::now()));
        if *is_stopped || (store.is_work() && left.is_zero()) {
            return Turn::Round { jobs: store.jobs(), is_last: *is_stopped };
        }
        inner = if store.is_work() {
            shared.work.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0
        } else {
            shared.work.wait(inner).unwrap_or_else(PoisonError::into_inner)
        };
    }
}

/// Does all jobs of a round; says whether the disk fails. Its first failure and its recovery are told.
fn round(files: &dyn Files, shared: &Shared, jobs: Vec<Job>, was_failing: bool) -> bool {
    let mut failure = None;
    for job in jobs {
        let result = perform(files, &job);
        match (&job, &result) {
            // What is consumed may be gone already.
            (Job::Remove(_), Err(error)) if error.kind() == io::ErrorKind::NotFound => {}
            (_, Err(error)) => failure = Some(error.to_string()),
            _ => {}
        }
        shared.inner().store.done(job, result);
    }
    match &failure {
        Some(error) if !was_failing => {
            tracing::warn!(error, "cannot write the spool, what waits is in memory only until that works again");
        }
        None if was_failing => tracing::info!("the spool can be written again"),
        _ => {}
    }
    failure.is_some()
}
