//! One put at a time, and the same disk without an aggregator, in turns: whatever else the machine
//! does meanwhile both have to bear.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use super::blocking;
use crate::disk::Synced;
use crate::lines::OK;
use crate::points::{Look, Series, second};
use crate::{Error, Result};

/// Puts, and then plain syncs, in a row.
const IN_A_ROW: u32 = 25;
/// Puts and syncs before those that count.
const WARM_UP: u32 = 25;
/// The longest wait for one reply.
const WITHIN: Duration = Duration::from_secs(30);

/// How long each took, in ms.
#[derive(Debug, Clone, Default)]
pub struct Alternated {
    /// From the first byte of a put to the last of its reply.
    pub put_ms: Vec<f64>,
    /// 64 bytes with `fdatasync` into room that a file has already.
    pub fdatasync_ms: Vec<f64>,
    /// 64 bytes with `fdatasync` at the end of a file that grows.
    pub append_ms: Vec<f64>,
}

/// Puts `count` times, waiting for each reply, and writes as often to files in `folder`.
///
/// # Errors
/// When a put is not answered with `ok`, or the disk says no.
pub async fn alternate(line: SocketAddr, folder: &Path, count: u32) -> Result<Alternated> {
    let folder = folder.to_owned();
    blocking(move || {
        let all = count + WARM_UP;
        let mut putter = Putter::connect(line)?;
        let mut roomy = Synced::with_room(&folder, "roomy", all as usize)?;
        let mut growing = Synced::create(&folder, "growing")?;
        let mut found = Alternated::default();
        let mut rest = all;
        while rest > 0 {
            let row = rest.min(IN_A_ROW);
            times(row, &mut found.put_ms, || putter.put())?;
            times(row, &mut found.fdatasync_ms, || roomy.write_once())?;
            times(row, &mut found.append_ms, || growing.write_once())?;
            rest -= row;
        }
        for ms in [&mut found.put_ms, &mut found.fdatasync_ms, &mut found.append_ms] {
            ms.drain(..WARM_UP as usize);
        }
        Ok(found)
    })
    .await
}

fn times(count: u32, ms: &mut Vec<f64>, mut work: impl FnMut() -> Result<Duration>) -> Result<()> {
    for _ in 0..count {
        ms.push(work()?.as_secs_f64() * 1e3);
    }
    Ok(())
}

/// A connection that waits for each reply, as a script does.
struct Putter {
    stream: TcpStream,
    series: Series,
    step: u64,
    line: Vec<u8>,
}

impl Putter {
    fn connect(address: SocketAddr) -> Result<Self> {
        let connected = TcpStream::connect_timeout(&address, WITHIN).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(WITHIN))?;
            Ok(stream)
        });
        let stream = connected.map_err(Error::io(format!("connecting to {address}")))?;
        let series = Series::called("bench.single".to_owned(), Look::Percent, 0);
        Ok(Self { stream, series, step: 0, line: Vec::new() })
    }

    fn put(&mut self) -> Result<Duration> {
        self.line.clear();
        self.line.extend_from_slice(b"put bench.single ");
        self.series.write_value(&mut self.line);
        let _a_vector_takes_all = writeln!(self.line, " {}", second(self.step));
        self.step += 1;
        let mut reply = [0; OK.len()];
        let began = Instant::now();
        let answered = self.stream.write_all(&self.line).and_then(|()| self.stream.read_exact(&mut reply));
        answered.map_err(Error::io("putting a point"))?;
        let took = began.elapsed();
        if reply == OK {
            return Ok(took);
        }
        Err(Error::Lines(format!("a put was answered with {:?}…", String::from_utf8_lossy(&reply))))
    }
}
