//! A service on a runtime of its own, so that it can be ended like a process: asked to, or at once.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// What any process of ours may take to end after it was asked to.
const STOP_LIMIT: Duration = Duration::from_secs(1);

/// A running service.
#[derive(Debug)]
pub struct Process {
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
    main: Option<JoinHandle<()>>,
}

impl Process {
    /// Runs `service`, which is given its stop signal.
    ///
    /// # Panics
    /// When the system gives no thread.
    #[must_use]
    pub fn start<F>(service: impl FnOnce(StopSignal) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("the system has room for one more thread");
        let (stop, stopped) = oneshot::channel();
        let main = runtime.spawn(service(StopSignal(stopped)));
        Self { runtime: Some(runtime), stop: Some(stop), main: Some(main) }
    }

    /// Asks it to stop, as SIGTERM does, and waits for its end.
    ///
    /// # Panics
    /// When it takes longer than a second, or had panicked.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        if let Some(main) = self.main.take() {
            let ended = tokio::time::timeout(STOP_LIMIT, main).await;
            ended.expect("a service that is asked to stop ends within a second").expect("the service did not panic");
        }
        self.kill().await;
    }

    /// Ends it at once, as SIGKILL does: its tasks are dropped wherever they stand. When this
    /// returns its sockets are closed.
    ///
    /// # Panics
    /// When the system gives no thread.
    pub async fn kill(mut self) {
        if let Some(runtime) = self.runtime.take() {
            let end = move || runtime.shutdown_timeout(STOP_LIMIT);
            tokio::task::spawn_blocking(end).await.expect("the end of a runtime does not panic");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Completes when the process is asked to stop.
#[derive(Debug)]
pub struct StopSignal(oneshot::Receiver<()>);

impl StopSignal {
    /// Waits for it.
    pub async fn wait(self) {
        // The sender is only ever dropped, which is the signal.
        let _dropped = self.0.await;
    }
}
