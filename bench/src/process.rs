//! The only place that starts programs: those that are measured, cargo and git.
//! What is started here ends with its [`Service`], whatever happens to the run.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Error, Result};

/// A program must say that it listens by then. An aggregator reads the journals of its history
/// before.
const READY_WITHIN: Duration = Duration::from_secs(180);
/// A program must end this long after SIGTERM, else it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Last words that are kept of a program's standard error.
const LINES_KEPT: usize = 20;

type Lines = Arc<Mutex<VecDeque<String>>>;

/// A program that runs until this is dropped.
#[derive(Debug)]
pub struct Service {
    program: String,
    child: Child,
    lines: Lines,
}

impl Service {
    /// Starts a program with exactly these arguments and variables, and waits until a line of its
    /// standard error makes `is_ready` answer.
    ///
    /// # Errors
    /// When it cannot be started, ends, or is not ready in time.
    pub fn start<T: Send + 'static>(
        program: &Path,
        arguments: &[String],
        variables: &[(&str, String)],
        is_ready: fn(&str) -> Option<T>,
    ) -> Result<(Self, T)> {
        let mut command = command(program);
        // What is measured does not depend on the variables of whoever measures.
        command.args(arguments).env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let name = program.display().to_string();
        let mut child = command.spawn().map_err(Error::io(format!("starting {name}")))?;
        let stderr = child.stderr.take();
        let service = Self { program: name, child, lines: Lines::default() };
        let (ready, is_up) = sync_channel(1);
        let lines = Arc::clone(&service.lines);
        // Reads to the end, so that the program never waits for someone to read its log.
        std::thread::spawn(move || {
            for line in stderr.into_iter().flat_map(|stderr| BufReader::new(stderr).lines()).map_while(|line| line.ok())
            {
                if let Some(found) = is_ready(&line) {
                    let _only_the_first_is_waited_for = ready.try_send(found);
                }
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.push_back(line);
                if lines.len() > LINES_KEPT {
                    lines.pop_front();
                }
            }
        });
        match is_up.recv_timeout(READY_WITHIN) {
            Ok(found) => Ok((service, found)),
            Err(RecvTimeoutError::Timeout) => Err(service.failed("is not ready")),
            Err(RecvTimeoutError::Disconnected) => Err(service.failed("ended before it was ready")),
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What is found in one of the last lines of its log, the newest first.
    #[must_use]
    pub fn logged<T>(&self, find: fn(&str) -> Option<T>) -> Option<T> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().rev().find_map(|line| find(line))
    }

    /// Ends it and says how long that took.
    ///
    /// # Errors
    /// When it had to be killed, or ended with another code than 0.
    pub fn stop(mut self) -> Result<Duration> {
        let started = Instant::now();
        if !self.terminate() {
            return Err(self.failed("did not end on SIGTERM and was killed"));
        }
        let took = started.elapsed();
        match self.child.wait() {
            Ok(status) if status.success() => Ok(took),
            Ok(status) => Err(self.failed(&format!("ended with {status}"))),
            Err(error) => Err(self.failed(&format!("cannot be waited for: {error}"))),
        }
    }

    /// SIGTERM, then SIGKILL after a while. Did the first suffice?
    fn terminate(&mut self) -> bool {
        let asked = Instant::now();
        // A child that was not waited for keeps its id, so the signal cannot reach another process.
        let _it_may_have_ended = kill_process(Pid::from_child(&self.child), Signal::TERM);
        while asked.elapsed() < STOP_WITHIN {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _it_may_have_ended = self.child.kill();
        let _it_is_dead_now = self.child.wait();
        false
    }

    fn failed(&self, what: &str) -> Error {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let last: Vec<&str> = lines.iter().map(String::as_str).collect();
        Error::Program { program: self.program.clone(), what: format!("{what}; its last words:\n{}", last.join("\n")) }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.terminate();
        }
    }
}

