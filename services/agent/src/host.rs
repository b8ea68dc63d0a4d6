//! What the process knows of the host it runs on: its name and what kind of system it is.

use protocol::Labels;

/// The process's own host name: in a container the container's.
#[must_use]
pub(crate) fn own_name() -> String {
    #[cfg(unix)]
    return rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    sysinfo::System::host_name().unwrap_or_default()
}

/// What the agent is, for `fleetgauge_agent_info`.
#[must_use]
pub(crate) fn info() -> Labels {
    Labels::of(&[
        ("version", env!("CARGO_PKG_VERSION")),
        ("os", std::env::consts::OS),
        ("arch", std::env::consts::ARCH),
        ("kernel", &kernel()),
    ])
}

/// The kernel's release; longer ones than any known are cut.
fn kernel() -> String {
    #[cfg(unix)]
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    let release = sysinfo::System::kernel_version().unwrap_or_default();
    release.chars().take(100).collect()
}
