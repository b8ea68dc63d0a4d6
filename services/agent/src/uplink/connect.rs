//! Opens the socket: the name resolved anew each time, every wait bounded.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use protocol::limits::silence_after;
use security::{ClientTls, Stream};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Ended;
use crate::settings::Target;
use crate::telemetry::Failure;

/// A name server that does not answer costs this much before the next aggregator is tried.
const RESOLVE_WITHIN: Duration = Duration::from_secs(3);
/// A host that drops packets costs this much.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// Bytes that the system takes beyond what is under way on the network.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "fuchsia"))]
const UNSENT_BYTES: u32 = 16 * 1024;
/// Idle connections are asked for life by the system from then on, mostly to keep NAT tables warm.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);

/// Something that opens connections.
pub(crate) trait Connect: Send {
    /// What it opens.
    type Stream: AsyncRead + AsyncWrite + Send;

    /// Opens one to the aggregator at this place of the list.
    fn connect(&mut self, place: usize, target: &Target) -> impl Future<Output = Result<Self::Stream, Ended>> + Send;
}

type Lookup = JoinHandle<io::Result<Vec<SocketAddr>>>;

/// Opens TCP connections.
#[derive(Debug)]
pub(crate) struct TcpConnect {
    interval: Duration,
    tls: Option<ClientTls>,
    /// Lookups that did not come back in time. The next attempt waits for the same one instead of
    /// leaving another thread behind.
    lookups: HashMap<usize, Lookup>,
}

impl TcpConnect {
    /// For an agent that pushes this often.
    pub(crate) fn new(interval: Duration, tls: Option<ClientTls>) -> Self {
        Self { interval, tls, lookups: HashMap::new() }
    }

    async fn addresses(&mut self, place: usize, target: &Target) -> Result<Vec<SocketAddr>, Ended> {
        if let Ok(address) = target.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, target.port)]);
        }
        let (host, port) = (target.host.clone(), target.port);
        let lookup = self.lookups.entry(place).or_insert_with(|| {
            tokio::task::spawn_blocking(move || Ok((host.as_str(), port).to_socket_addrs()?.collect()))
        });
        let Ok(found) = timeout(RESOLVE_WITHIN, lookup).await else {
            return Err(Ended::new(Failure::Resolve, "the name could not be resolved in time"));
        };
        self.lookups.remove(&place);
        match found {
            Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
            Ok(Ok(_)) => Err(Ended::new(Failure::Resolve, "the name has no address")),
            Ok(Err(error)) => Err(Ended::new(Failure::Resolve, error.to_string())),
            Err(error) => Err(Ended::new(Failure::Resolve, error.to_string())),
        }
    }
}

impl Connect for TcpConnect {
    type Stream = Stream;

    async fn connect(&mut self, place: usize, target: &Target) -> Result<Stream, Ended> {
        let Some(tls) = self.tls.clone() else { return self.tcp(place, target).await.map(Stream::Plain) };
        // The files are read each time: a certificate that was renewed counts at once.
        let loaded = tokio::task::spawn_blocking(move || tls.load()).await;
        let connector = loaded.map_err(|error| Ended::new(Failure::Tls, error.to_string()))?;
        let connector = connector.map_err(|bad| Ended::new(Failure::Tls, bad.to_string()))?;
        let tcp = self.tcp(place, target).await?;
        connector.connect(tcp, &target.host).await.map_err(|error| Ended::new(Failure::Tls, error.to_string()))
    }
}

impl TcpConnect {
    async fn tcp(&mut self, place: usize, target: &Target) -> Result<TcpStream, Ended> {
        let addresses = self.addresses(place, target).await?;
        let mut last = Ended::new(Failure::Connect, "no address to connect to");
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            match timeout(CONNECT_WITHIN, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    if let Err(error) = set_options(&stream, self.interval) {
                        tracing::debug!(%error, "an option of the socket could not be set");
                    }
                    return Ok(stream);
                }
                Ok(Err(error)) => last = Ended::new(Failure::Connect, format!("{address}: {error}")),
                Err(_) => last = Ended::new(Failure::Timeout, format!("{address}: no answer in time")),
            }
        }
        Err(last)
    }
}

/// Pushes go out at once; and a peer that is gone is noticed in seconds, where the system would
/// otherwise go on writing into the dead socket for a quarter of an hour.
fn set_options(stream: &TcpStream, interval: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER))?;
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "fuchsia"))]
    {
        socket.set_tcp_user_timeout(Some(silence_after(interval)))?;
        // Late pushes must not stand in front of live ones by the megabyte in the system's buffer.
        socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "fuchsia")))]
    let _ = silence_after(interval);
    Ok(())
}
