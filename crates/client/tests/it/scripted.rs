//! A server that does as it is told, to one connection after the other, and remembers what it read.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What one connection does with each command.
#[derive(Clone)]
pub(crate) enum Script {
    /// Answers so, and waits for more.
    Say(Vec<u8>),
    /// The same, each byte in a write of its own.
    Drip(Vec<u8>),
    /// Answers so, and closes.
    SayAndClose(Vec<u8>),
    /// Says this over and over.
    Flood(Vec<u8>),
}

impl Script {
    pub(crate) fn say(text: &str) -> Self {
        Self::Say(text.into())
    }

    pub(crate) fn silence() -> Self {
        Self::say("")
    }
}

pub(crate) struct Server {
    pub(crate) address: String,
    /// What each read brought, over all connections.
    pub(crate) reads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// The first connection follows the first script, and so on; those beyond it the last one.
    pub(crate) async fn start(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let reads = Arc::new(Mutex::new(Vec::new()));
        let server = Self { address: address.to_string(), reads: reads.clone() };
        tokio::spawn(async move {
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let script = scripts[number.min(scripts.len() - 1)].clone();
                tokio::spawn(follow(stream, script, reads.clone()));
            }
        });
        server
    }

    pub(crate) fn reads(&self) -> Vec<String> {
        self.reads.lock().unwrap().clone()
    }
}

/// Until the client is gone, which is no fault.
async fn follow(mut stream: TcpStream, script: Script, reads: Arc<Mutex<Vec<String>>>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut piece = vec![0; 128 * 1024];
    loop {
        let length = stream.read(&mut piece).await?;
        if length == 0 {
            return Ok(());
        }
        reads.lock().unwrap().push(String::from_utf8(piece[..length].to_vec()).unwrap());
        match &script {
            Script::Say(bytes) => stream.write_all(bytes).await?,
            Script::Drip(bytes) => {
                for byte in bytes {
                    stream.write_all(&[*byte]).await?;
                    tokio::task::yield_now().await;
                }
            }
            Script::SayAndClose(bytes) => return stream.write_all(bytes).await,
            Script::Flood(bytes) => loop {
                stream.write_all(bytes).await?;
            },
        }
    }
}
