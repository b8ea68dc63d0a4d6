//! Where the link is inside TLS.

use rcgen::{CertificateParams, KeyPair};
use security::{ClientTls, Connector, ServerFiles};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::access::Rules;

/// Longer than anything takes that works.
const SOON: Duration = Duration::from_secs(60);

/// Who listens for agents, with TLS, and what agents believe.
async fn listen(handshakes: usize) -> (Inside, SocketAddr, Connector) {
    let dir = tempfile::tempdir().unwrap();
    let files = ServerFiles { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem"), client_ca: None };
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["muninn".to_owned()]).unwrap().self_signed(&key).unwrap();
    for (path, text) in [(&files.cert, cert.pem()), (&files.key, key.serialize_pem())] {
        std::fs::write(path, text).unwrap();
    }
    let client = ClientTls { ca: Some(files.cert.clone()), server_name: Some("muninn".into()), identity: None };
    let connector = client.load().unwrap();
    let mut inside = Inside::with_access(Rules { tokens: security::Source::None, tls: Some(files) });
    let caps = Caps { handshakes, ..Caps::default() };
    Arc::get_mut(&mut inside.shared).unwrap().limits = Limits::new(caps, moment().instant);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (shared, stop) = (Arc::clone(&inside.shared), inside.stop.clone());
    tokio::spawn(async move {
        loop {
            let (tcp, peer) = listener.accept().await.unwrap();
            tokio::spawn(accepted(tcp, peer, Arc::clone(&shared), stop.clone()));
        }
    });
    (inside, address, connector)
}

/// What an agent hears first; nothing, where its connection breaks before.
async fn first_word(to: SocketAddr, connector: &Connector) -> Option<Value> {
    let tcp = TcpStream::connect(to).await.unwrap();
    let mut stream = BufReader::new(connector.connect(tcp, "muninn").await.ok()?);
    stream.write_all(format!("{}\n", hello("a", "s", 1)).as_bytes()).await.ok()?;
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    serde_json::from_str(&line).ok()
}

#[tokio::test]
async fn who_is_silent_before_tls_has_a_place_that_others_may_need() {
    let (inside, address, connector) = listen(8).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    let _other = TcpStream::connect(address).await.unwrap();
    let all = async {
        while inside.shared.limits.handshakes.len() < 2 {
            tokio::task::yield_now().await;
        }
        // Those that have just come are spared for a moment; then the agent is let in.
        let heard = loop {
            if let Some(heard) = first_word(address, &connector).await {
                break heard;
            }
        };
        assert!(heard["welcome"].is_object(), "{heard}");
        assert_eq!(inside.metric("fleetgauge_tls_handshakes_total{listener=\"link\",result=\"timeout\"}"), 0.0);
        assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0, "it made room");
    };
    tokio::time::timeout(SOON, all).await.expect("the agent is let in");
    assert_eq!(inside.shared.limits.handshakes.len(), 1, "the other silent one's");
    assert_eq!(inside.metric("fleetgauge_link_refused_total{code=\"too_slow\"}"), 1.0);
    let sent_away = inside.metric("fleetgauge_link_refused_total{code=\"overloaded\"}");
    assert_eq!(inside.exceeded("handshakes"), 1.0 + sent_away);
}

#[tokio::test]
async fn who_stands_still_in_the_middle_of_tls_makes_room() {
    let (inside, address, connector) = listen(4).await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    // The head of a record of a handshake, without the rest.
    slow.write_all(&[22, 3, 1, 2, 0]).await.unwrap();
    let all = async {
        while inside.shared.limits.handshakes.is_empty() {
            tokio::task::yield_now().await;
        }
        let heard = loop {
            if let Some(heard) = first_word(address, &connector).await {
                break heard;
            }
        };
        assert!(heard["welcome"].is_object(), "{heard}");
        assert_eq!(slow.read(&mut [0; 1]).await.unwrap_or(0), 0, "it made room");
    };
    tokio::time::timeout(SOON, all).await.expect("the agent is let in");
    assert!(inside.shared.limits.handshakes.is_empty());
    assert_eq!(inside.metric("fleetgauge_link_refused_total{code=\"too_slow\"}"), 1.0);
    let finished = inside.metric("fleetgauge_tls_handshakes_total{listener=\"link\",result=\"ok\"}");
    assert_eq!(finished, 1.0, "the slow one's was not");
}
