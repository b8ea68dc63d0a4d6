//! What the agent says of the host it runs on.

use protocol::Labels;

/// Longest kernel release that is sent; longer ones than any known are cut.
const KERNEL_CHARS_MAX: usize = 100;

/// What the agent is, for `fleetgauge_agent_info`.
#[must_use]
pub(crate) fn info() -> Labels {
    let kernel: String = lifecycle::host::kernel().chars().take(KERNEL_CHARS_MAX).collect();
    Labels::of(&[
        ("version", env!("CARGO_PKG_VERSION")),
        ("os", std::env::consts::OS),
        ("arch", std::env::consts::ARCH),
        ("kernel", &kernel),
    ])
}
