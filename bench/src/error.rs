//! Why a run failed. A figure is either measured or the run ends with one of these.

use std::io;

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system said no.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// The aggregator refused an agent, or spoke in a way that the link does not allow.
    #[error("agent {agent}: {what}")]
    Link {
        /// The agent.
        agent: String,
        /// What happened.
        what: String,
    },
    /// An answer that is no answer to what was asked.
    #[error("GET {path}: {what}")]
    Http {
        /// What was asked for.
        path: String,
        /// What came.
        what: String,
    },
    /// The page shows what it must not show, or lacks what it must show.
    #[error("the page is wrong: {0}")]
    Page(String),
    /// Put/get answered what it must not, or the history lacks what was acknowledged.
    #[error("put/get: {0}")]
    Lines(String),
    /// A program that did not start, or ended by itself.
    #[error("{program}: {what}")]
    Program {
        /// The program.
        program: String,
        /// What happened, with its last words.
        what: String,
    },
    /// A part of the generator ended in a panic.
    #[error("a part of the generator failed: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// Ctrl-C or SIGTERM.
    #[error("stopped by a signal")]
    Stopped,
}

/// What a step of a run gives.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// For `map_err`: what was being done when the system said no.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
