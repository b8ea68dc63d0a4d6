//! Senders that mean harm: a process of their own with the least claim on the machine, since in truth
//! they have machines of their own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use protocol::frame::Ping;
use protocol::{ToAggregator, encode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::sim::Settings;
use crate::sim::frames::{self, Clocks};
use crate::sim::state::{Outgoing, Tick};

/// Who floods.
pub const FLOOD: &str = "flood";
/// Its counters, so that a push is worth something.
pub const FLOOD_COUNTERS: usize = 1000;
/// The last number of the address of those who say nothing.
pub(super) const SILENT_HOST: u8 = 5;
/// Between two attempts of an attacker that was thrown out.
const AGAIN: Duration = Duration::from_millis(10);

/// For ever: one agent floods the link, one sends garbage, one never reads, and so many connections
/// say nothing. Each of these four has an address of its own.
pub async fn attack(link: SocketAddr, silent: usize) {
    let _room_for_many_connections = lifecycle::limits::raise_open_files();
    // Where it has no such right it competes as anybody does.
    let _last_of_all = rustix::process::nice(19);
    let mut attackers = JoinSet::new();
    attackers.spawn(again_and_again(link, 2, flood));
    attackers.spawn(again_and_again(link, 3, garbage));
    attackers.spawn(again_and_again(link, 4, never_read));
    for _ in 0..silent {
        attackers.spawn(again_and_again(link, SILENT_HOST, say_nothing));
    }
    while attackers.join_next().await.is_some() {}
}

async fn again_and_again<F: Future<Output = std::io::Result<()>>>(
    link: SocketAddr,
    host: u8,
    attack: fn(TcpStream) -> F,
) {
    loop {
        if let Ok(stream) = connect(link, host).await {
            // It ends when the aggregator has had enough.
            let _thrown_out = attack(stream).await;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// From this address of this host.
pub(super) async fn connect(link: SocketAddr, host: u8) -> std::io::Result<TcpStream> {
    if link.ip() != IpAddr::V4(Ipv4Addr::LOCALHOST) {
        return TcpStream::connect(link).await;
    }
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, 0, host), 0).into())?;
    socket.connect(link).await
}

/// Pushes as fast as the line takes it, and cares for no ack.
async fn flood(stream: TcpStream) -> std::io::Result<()> {
    let began = Instant::now();
    let mut settings = Settings::new(FLOOD, stream.peer_addr()?);
    settings.counters = FLOOD_COUNTERS;
    let (mut read, mut write) = stream.into_split();
    let reader = async move {
        let mut buffer = [0; 4096];
        while read.read(&mut buffer).await? > 0 {}
        std::io::Result::Ok(())
    };
    let writer = async move {
        let clocks = || Clocks { wall_ms: lifecycle::clock::unix_ms(), mono: began.elapsed() };
        write.write_all(&frames::hello(&settings, 1, clocks())).await?;
        write.write_all(&frames::declare(&settings)).await?;
        for number in 1.. {
            let now = clocks();
            let tick = Tick::measured(now.wall_ms, now.mono);
            let outgoing = Outgoing { stream: protocol::frame::Stream::Live, seq: number, tick: number };
            write.write_all(&frames::push(&settings, outgoing, &tick, None, now)).await?;
        }
        Ok(())
    };
    tokio::try_join!(reader, writer).map(|_| ())
}

/// Bytes that mean nothing, lines of them and no lines.
async fn garbage(mut stream: TcpStream) -> std::io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        bytes.fill_with(|| fastrand::u8(..));
        stream.write_all(&bytes).await?;
    }
}

/// Asks and asks, and reads no answer.
async fn never_read(mut stream: TcpStream) -> std::io::Result<()> {
    let settings = Settings::new("deaf", stream.peer_addr()?);
    let now = Clocks { wall_ms: lifecycle::clock::unix_ms(), mono: Duration::ZERO };
    stream.write_all(&frames::hello(&settings, 1, now)).await?;
    let mut ping = Vec::new();
    encode(&ToAggregator::Ping(Ping { id: 1 }), &mut ping);
    let many = ping.repeat(1000);
    loop {
        stream.write_all(&many).await?;
    }
}

/// Is there, until it is closed.
async fn say_nothing(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = [0; 64];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
