//! A few threads that do work which may hang: a system call on a dead mount never comes back,
//! and nothing can end it. The one who waits waits only until a deadline; a thread that hangs is
//! left to its work, another takes over, and there are never more than a fixed number of them.
//!
//! The one who waits is woken when the last of the work is done, not after each piece: waking
//! costs more than most pieces do.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// When nothing came for this long, and work waits, another thread is started: ordinary work
/// takes microseconds.
const PATIENCE: Duration = Duration::from_millis(50);
/// Collectors and system calls need little; 60 agents in one process should not reserve much.
/// Other systems answer through libraries of their own, which expect more.
const STACK_BYTES: usize = if cfg!(target_os = "linux") { 256 * 1024 } else { 1024 * 1024 };

/// Threads for jobs `J` that give results `R`.
#[derive(Debug)]
pub(super) struct Crew<J, R> {
    shared: Arc<Shared<J, R>>,
    work: fn(J) -> R,
    name: &'static str,
    threads_max: usize,
}

#[derive(Debug)]
struct Shared<J, R> {
    state: Mutex<State<J, R>>,
    /// Wakes a thread of the crew.
    wake: Condvar,
    /// Wakes the one who waits for results.
    done: Condvar,
}

#[derive(Debug)]
struct State<J, R> {
    queue: VecDeque<J>,
    /// At most as many as jobs were submitted and not yet taken home.
    results: VecDeque<R>,
    threads: usize,
    idle: usize,
    closed: bool,
    /// Was the log told that the system gives no thread?
    told: bool,
}

impl<J, R> Shared<J, R> {
    fn state(&self) -> MutexGuard<'_, State<J, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J: Send + 'static, R: Send + 'static> Crew<J, R> {
    /// A crew of at most `threads_max`, none of which is started yet.
    #[must_use]
    pub(super) fn new(name: &'static str, threads_max: usize, work: fn(J) -> R) -> Self {
        let state =
            State { queue: VecDeque::new(), results: VecDeque::new(), threads: 0, idle: 0, closed: false, told: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new(), done: Condvar::new() });
        Self { shared, work, name, threads_max }
    }

    /// Hands over jobs, and wakes one thread for all of them. How many are under way at one time
    /// is the caller's to bound: each gives one result.
    pub(super) fn submit(&self, jobs: impl IntoIterator<Item = J>) {
        let mut state = self.shared.state();
        state.queue.extend(jobs);
        let starved = state.threads == 0;
        drop(state);
        if starved {
            self.reinforce();
        } else {
            self.shared.wake.notify_one();
        }
    }

    /// The next result, unless none comes before the deadline.
    pub(super) fn next_before(&self, deadline: Instant) -> Option<R> {
        loop {
            let start = Instant::now();
            let left = deadline.saturating_duration_since(start);
            let state = self.shared.state();
            let nothing = |state: &mut State<J, R>| state.results.is_empty();
            let waited = self.shared.done.wait_timeout_while(state, left.min(PATIENCE), nothing);
            let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            let result = state.results.pop_front();
            drop(state);
            if result.is_some() {
                // Work that goes on slowly needs another thread too.
                if start.elapsed() >= PATIENCE {
                    self.reinforce();
                }
                return result;
            }
            // Also at the end: one who never waits for long would never get another thread.
            self.reinforce();
            if left <= PATIENCE {
                return None;
            }
        }
    }

    /// A result that is already there.
    pub(super) fn next_ready(&self) -> Option<R> {
        self.shared.state().results.pop_front()
    }

    /// Is any of its threads at work?
    #[cfg(test)]
    pub(super) fn is_busy(&self) -> bool {
        let state = self.shared.state();
        !state.queue.is_empty() || state.idle < state.threads
    }

    /// Does work wait that no thread has begun?
    pub(super) fn is_behind(&self) -> bool {
        !self.shared.state().queue.is_empty()
    }

    /// Starts one more thread if work waits, nobody is free for it and there may be one more.
    fn reinforce(&self) {
        let mut state = self.shared.state();
        if state.queue.is_empty() || state.idle > 0 || state.threads >= self.threads_max {
            return;
        }
        state.threads += 1;
        drop(state);
        let (shared, work) = (Arc::clone(&self.shared), self.work);
        let thread = std::thread::Builder::new().name(self.name.to_owned()).stack_size(STACK_BYTES);
        if let Err(error) = thread.spawn(move || serve(&shared, work)) {
            let mut state = self.shared.state();
            state.threads -= 1;
            if !std::mem::replace(&mut state.told, true) {
                tracing::warn!(%error, threads = state.threads, "cannot start another thread that collects");
            }
        }
    }
}

