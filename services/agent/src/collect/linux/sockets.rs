//! The lines of `/proc/net/{tcp,tcp6,udp,udp6}`, one for each socket:
//! `sl local_address rem_address st tx_queue:rx_queue …`, all but the first in hexadecimal.

/// How the head of each of the files begins.
pub(super) const HEAD: &str = "sl ";
/// Most sockets of a file that are read. To write that many costs the kernel about 0.1 s.
pub(super) const SOCKETS_MAX: usize = 50_000;

/// One socket.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Socket {
    /// The kernel's number of its state.
    pub(super) state: usize,
    /// Bytes that are to be sent, or wait for an acknowledgement.
    pub(super) tx: u32,
    /// Bytes received that nobody read yet; of a TCP socket that listens: connections that nobody
    /// accepted yet.
    pub(super) rx: u32,
}

impl Socket {
    /// Reads a line.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace().skip(3);
        let state = usize::from_str_radix(words.next()?, 16).ok()?;
        let (tx, rx) = words.next()?.split_once(':')?;
        let hex = |word| u32::from_str_radix(word, 16).ok();
        Some(Self { state, tx: hex(tx)?, rx: hex(rx)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let line = "   1: 0100007F:0016 0100007F:C350 0A 00000010:0000000F 00:00000000 00000000 0 0 1591 1";
        assert_eq!(Socket::parse(line), Some(Socket { state: 10, tx: 16, rx: 15 }));
        for bad in ["", "1: a b 0A", "1: a b 0A 0", "1: a b 0G 0:0", "1: a b 0A 0:100000000", "1: a b 0A 0:-1"] {
            assert_eq!(Socket::parse(bad), None, "{bad}");
        }
    }
}
