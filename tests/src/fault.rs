//! A network between two of ours that can be cut, go silent in one direction or both, and that hurts
//! connections by a [`Schedule`].

pub mod schedule;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, tcp};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::schedule::{Deed, Mangler};
pub use self::schedule::{Direction, Fault, Schedule};

/// How a cable is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    target: SocketAddr,
    /// Connections are closed, new ones at once.
    is_cut: bool,
    /// Connections stay, nothing passes: there, back.
    is_silent: (bool, bool),
    /// The schedule counts.
    is_rough: bool,
}

impl State {
    fn passes(&self, direction: Direction) -> bool {
        match direction {
            Direction::There => !self.is_silent.0,
            Direction::Back => !self.is_silent.1,
        }
    }
}

/// Forwards connections to an address, as long as it is whole.
#[derive(Debug)]
pub struct Cable {
    addr: SocketAddr,
    schedule: Schedule,
    state: watch::Sender<State>,
    accept: JoinHandle<()>,
    connections: Arc<AtomicU64>,
}

impl Cable {
    /// Lays a cable to `target` that is whole until it is told otherwise.
    ///
    /// # Panics
    /// When the system has no free port.
    pub async fn to(target: SocketAddr) -> Self {
        Self::rough(target, Schedule::quiet()).await
    }

    /// Lays one that hurts its connections by a schedule.
    ///
    /// # Panics
    /// When the system has no free port.
    pub async fn rough(target: SocketAddr, schedule: Schedule) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("a bound listener has an address");
        let (state, watched) =
            watch::channel(State { target, is_cut: false, is_silent: (false, false), is_rough: true });
        let (connections, steps) = (Arc::new(AtomicU64::new(0)), schedule.clone());
        let count = Arc::clone(&connections);
        let accept = tokio::spawn(async move {
            // An error of accept ends the cable; the test then sees a cut.
            while let Ok((near, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::Relaxed);
                if !watched.borrow().is_cut {
                    let manglers = [Direction::There, Direction::Back].map(|way| Mangler::new(steps.of(number, way)));
                    tokio::spawn(forward(near, manglers, watched.clone()));
                }
            }
        });
        Self { addr, schedule, state, accept, connections }
    }

    /// The near end: what the agent is told.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How it hurts its connections, for the message of a failed test.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// New connections go there. (A process that was restarted has other ports, so that nobody else
    /// can have got them in the meantime.)
    pub fn lead_to(&self, target: SocketAddr) {
        self.state.send_modify(|state| state.target = target);
    }

    /// Closes all connections, and every new one at once.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.is_cut = true);
    }

    /// Lets nothing pass, and says so to nobody.
    pub fn silence(&self) {
        self.state.send_modify(|state| state.is_silent = (true, true));
    }

    /// Lets nothing pass in this direction.
    pub fn silence_one(&self, direction: Direction) {
        self.state.send_modify(|state| match direction {
            Direction::There => state.is_silent.0 = true,
            Direction::Back => state.is_silent.1 = true,
        });
    }

    /// Whole again; what its schedule says still happens.
    pub fn mend(&self) {
        self.state.send_modify(|state| (state.is_cut, state.is_silent) = (false, (false, false)));
    }

    /// Whole, and the schedule is over.
    pub fn calm(&self) {
        self.mend();
        self.state.send_modify(|state| state.is_rough = false);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn forward(near: TcpStream, manglers: [Mangler; 2], mut state: watch::Receiver<State>) {
    let target = state.borrow().target;
    let Ok(far) = TcpStream::connect(target).await else { return };
    // What is said is passed on at once, as it came.
    if near.set_nodelay(true).and(far.set_nodelay(true)).is_err() {
        return;
    }
    let ((near_out, near_in), (far_out, far_in)) = (near.into_split(), far.into_split());
    let [there, back] = manglers;
    let there = copy(near_out, far_in, Direction::There, there, state.clone());
    let back = copy(far_out, near_in, Direction::Back, back, state.clone());
    tokio::select! {
        () = there => {}
        () = back => {}
        _ = state.wait_for(|state| state.is_cut) => {}
    }
}

/// Passes on one direction to its end.
async fn copy(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    direction: Direction,
    mut mangler: Mangler,
    mut state: watch::Receiver<State>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(len) = from.read(&mut buffer).await {
        let Some(bytes) = buffer.get(..len).filter(|bytes| !bytes.is_empty()) else { return };
        let is_rough = state.borrow().is_rough;
        let deeds = if is_rough { mangler.take(bytes) } else { vec![Deed::Send(bytes.to_vec())] };
        for deed in deeds {
            match deed {
                Deed::Send(bytes) => {
                    let passes = state.wait_for(|state| state.passes(direction)).await.is_ok();
                    if !passes || to.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Deed::Wait(time) => tokio::time::sleep(time).await,
                Deed::Cut => return,
                // One of the ends gives up, or the schedule is over: what was lost is not made up for.
                Deed::Silence => {
                    let _calm = state.wait_for(|state| !state.is_rough).await;
                    return;
                }
            }
        }
    }
}