/// What one thread does: job after job, until the crew is dropped or another thread is free too.
fn serve<J, R>(shared: &Shared<J, R>, work: fn(J) -> R) {
    let mut state = shared.state();
    loop {
        let job = loop {
            if state.closed {
                return;
            }
            if let Some(job) = state.queue.pop_front() {
                break job;
            }
            if state.idle > 0 {
                // It came back from a hang and finds its work taken over.
                state.threads -= 1;
                return;
            }
            state.idle += 1;
            state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        };
        drop(state);
        let result = work(job);
        state = shared.state();
        state.results.push_back(result);
        if state.queue.is_empty() {
            shared.done.notify_one();
        }
    }
}

impl<J, R> Drop for Crew<J, R> {
    /// Free threads end now, one that hangs when it comes back or with the process.
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.wake.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does not come back before the test lets go.
    struct Hang(Option<Arc<Mutex<()>>>, u32);

    fn work(job: Hang) -> u32 {
        if let Some(gate) = job.0 {
            drop(gate.lock());
        }
        job.1
    }

    #[test]
    fn a_job_that_hangs_keeps_no_other_from_its_result() {
        let gate = Arc::new(Mutex::new(()));
        let held = gate.lock().unwrap();
        let crew = Crew::new("test", 2, work);
        crew.submit([Hang(Some(Arc::clone(&gate)), 0)]);
        for number in 1..=5 {
            crew.submit([Hang(None, number)]);
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        let got: Vec<u32> = (1..=5).filter_map(|_| crew.next_before(deadline)).collect();
        assert_eq!(got, [1, 2, 3, 4, 5]);
        assert_eq!(crew.next_before(Instant::now() + Duration::from_millis(1)), None);
        drop(held);
        assert_eq!(crew.next_before(deadline), Some(0), "late, but it came back");
    }

    #[test]
    fn one_who_never_waits_for_long_gets_another_thread_too() {
        let gate = Arc::new(Mutex::new(()));
        let held = gate.lock().unwrap();
        let crew = Crew::new("test", 2, work);
        crew.submit([Hang(Some(Arc::clone(&gate)), 0), Hang(None, 1)]);
        let deadline = Instant::now() + Duration::from_secs(20);
        while crew.next_before(Instant::now() + PATIENCE / 2) != Some(1) {
            assert!(Instant::now() < deadline, "the second job is begun");
        }
        assert!(!crew.is_behind());
        drop(held);
    }

    #[test]
    fn the_number_of_threads_has_a_limit() {
        let gate = Arc::new(Mutex::new(()));
        let held = gate.lock().unwrap();
        let crew = Crew::new("test", 2, work);
        for number in 0..4 {
            crew.submit([Hang(Some(Arc::clone(&gate)), number)]);
        }
        assert_eq!(crew.next_before(Instant::now() + PATIENCE * 4), None);
        assert_eq!(crew.shared.state().threads, 2);
        assert!(crew.is_behind());
        drop(held);
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut got: Vec<u32> = (0..4).filter_map(|_| crew.next_before(deadline)).collect();
        got.sort_unstable();
        assert_eq!(got, [0, 1, 2, 3]);
    }
}
