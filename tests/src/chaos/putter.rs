//! A program that puts numbers, each under a second of its own, and remembers which were answered `ok`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::Client;
use tokio::task::JoinHandle;

/// A call takes no longer, however the network is hurt.
const CALL_WITHIN: Duration = Duration::from_secs(3);
/// After a call that failed.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
struct Told {
    /// The highest that was tried.
    tried: i64,
    acknowledged: BTreeSet<i64>,
}

/// The program; it ends with this.
#[derive(Debug)]
pub struct Putter {
    key: String,
    told: Arc<Mutex<Told>>,
    task: JoinHandle<()>,
}

impl Putter {
    /// Puts 1, 2, 3 and so on under this key, each at the second of its own value.
    #[must_use]
    pub fn start(key: &str, line: SocketAddr) -> Self {
        let told = Arc::<Mutex<Told>>::default();
        let task = tokio::spawn(put(key.to_owned(), line, Arc::clone(&told)));
        Self { key: key.to_owned(), told, task }
    }

    /// No more.
    pub fn rest(&self) {
        self.task.abort();
    }

    /// How many were answered `ok`.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).acknowledged.len()
    }

    /// Reads all of it back.
    ///
    /// # Errors
    /// When a point that was acknowledged is not there, or another one than was put.
    pub async fn judge(&self, line: SocketAddr) -> Result<(), String> {
        let key = &self.key;
        let failed = |error: client::ClientError| format!("get {key}: {error}");
        let mut client = Client::connect(&line.to_string(), Duration::from_secs(30)).await.map_err(failed)?;
        let found = client.get(key).await.map_err(failed)?.remove(key).unwrap_or_default();
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let is_true = |point: &client::Point| {
            point.value == point.timestamp as f64 && (1..=told.tried).contains(&point.timestamp)
        };
        if let Some(wrong) = found.iter().find(|point| !is_true(point)) {
            return Err(format!("{key}: {wrong:?} was never put"));
        }
        let stored: BTreeSet<i64> = found.iter().map(|point| point.timestamp).collect();
        let lost: Vec<_> = told.acknowledged.difference(&stored).collect();
        match lost.is_empty() {
            true => Ok(()),
            false => {
                Err(format!("{key}: {} of {} acknowledged are lost: {lost:?}", lost.len(), told.acknowledged.len()))
            }
        }
    }
}

impl Drop for Putter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn put(key: String, line: SocketAddr, told: Arc<Mutex<Told>>) {
    let mut client: Option<Client> = None;
    for number in 1.. {
        if client.is_none() {
            client = Client::connect(&line.to_string(), CALL_WITHIN).await.ok();
        }
        let Some(connected) = client.as_mut() else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        told.lock().unwrap_or_else(PoisonError::into_inner).tried = number;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let value = number as f64;
        match connected.put(&key, value, Some(number)).await {
            Ok(()) => {
                told.lock().unwrap_or_else(PoisonError::into_inner).acknowledged.insert(number);
            }
            // It connects anew at the next call.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
