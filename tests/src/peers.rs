//! Programs that tests need and this project does not build.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The program that the environment variable `variable` points to, or `name` on the `PATH`.
/// `None` means: skip the test. The reason has been printed then.
///
/// # Panics
/// When it is not there although `REQUIRE_PEERS=1` says that no test may be skipped.
#[must_use]
pub fn program(variable: &str, name: &str) -> Option<PathBuf> {
    let found = match environment(variable).filter(|path| !path.is_empty()) {
        Some(path) => Some(PathBuf::from(path)),
        None => on_path(name),
    };
    if found.is_none() {
        skip(&format!("{name} is not on the PATH, and {variable} does not say where it is"));
    }
    found
}

/// A Python that has `module`, by the environment variable `PYTHON` or as `python3` on the `PATH`.
///
/// # Panics
/// As [`program`].
pub async fn python_with(module: &str) -> Option<PathBuf> {
    let python = program("PYTHON", "python3")?;
    let import = run(&python, &["-c", &format!("import {module}")], b"").await;
    if !import.status.success() {
        skip(&format!("{} has no module {module}", python.display()));
        return None;
    }
    Some(python)
}

/// Runs a program to its end with something on its standard input.
///
/// # Panics
/// When it cannot be started.
pub async fn run(program: &Path, arguments: &[&str], input: &[u8]) -> std::process::Output {
    use std::process::Stdio;
    use tokio::io::AsyncWriteExt as _;
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let mut stdin = child.stdin.take().expect("its standard input is a pipe");
    let write = async move {
        // A program that does not read its input to the end says why by its exit code.
        let _unread = stdin.write_all(input).await;
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), write);
    output.expect("a started program ends")
}

#[expect(clippy::disallowed_methods, reason = "settings of the tests, not of the product")]
fn environment(variable: &str) -> Option<OsString> {
    std::env::var_os(variable)
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = environment("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn skip(reason: &str) {
    assert!(environment("REQUIRE_PEERS").is_none_or(|value| value != "1"), "REQUIRE_PEERS=1, but {reason}");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Not eprintln!: what a passing test prints with it is never shown.
    let _nobody_reads = writeln!(std::io::stderr(), "skipped {test}: {reason}");
}
