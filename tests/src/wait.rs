//! Waiting for something to be seen. The only sleep in the tests is the pause between two looks.

use std::time::{Duration, Instant};

/// How long anything may take to be seen, unless a test says otherwise. Generous: on a busy
/// machine a slow test is better than a false alarm; what must be fast is measured by its test.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until there is something to see, and gives it; `look` says why not yet.
///
/// # Panics
/// When nothing was seen for [`PATIENCE`], with the last reason and the line of the test.
#[track_caller]
pub fn until<T, E: std::fmt::Display>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let since = Instant::now();
        loop {
            match look().await {
                Ok(seen) => return seen,
                Err(reason) if since.elapsed() > PATIENCE => {
                    panic!("{caller}: waited {PATIENCE:?} in vain until {what}; last seen: {reason}")
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}