/// Builds the binary of a package, as it is in the working tree, and says where it is.
///
/// # Errors
/// When it does not build.
pub fn build(package: &str, release: bool) -> Result<PathBuf> {
    let mut command = command(Path::new(option_env!("CARGO").unwrap_or("cargo")));
    command.args(["build", "--package", package, "--bin", package, "--message-format", "json-render-diagnostics"]);
    if release {
        command.arg("--release");
    }
    command.current_dir(workspace()).stderr(Stdio::inherit());
    let program = || format!("cargo build --package {package}");
    let output = command.output().map_err(Error::io(format!("starting {}", program())))?;
    let text = String::from_utf8_lossy(&output.stdout);
    // The line of each crate built has its file; only the binary's has an executable.
    let built = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()).find_map(|line| {
        let is_it = line.pointer("/target/name").is_some_and(|name| name == package);
        line.get("executable").filter(|_| is_it)?.as_str().map(PathBuf::from)
    });
    match built {
        Some(path) if output.status.success() => Ok(path),
        _ => Err(Error::Program { program: program(), what: format!("ended with {}", output.status) }),
    }
}

/// The log line in which Prometheus' programs say where they listen:
/// `... msg="Listening on" address=127.0.0.1:1234`.
#[must_use]
pub fn listening_on(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("\"Listening on\" address=")?;
    rest.split_whitespace().next()?.trim_matches('"').parse().ok()
}

/// The commit that the working tree stands on, with `-dirty` when something that is built differs
/// from it; `None` outside a repository.
#[must_use]
pub fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = command(Path::new("git")).args(arguments).current_dir(workspace()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let head = git(&["rev-parse", "--short=12", "HEAD"])?;
    // Texts, and runs that were just kept, are not what is measured.
    let changed = git(&["status", "--porcelain", "--", ".", ":!bench/runs", ":!docs", ":!*.md"])?;
    Some(if changed.is_empty() { head } else { format!("{head}-dirty") })
}

/// What `program --version` says first; `None` when there is no such program.
#[must_use]
pub fn version_of(program: &Path) -> Option<String> {
    let output = command(program).arg("--version").output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().map(str::to_owned)
}

/// Where on the `PATH` a program of this name is. What is measured gets no `PATH` to be found by.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "no setting: where this machine has its programs")]
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The root of the workspace that this was built from.
#[must_use]
pub fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

#[expect(clippy::disallowed_methods, reason = "this is the one place; collectors run no programs, benches must")]
fn command(program: &Path) -> Command {
    Command::new(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<(Service, u16)> {
        let arguments = ["-c".to_owned(), script.to_owned()];
        Service::start(Path::new("/bin/sh"), &arguments, &[("GREETING", "hi".into())], |line| {
            line.strip_prefix("port ")?.parse().ok()
        })
    }

    fn is_alive(pid: u32) -> bool {
        Path::new(&format!("/proc/{pid}")).exists()
    }

    #[test]
    fn a_service_is_ready_and_ends() {
        let (service, port) = shell("echo starting >&2; echo port 7 >&2; exec sleep 600").unwrap();
        assert_eq!(port, 7);
        let pid = service.pid();
        assert!(is_alive(pid));
        drop(service);
        assert!(!is_alive(pid), "ended with its owner");
    }

    #[test]
    fn a_clean_end_is_timed() {
        let (service, _) = shell("trap 'exit 0' TERM; echo port 1 >&2; while :; do sleep 0.01; done").unwrap();
        assert!(service.stop().unwrap() < STOP_WITHIN);
    }

    #[test]
    fn another_exit_code_is_an_error() {
        let (service, _) =
            shell("trap 'echo oh no >&2; exit 3' TERM; echo port 1 >&2; while :; do sleep 0.01; done").unwrap();
        let error = service.stop().unwrap_err().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn last_words_are_told() {
        let error = shell("echo \"$GREETING $HOME, cannot bind\" >&2; exit 78").unwrap_err().to_string();
        assert!(error.contains("ended before it was ready") && error.contains("hi , cannot bind"), "{error}");
    }

    #[test]
    fn the_address_is_found() {
        let line = "ts=1 caller=x level=info msg=\"Listening on\" address=127.0.0.1:46419";
        assert_eq!(listening_on(line), Some("127.0.0.1:46419".parse().unwrap()));
        assert_eq!(listening_on("msg=\"starting pushgateway\""), None);
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let missing = Path::new("/nonexistent/aggregator");
        assert!(Service::start(missing, &[], &[], |_| Some(())).is_err());
        assert_eq!(version_of(missing), None);
        assert_eq!(on_path("no-such-program"), None);
        assert!(on_path("sh").is_some_and(|shell| shell.is_absolute()));
    }
}
