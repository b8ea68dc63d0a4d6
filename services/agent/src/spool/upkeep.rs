//! What the disk lacks of what is in memory, and what became of it. Pure: `keeper` does it.

use std::collections::VecDeque;
use std::io;

use super::notes::{Identity, Progress};
use super::segment::Segment;
use super::status::Lost;
use super::store::Store;

/// Something to do on the disk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// Write a segment's file anew.
    Write { number: u64, bytes: Vec<u8> },
    /// Append to a segment's file.
    Append { number: u64, bytes: Vec<u8> },
    /// Write down who it is.
    Identity(Identity),
    /// Write down how far all is; before anything is removed.
    Progress(Progress),
    /// Remove a segment's file.
    Remove(u64),
    /// Read a segment's file.
    Load(u64),
}

impl Store {
    /// What the disk lacks. Ask again only when all of it is done.
    pub(super) fn jobs(&mut self) -> Vec<Job> {
        let mut jobs = Vec::new();
        if self.limits.disk.is_none() {
            return jobs;
        }
        for segment in self.segments.iter().filter(|segment| !segment.is_on_disk()) {
            let (number, Some(bytes)) = (segment.number, &segment.bytes) else { continue };
            if segment.has_file() && !segment.is_spoiled {
                jobs.push(Job::Append { number, bytes: bytes.get(segment.synced..).unwrap_or_default().to_vec() });
            } else {
                jobs.push(Job::Write { number, bytes: bytes.clone() });
            }
        }
        if std::mem::take(&mut self.is_identity_new) {
            jobs.extend(self.identity.clone().map(Job::Identity));
        }
        if std::mem::take(&mut self.is_progress_new) {
            jobs.push(Job::Progress(self.progress.clone()));
        }
        jobs.extend(std::mem::take(&mut self.doomed).into_iter().map(Job::Remove));
        jobs
    }

    /// Is anything to be done?
    pub(super) fn is_work(&self) -> bool {
        let is_unwritten = self.segments.iter().any(|segment| !segment.is_on_disk() && segment.bytes.is_some());
        let is_note_new = self.is_progress_new || self.is_identity_new;
        self.limits.disk.is_some() && (is_unwritten || is_note_new || !self.doomed.is_empty())
    }

    /// Is a segment to be read?
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.is_some()
    }

    /// The segment that is to be read, if one is.
    pub(super) fn wanted(&mut self) -> Option<Job> {
        self.wanted.take().map(Job::Load)
    }

    /// Takes what became of a job, and for one that reads, what was read.
    pub(super) fn done(&mut self, job: Job, result: io::Result<Vec<u8>>) {
        let segment =
            |number: u64, all: &mut VecDeque<Segment>| all.iter().position(|segment| segment.number == number);
        match job {
            Job::Write { number, bytes } | Job::Append { number, bytes } => {
                let at = segment(number, &mut self.segments);
                self.is_disk_failing = result.is_err();
                match at.and_then(|at| self.segments.get_mut(at)) {
                    Some(segment) if result.is_ok() => {
                        segment.synced = if segment.is_spoiled { 0 } else { segment.synced } + bytes.len();
                        segment.is_spoiled = false;
                    }
                    Some(segment) => (segment.is_spoiled, segment.synced) = (true, 0),
                    // It was consumed while it was written.
                    None => self.doomed.push(number),
                }
                self.evict();
            }
            Job::Identity(_) => {
                self.is_disk_failing = result.is_err();
                self.is_identity_new |= result.is_err();
            }
            Job::Progress(_) => {
                self.is_disk_failing = result.is_err();
                self.is_progress_new |= result.is_err();
            }
            Job::Remove(number) => {
                if result.is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
                    self.doomed.push(number);
                }
            }
            Job::Load(number) => match (segment(number, &mut self.segments), result) {
                (Some(at), Ok(bytes)) => {
                    if let Some(segment) = self.segments.get_mut(at) {
                        (segment.len, segment.synced) = (bytes.len(), bytes.len());
                        segment.bytes = Some(bytes);
                    }
                }
                (Some(at), Err(_)) => {
                    self.damages += 1;
                    self.drop_at(at, Lost::Damaged);
                }
                (None, _) => {}
            },
        }
    }
}
