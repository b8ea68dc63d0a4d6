//! What a process may use of the system.

/// What is asked for where the hard limit is none: macOS grants this many (its `OPEN_MAX`) to
/// everyone, and refuses to have no limit.
#[cfg(unix)]
const WITHOUT_HARD_LIMIT: u64 = 10_240;

/// Raises the soft limit of open files to the hard one, and gives the limit that now holds
/// (`None`: no limit, or not known on this system). Each connection takes one.
pub fn raise_open_files() -> Option<u64> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let wanted = limit.maximum.unwrap_or(WITHOUT_HARD_LIMIT);
        if limit.current.is_some_and(|current| current < wanted) {
            let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
            if let Err(error) = setrlimit(Resource::Nofile, raised) {
                tracing::warn!(%error, "could not raise the limit of open files");
            }
        }
        getrlimit(Resource::Nofile).current
    }
    #[cfg(not(unix))]
    None
}
