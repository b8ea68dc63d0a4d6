//! `aggregator health`: is the aggregator on this host alive? For container health checks, which
//! have no shell and no curl.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(2);

/// Asks `/healthz` of the aggregator that these settings describe.
///
/// # Errors
/// A sentence that says why it does not count as alive.
pub fn check(http_listen: SocketAddr) -> Result<(), String> {
    let address = reachable(http_listen);
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, WITHIN)?;
        stream.set_read_timeout(Some(WITHIN))?;
        stream
            .write_all(format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.take(4096).read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| format!("no aggregator answers on {address}: {error}"))?;
    if answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok") {
        Ok(())
    } else {
        Err(format!("{address} answers, but not as an aggregator: {:?}", answer.lines().next().unwrap_or_default()))
    }
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
