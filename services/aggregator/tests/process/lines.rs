//! A server that is spoken to by lines.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command};
use std::time::Duration;

use crate::common::{self, BINARY};

/// A server; killed when dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) http: SocketAddr,
    pub(crate) line: SocketAddr,
}

impl Server {
    pub(crate) fn start(command: &mut Command) -> Self {
        let (child, listening) = common::listen(command);
        let address = |name: &str| listening.get(name).unwrap().as_str().unwrap().parse().unwrap();
        Self { child, http: address("http"), line: address("line") }
    }

    /// Kills it, without a warning.
    pub(crate) fn kill(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.set_nodelay(true).unwrap();
    BufReader::new(stream)
}

/// Says it on a connection of its own, and gives all that comes back.
pub(crate) fn ask(address: SocketAddr, said: &str) -> String {
    let mut stream = connect(address);
    stream.get_mut().write_all(said.as_bytes()).unwrap();
    stream.get_mut().shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// All that is stored. Values are whole numbers.
pub(crate) fn stored(address: SocketAddr) -> BTreeMap<(String, i64), u64> {
    let text = ask(address, "get *\n");
    let rows = text.strip_prefix("ok\n").unwrap_or_else(|| panic!("{text}")).lines().filter(|row| !row.is_empty());
    let row = |row: &str| {
        let mut parts = row.split(' ');
        let mut part = || parts.next().unwrap().to_owned();
        let (key, value, ts) = (part(), part(), part());
        ((key, ts.parse().unwrap()), value.strip_suffix(".0").unwrap().parse().unwrap())
    };
    rows.map(row).collect()
}

/// Can this be run here? If not, the test says so and is skipped; with `REQUIRE_PEERS=1` it fails.
#[expect(clippy::disallowed_methods, reason = "the test runs programs, and has a setting of its own")]
pub(crate) fn can_run(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    let can = output.is_ok_and(|output| output.status.success());
    let is_required = std::env::var_os("REQUIRE_PEERS").is_some_and(|set| set == "1");
    assert!(can || !is_required, "{program} {} does not work here", arguments.join(" "));
    if !can {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let said = format!("skipped {test}: {program} {} does not work here, for {BINARY}", arguments.join(" "));
        // Not eprintln!: what a passing test prints with it is never shown.
        let _nobody_reads = writeln!(std::io::stderr(), "{said}");
    }
    can
}
