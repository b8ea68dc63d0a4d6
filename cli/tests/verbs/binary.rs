// Runs the binary as a user does, but for the settings of whoever runs the tests.

use std::io::Write;
use std::process::{Child, Command, Stdio};

#[expect(clippy::disallowed_methods, reason = "the test runs the binary")]
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetgauge"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FLEETGAUGE_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// How a run ended and what it said.
#[derive(Debug, PartialEq)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl Ended {
    /// Fails unless it went well without a word of complaint; gives what was printed.
    #[track_caller]
    pub(crate) fn well(self) -> String {
        assert_eq!((self.code, self.error.as_str()), (Some(0), ""), "{self:?}");
        self.out
    }

    /// Fails unless it ended with this code and said this on standard error, among other things.
    #[track_caller]
    pub(crate) fn badly(self, code: i32, sentence: &str) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.error.contains(sentence), "{self:?}");
        self
    }
}

pub(crate) fn end(child: Child) -> Ended {
    let output = child.wait_with_output().unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        error: String::from_utf8(output.stderr).unwrap(),
    }
}

pub(crate) fn run(arguments: &[&str]) -> Ended {
    end(command(arguments).spawn().unwrap())
}

/// With something on standard input.
pub(crate) fn run_with(arguments: &[&str], input: &str) -> Ended {
    let mut child = command(arguments).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    end(child)
}

/// An address where nobody listens.
pub(crate) fn nobody() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A server that reads one command, says this, and then nothing more.
pub(crate) fn says(reply: impl Into<Vec<u8>>) -> String {
    let (listener, reply) = (std::net::TcpListener::bind("127.0.0.1:0").unwrap(), reply.into());
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let reply = reply.clone();
            std::thread::spawn(move || {
                let _read = std::io::Read::read(&mut stream, &mut [0; 1000]).unwrap();
                // The client may leave in the middle, and the connection stays until it does.
                let _left = stream.write_all(&reply);
                let _left = std::io::copy(&mut stream, &mut std::io::sink());
            });
        }
    });
    address
}
