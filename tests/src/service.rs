//! The aggregator and the agent as what users run: processes of their own, built as they are in the
//! working tree, that can be killed, frozen and started again. Each is killed when its value is
//! dropped, by its own id.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::oneshot;

/// How many of its last log lines are kept for the message of a failed test.
const LOG_LINES: usize = 30;
/// How long a program may take until it says that it is ready. An aggregator reads the journals of
/// its history before.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Where the binaries of the working tree are. The first who asks builds them.
///
/// # Panics
/// When they do not build.
#[must_use]
pub fn binary(package: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build).join(package)
}

/// Builds both as this test was built; gives the folder.
#[expect(clippy::disallowed_methods, reason = "collectors run no programs; tests build what they start")]
fn build() -> PathBuf {
    let mut command = std::process::Command::new(option_env!("CARGO").unwrap_or("cargo"));
    let arguments = ["build", "--package", "agent", "--package", "aggregator", "--bins"];
    command.args(arguments).args(["--message-format", "json-render-diagnostics"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.current_dir(crate::root()).output().expect("cargo can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    // The line of each crate built has its file; only a binary's has an executable.
    let built = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()).find_map(|line| {
        let path = PathBuf::from(line.get("executable")?.as_str()?);
        path.parent().map(Path::to_owned)
    });
    let failed = || panic!("agent and aggregator do not build:\n{}", String::from_utf8_lossy(&output.stderr));
    built.filter(|_| output.status.success()).unwrap_or_else(failed)
}

/// A program that runs until this is dropped.
#[derive(Debug)]
pub struct Service {
    child: Child,
    log: Arc<Mutex<VecDeque<String>>>,
}

impl Service {
    /// Starts a program with these variables and no others, and waits until `is_ready` finds
    /// something in a line of its log.
    ///
    /// # Errors
    /// When it ends before, or is not ready in time; with its last words.
    pub async fn start<T: Send + 'static>(
        program: &Path,
        variables: &[(String, String)],
        is_ready: fn(&str) -> Option<T>,
    ) -> Result<(Self, T), String> {
        let mut command = Command::new(program);
        command.env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        let log = Arc::<Mutex<VecDeque<String>>>::default();
        let (found, ready) = oneshot::channel();
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(read_log(stderr, Arc::clone(&log), found, is_ready));
        }
        let service = Self { child, log };
        match tokio::time::timeout(START_LIMIT, ready).await {
            Ok(Ok(found)) => Ok((service, found)),
            Ok(Err(_)) => Err(format!("{} ended before it was ready:\n{}", program.display(), service.last_words())),
            Err(_) => Err(format!("{} is not ready:\n{}", program.display(), service.last_words())),
        }
    }

    /// Its process id, as long as it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// SIGKILL, and waits for its end.
    ///
    /// # Panics
    /// When the system cannot do that.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a child can be killed");
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Panics
    /// When it does not end by itself, with 0, within five seconds.
    pub async fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = tokio::time::timeout(Duration::from_secs(5), self.child.wait()).await;
        let status = status.expect("a service ends on SIGTERM").expect("a child can be waited for");
        assert!(status.success(), "{status}:\n{}", self.last_words());
    }

    /// SIGSTOP: it is there, and does nothing.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        // A child that was not waited for keeps its id, so a signal cannot reach another process.
        let _it_may_have_ended = pid.map(|pid| kill_process(pid, signal));
    }

    /// Resident memory in KiB; `None` when it is gone.
    #[must_use]
    pub fn resident_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    }

    /// The end of its log.
    #[must_use]
    pub fn last_words(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().map(|line| format!("  {line}\n")).collect()
    }
}

/// Reads to the end, so that the program never waits for somebody to read its log.
async fn read_log<T>(
    stderr: ChildStderr,
    log: Arc<Mutex<VecDeque<String>>>,
    found: oneshot::Sender<T>,
    is_ready: fn(&str) -> Option<T>,
) {
    let mut found = Some(found);
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let ready = is_ready(&line);
        {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.push_back(line);
            if log.len() > LOG_LINES {
                log.pop_front();
            }
        }
        if let Some(ready) = ready
            && let Some(found) = found.take()
        {
            let _nobody_waits = found.send(ready);
        }
    }
}

/// Where an aggregator listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// HTTP.
    pub http: SocketAddr,
    /// The agent link.
    pub link: SocketAddr,
    /// Put and get.
    pub line: SocketAddr,
}

/// Starts an aggregator on free ports of the loopback interface.
///
/// # Errors
/// When it does not start.
pub async fn aggregator(settings: &[(String, String)]) -> Result<(Service, Ports), String> {
    let listeners = ["HTTP", "LINK", "LINE"];
    let own = listeners.map(|name| (format!("FLEETGAUGE_{name}_LISTEN"), "127.0.0.1:0".to_owned()));
    let more = [("FLEETGAUGE_NAME", crate::hub::NAME), ("FLEETGAUGE_LOG_FORMAT", "json")];
    let more = more.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let variables: Vec<_> = own.into_iter().chain(more).chain(settings.iter().cloned()).collect();
    Service::start(&binary("aggregator"), &variables, listening).await
}

fn listening(line: &str) -> Option<Ports> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    (line.get("message")? == "listening").then_some(())?;
    let address = |name| line.get(name)?.as_str()?.parse().ok();
    Some(Ports { http: address("http")?, link: address("link")?, line: address("line")? })
}

/// Starts an agent; it is ready when it says that it starts.
///
/// # Errors
/// When it does not start.
pub async fn agent(settings: &[(String, String)]) -> Result<Service, String> {
    let started = |line: &str| line.contains("agent starts").then_some(());
    Service::start(&binary("agent"), settings, started).await.map(|(service, ())| service)
}
