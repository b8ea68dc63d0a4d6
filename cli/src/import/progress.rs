//! How far an import is, for a person who waits. Shown on a terminal only, on standard error.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar for a file, a counter for a stream whose end nobody knows.
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn of(bytes: Option<u64>) -> Self {
        let (bar, template) = match bytes {
            Some(bytes) => (ProgressBar::new(bytes), "{wide_bar} {percent:>3} %  {msg}  {eta} left"),
            None => (ProgressBar::new_spinner(), "{spinner} {msg}"),
        };
        // This target draws nothing where nobody looks.
        bar.set_draw_target(ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub(super) fn at(&self, offset: u64, points: u64) {
        self.0.set_position(offset);
        self.0.set_message(format!("{points} points"));
    }

    /// Says something on standard error, above the bar.
    #[expect(clippy::print_stderr, reason = "what is wrong with a line is said when it is found")]
    pub(super) fn say(&self, sentence: &str) {
        self.0.suspend(|| eprintln!("{sentence}"));
    }

    /// Takes the bar away.
    pub(super) fn done(&self) {
        self.0.finish_and_clear();
    }
}
