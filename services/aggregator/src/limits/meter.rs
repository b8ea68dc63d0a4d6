//! What is counted of one agent without its lock: its connection counts while pages are made.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::Limit;

/// The counters of one agent. They outlive its connections, as long as its name is remembered.
#[derive(Debug, Default)]
pub struct Meter {
    received: AtomicU64,
    /// Series declared now, and with the last push that was shown.
    declared: AtomicUsize,
    settled: AtomicUsize,
    /// Most series granted to its connection.
    granted: AtomicUsize,
    exceeded: [AtomicU64; Limit::OF_AGENTS],
}

/// A reading of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// Bytes received on its connections.
    pub received: u64,
    /// Series that are declared now.
    pub declared: usize,
    /// Most series that it may declare.
    pub granted: usize,
    /// How often it went over each limit, in the order of [`Limit::ALL`].
    pub exceeded: [u64; Limit::OF_AGENTS],
}

impl Meter {
    /// Bytes came.
    pub fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// So many series are declared now.
    pub fn set_declared(&self, series: usize) {
        self.declared.store(series, Ordering::Relaxed);
    }

    /// So many it may have at most.
    pub fn set_granted(&self, series: usize) {
        self.granted.store(series, Ordering::Relaxed);
    }

    /// A push was shown: what is declared now is what the agent has.
    pub fn settle(&self) {
        self.settled.store(self.declared.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// How many series it had with the last push that was shown; 0: none was.
    #[must_use]
    pub fn settled(&self) -> usize {
        self.settled.load(Ordering::Relaxed)
    }

    /// It went over a limit.
    pub fn exceeded(&self, limit: Limit) {
        if let Some(counter) = self.exceeded.get(limit as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All at this moment.
    #[must_use]
    pub fn read(&self) -> Reading {
        Reading {
            received: self.received.load(Ordering::Relaxed),
            declared: self.declared.load(Ordering::Relaxed),
            granted: self.granted.load(Ordering::Relaxed),
            exceeded: self.exceeded.each_ref().map(|counter| counter.load(Ordering::Relaxed)),
        }
    }
}
