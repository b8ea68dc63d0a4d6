//! What the run is doing, for a person who waits. Shown on a terminal only, on standard error.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget};

/// One line that says which step it is.
#[derive(Debug, Clone)]
pub struct Progress {
    line: ProgressBar,
}

impl Progress {
    /// On standard error, if that is a terminal.
    #[must_use]
    pub fn on_stderr() -> Self {
        let line = ProgressBar::new_spinner();
        // This target draws nothing where nobody looks.
        line.set_draw_target(ProgressDrawTarget::stderr());
        line.enable_steady_tick(Duration::from_millis(500));
        Self { line }
    }

    /// Nowhere, for tests.
    #[must_use]
    pub fn hidden() -> Self {
        Self { line: ProgressBar::hidden() }
    }

    /// The next step.
    pub fn step(&self, what: impl Into<String>) {
        self.line.set_message(what.into());
    }

    /// Takes the line away.
    pub fn done(&self) {
        self.line.finish_and_clear();
    }
}
