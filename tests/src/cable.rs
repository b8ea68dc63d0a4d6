//! A network between an agent and its aggregator that can be cut, or go silent.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, tcp};
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    /// Connections are closed, new ones at once.
    Cut,
    /// Connections stay, nothing passes.
    Silent,
}

/// Forwards connections to an address, as long as it is whole.
#[derive(Debug)]
pub struct Cable {
    addr: SocketAddr,
    state: watch::Sender<State>,
    accept: JoinHandle<()>,
}

impl Cable {
    /// Lays a cable to `target`.
    ///
    /// # Panics
    /// When the system has no free port.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("a bound listener has an address");
        let (state, watched) = watch::channel(State::Whole);
        let accept = tokio::spawn(async move {
            // An error of accept ends the cable; the test then sees a cut.
            while let Ok((near, _)) = listener.accept().await {
                if *watched.borrow() != State::Cut {
                    tokio::spawn(forward(near, target, watched.clone()));
                }
            }
        });
        Self { addr, state, accept }
    }

    /// The near end: what the agent is told.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes all connections, and every new one at once.
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Lets nothing pass, and says so to nobody.
    pub fn silence(&self) {
        self.state.send_replace(State::Silent);
    }

    /// As at first.
    pub fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn forward(near: TcpStream, target: SocketAddr, mut state: watch::Receiver<State>) {
    let Ok(far) = TcpStream::connect(target).await else { return };
    let ((near_out, near_in), (far_out, far_in)) = (near.into_split(), far.into_split());
    let (there, back) = (copy(near_out, far_in, state.clone()), copy(far_out, near_in, state.clone()));
    tokio::select! {
        () = there => {}
        () = back => {}
        _ = state.wait_for(|state| *state == State::Cut) => {}
    }
}

async fn copy(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(len) = from.read(&mut buffer).await {
        let Some(bytes) = buffer.get(..len).filter(|bytes| !bytes.is_empty()) else { return };
        if state.wait_for(|state| *state != State::Silent).await.is_err() || to.write_all(bytes).await.is_err() {
            return;
        }
    }
}
