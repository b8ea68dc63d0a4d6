//! What the system says of itself, asked for in one place.

/// The process's own host name: in a container the container's. Empty where there is none.
#[must_use]
pub fn name() -> String {
    #[cfg(unix)]
    return rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    sysinfo::System::host_name().unwrap_or_default()
}

/// The kernel's release; of Windows the number of its build.
#[must_use]
pub fn kernel() -> String {
    #[cfg(unix)]
    return rustix::system::uname().release().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    sysinfo::System::kernel_version().unwrap_or_default()
}
