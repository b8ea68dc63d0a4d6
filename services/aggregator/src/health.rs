//! `aggregator health`: is the aggregator on this host alive? For container health checks, which
//! have no shell and no curl.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(2);

/// Asks `/healthz` of the aggregator that these settings describe.
///
/// # Errors
/// A sentence that says why it does not count as alive.
pub fn check(http_listen: SocketAddr, has_tls: bool) -> Result<(), String> {
    let address = reachable(http_listen);
    let ask = || -> io::Result<String> {
        let stream = TcpStream::connect_timeout(&address, WITHIN)?;
        stream.set_read_timeout(Some(WITHIN))?;
        stream.set_write_timeout(Some(WITHIN))?;
        if has_tls { over_tls(stream, address) } else { exchange(stream, address) }
    };
    let answer = ask().map_err(|error| format!("no aggregator answers on {address}: {error}"))?;
    if answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok") {
        Ok(())
    } else {
        Err(format!("{address} answers, but not as an aggregator: {:?}", answer.lines().next().unwrap_or_default()))
    }
}

fn exchange(mut stream: impl Read + Write, address: SocketAddr) -> io::Result<String> {
    stream.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    Ok(answer)
}

/// Whose certificate it is does not matter: this asks an address of this host whether it is alive,
/// and tells it nothing. A certificate for `localhost` would be one more thing to make and to lose.
#[cfg(feature = "tls")]
fn over_tls(stream: TcpStream, address: SocketAddr) -> io::Result<String> {
    let stream = security::tls::blocking_unverified(stream, address.ip()).map_err(io::Error::other)?;
    exchange(stream, address)
}

#[cfg(not(feature = "tls"))]
fn over_tls(_stream: TcpStream, _address: SocketAddr) -> io::Result<String> {
    Err(io::Error::other("this program was built without TLS"))
}

/// An address that listens on all interfaces is reached over loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
