//! A real Prometheus, scraping every second.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::oneshot;

use crate::{http, wait};

/// How many of its last log lines are kept for the message of a failed test.
const LOG_LINES: usize = 50;
/// How long it may take to open its database and listen.
const START_LIMIT: Duration = Duration::from_secs(30);

/// One series of a query's result.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its labels, `__name__` among them.
    pub labels: BTreeMap<String, String>,
    /// Its value now.
    pub value: f64,
}

impl Series {
    /// One label; empty when it is not there.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// A running Prometheus with a database of its own; both go with this value.
#[derive(Debug)]
pub struct Prometheus {
    addr: SocketAddr,
    log: Arc<Mutex<VecDeque<String>>>,
    _child: Child,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts `program` with these `scrape_configs` (YAML, as they stand in a configuration file).
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(program: &Path, scrape_configs: &str) -> Self {
        Self::start_with(program, scrape_configs, "", &[]).await
    }

    /// The same, one that takes remote write too, of samples up to this age (`30m`).
    ///
    /// # Panics
    /// When it does not start.
    pub async fn receiver(program: &Path, scrape_configs: &str, window: &str) -> Self {
        let storage = format!("storage: {{tsdb: {{out_of_order_time_window: {window}}}}}\n");
        Self::start_with(program, scrape_configs, &storage, &["--web.enable-remote-write-receiver"]).await
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    async fn start_with(program: &Path, scrape_configs: &str, more: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for its database");
        let config = folder.path().join("prometheus.yml");
        let global = "global: {scrape_interval: 1s, scrape_timeout: 1s}";
        let text = format!("{global}\n{more}scrape_configs:\n{scrape_configs}");
        std::fs::write(&config, text).expect("its configuration can be written");
        let mut child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let stderr = child.stderr.take().expect("its standard error is a pipe");
        let log = Arc::<Mutex<VecDeque<String>>>::default();
        let (found, addr) = oneshot::channel();
        tokio::spawn(read_log(stderr, Arc::clone(&log), found));
        let addr = match tokio::time::timeout(START_LIMIT, addr).await {
            Ok(Ok(addr)) => addr,
            _ => panic!("Prometheus did not start:\n{}", last_lines(&log)),
        };
        Self { addr, log, _child: child, _folder: folder }
    }

    /// Evaluates an expression now.
    ///
    /// # Errors
    /// When it does not answer, or the expression is wrong.
    pub async fn query(&self, expression: &str) -> io::Result<Vec<Series>> {
        let data = self.raw(expression).await?;
        let result = data.pointer("/result").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
        result.iter().map(|one| series(one).ok_or_else(|| io::Error::other(one.to_string()))).collect()
    }

    /// Evaluates an expression now, and gives what it says as JSON.
    ///
    /// # Errors
    /// When it does not answer, or the expression is wrong.
    pub async fn raw(&self, expression: &str) -> io::Result<serde_json::Value> {
        let expression = utf8_percent_encode(expression, NON_ALPHANUMERIC);
        self.api(&format!("/api/v1/query?query={expression}")).await
    }

    /// Evaluates an expression until its result is as it should be, and gives that.
    ///
    /// # Panics
    /// When it does not get so.
    #[track_caller]
    pub fn query_until(
        &self,
        what: &str,
        expression: &str,
        good: impl Fn(&[Series]) -> bool,
    ) -> impl Future<Output = Vec<Series>> {
        wait::until(what, async move || {
            let result = self.query(expression).await?;
            if good(&result) {
                return Ok(result);
            }
            Err(io::Error::other(format!("{expression} is {result:?}\n{}", last_lines(&self.log))))
        })
    }

    /// What it says about its targets: `activeTargets` of its API.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn targets(&self) -> io::Result<Vec<serde_json::Value>> {
        let data = self.api("/api/v1/targets?state=active").await?;
        Ok(data.pointer("/activeTargets").and_then(serde_json::Value::as_array).cloned().unwrap_or_default())
    }

    async fn api(&self, path: &str) -> io::Result<serde_json::Value> {
        let reply = http::get(self.addr, path, &[]).await?;
        let mut json = reply.json()?;
        if json.pointer("/status").and_then(serde_json::Value::as_str) != Some("success") {
            return Err(io::Error::other(json.to_string()));
        }
        Ok(json.pointer_mut("/data").map(serde_json::Value::take).unwrap_or_default())
    }
}

/// `{"metric": {…}, "value": [time, "1"]}`
fn series(one: &serde_json::Value) -> Option<Series> {
    let metric = one.pointer("/metric")?.as_object()?;
    let labels = metric.iter().map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    let value = one.pointer("/value/1")?.as_str()?.parse().ok()?;
    Some(Series { labels: labels.collect::<Option<_>>()?, value })
}

/// Reads its log to the end, so that it never waits for a full pipe, and finds the port it got in
/// a line like `… msg="Listening on" address=127.0.0.1:41234`.
async fn read_log(stderr: ChildStderr, log: Arc<Mutex<VecDeque<String>>>, found: oneshot::Sender<SocketAddr>) {
    let mut found = Some(found);
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.contains("\"Listening on\"")
            && let Some(addr) = line.split("address=").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok())
            && let Some(found) = found.take()
        {
            let _nobody_waits = found.send(addr);
        }
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push_back(line);
        while log.len() > LOG_LINES {
            log.pop_front();
        }
    }
}

fn last_lines(log: &Mutex<VecDeque<String>>) -> String {
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    log.iter().map(|line| format!("  {line}\n")).collect()
}
