//! Stop signals as a future.

use std::future::Future;

use signals::Signals;

/// Completes at the first SIGTERM or SIGINT; on Windows at the first Ctrl-C or Ctrl-Break, or when
/// the console is closed or the system shut down.
///
/// The signals are caught from the moment of this call, not from the first poll on: one that comes
/// in between would end the process without a word, or, as process 1 of a container, be lost.
///
/// # Panics
/// Outside a tokio runtime.
pub fn signal() -> impl Future<Output = ()> + Send + 'static {
    let signals = Signals::catch();
    async move {
        match signals {
            Ok(mut signals) => {
                let signal = signals.first().await;
                tracing::info!(signal, "stopping");
            }
            Err(error) => {
                tracing::error!(%error, "cannot listen for stop signals, only killing ends this process");
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(unix)]
mod signals {
    use std::io;

    use tokio::signal::unix::{Signal, SignalKind, signal};

    pub(super) struct Signals {
        terminate: Signal,
        interrupt: Signal,
    }

    impl Signals {
        pub(super) fn catch() -> io::Result<Self> {
            Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
        }

        /// The name of the first that comes.
        pub(super) async fn first(&mut self) -> &'static str {
            tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
            }
        }
    }
}

#[cfg(windows)]
mod signals {
    use std::io;

    use tokio::signal::windows::{
        CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown,
    };

    pub(super) struct Signals {
        c: CtrlC,
        break_key: CtrlBreak,
        close: CtrlClose,
        shutdown: CtrlShutdown,
    }

    impl Signals {
        pub(super) fn catch() -> io::Result<Self> {
            Ok(Self { c: ctrl_c()?, break_key: ctrl_break()?, close: ctrl_close()?, shutdown: ctrl_shutdown()? })
        }

        /// The name of the first that comes.
        pub(super) async fn first(&mut self) -> &'static str {
            tokio::select! {
                _ = self.c.recv() => "CTRL_C",
                _ = self.break_key.recv() => "CTRL_BREAK",
                _ = self.close.recv() => "CTRL_CLOSE",
                _ = self.shutdown.recv() => "CTRL_SHUTDOWN",
            }
        }
    }
}
