//! Exit codes, the same for every binary.

use std::process::ExitCode;

/// The server answered with an error, or the work failed.
pub const FAILED: u8 = 1;
/// Wrong usage: an unknown option, a missing argument.
pub const USAGE: u8 = 2;
/// The server could not be reached (`EX_UNAVAILABLE` of sysexits.h).
pub const UNREACHABLE: u8 = 69;
/// Wrong settings, or a listener that cannot be bound (`EX_CONFIG` of sysexits.h).
pub const SETTINGS: u8 = 78;

/// Says why on standard error, in one sentence, and gives the code to end with.
#[expect(clippy::print_stderr, reason = "the last word of a process that cannot start, before there is a log")]
pub fn because(code: u8, sentence: impl std::fmt::Display) -> ExitCode {
    eprintln!("error: {sentence}");
    ExitCode::from(code)
}
