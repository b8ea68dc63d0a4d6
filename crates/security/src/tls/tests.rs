//! Both sides over real sockets, with certificates made for the occasion.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::store::Look;
use crate::stream::Stream;

/// A CA with a folder for what it signs.
struct Authority {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a CA of tests");
        let key = KeyPair::generate().unwrap();
        std::fs::write(dir.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { dir, issuer: Issuer::new(params, key) }
    }

    fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A certificate for this name, until the end of this year; gives where it and its key are.
    fn sign(&self, file: &str, name: &str, until: i32) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 12, 31);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let paths = (self.dir.path().join(format!("{file}.pem")), self.dir.path().join(format!("{file}.key")));
        std::fs::write(&paths.0, cert.pem()).unwrap();
        std::fs::write(&paths.1, key.serialize_pem()).unwrap();
        paths
    }

    fn server(&self, until: i32) -> Arc<ServerTls> {
        let (cert, key) = self.sign("server", "aggregator.test", until);
        Arc::new(ServerTls::open(ServerFiles { cert, key, client_ca: None }).unwrap())
    }

    fn trusted(&self) -> ClientTls {
        ClientTls { ca: Some(self.ca()), ..ClientTls::default() }
    }
}

const FAR: i32 = 2999;

/// Takes one connection and sends back what it reads; gives how the handshake went.
async fn echo(server: &Arc<ServerTls>, clients: Clients) -> (SocketAddr, JoinHandle<Result<bool, Refused>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Arc::clone(server);
    let task = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let Accepted { mut stream, has_certificate } = server.accept(tcp, clients).await?;
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut bytes).await {
            stream.write_all(&bytes[..count]).await.unwrap();
        }
        Ok(has_certificate)
    });
    (address, task)
}

async fn connect(address: SocketAddr, client: &ClientTls, host: &str) -> Result<Stream, TlsError> {
    let tcp = TcpStream::connect(address).await.unwrap();
    client.load().unwrap().connect(tcp, host).await
}

/// What a client of this server hears.
async fn outcome(server: &Arc<ServerTls>, client: &ClientTls, host: &str) -> Result<(), TlsError> {
    let (address, task) = echo(server, Clients::MustShow).await;
    let connected = connect(address, client, host).await.map(drop);
    let _its_side = task.await.unwrap();
    connected
}

#[tokio::test]
async fn a_megabyte_goes_through_and_comes_back() {
    let authority = Authority::new();
    let (address, task) = echo(&authority.server(FAR), Clients::MustShow).await;
    let stream = connect(address, &authority.trusted(), "aggregator.test").await.unwrap();
    assert!(stream.is_tls() && stream.tcp().peer_addr().unwrap() == address);
    let (mut read, mut write) = tokio::io::split(stream);
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let mut heard = vec![0; sent.len()];
    // Nobody flushes: reading does it.
    let (wrote, got) = tokio::join!(write.write_all(&sent), read.read_exact(&mut heard));
    wrote.unwrap();
    got.unwrap();
    assert!(sent == heard);
    write.shutdown().await.unwrap();
    assert!(!task.await.unwrap().unwrap());
}

#[tokio::test]
async fn a_bad_certificate_is_refused_and_named() {
    let (authority, other) = (Authority::new(), Authority::new());
    let good = authority.server(FAR);
    assert_eq!(outcome(&good, &authority.trusted(), "aggregator.test").await, Ok(()));
    assert_eq!(outcome(&good, &other.trusted(), "aggregator.test").await, Err(TlsError::UnknownCa));
    assert_eq!(outcome(&good, &authority.trusted(), "another.test").await, Err(TlsError::WrongName));
    let named = ClientTls { server_name: Some("aggregator.test".into()), ..authority.trusted() };
    assert_eq!(outcome(&good, &named, "127.0.0.1").await, Ok(()));
    let expired = authority.server(2021);
    assert_eq!(outcome(&expired, &authority.trusted(), "aggregator.test").await, Err(TlsError::Expired));
}

#[tokio::test]
async fn who_does_not_speak_tls_is_told_apart() {
    let authority = Authority::new();
    let server = authority.server(FAR);
    let (address, task) = echo(&server, Clients::MustShow).await;
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"{\"hello\":").await.unwrap();
    assert!(matches!(task.await.unwrap(), Err(Refused::Plain(_))));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.write_all(b"error\nwrong command\n\n").await.unwrap();
        tcp
    });
    assert_eq!(connect(address, &authority.trusted(), "x").await.unwrap_err(), TlsError::NotTls);
    drop(answer.await.unwrap());
}

#[tokio::test]
async fn a_handshake_has_a_deadline() {
    let authority = Authority::new();
    let server = authority.server(FAR);
    for drip in [&b""[..], &[FIRST_BYTE, 3, 1]] {
        let (address, task) = echo(&server, Clients::MustShow).await;
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(drip).await.unwrap();
        tokio::time::pause();
        assert!(matches!(task.await.unwrap(), Err(Refused::Timeout)));
        tokio::time::resume();
    }
}

#[tokio::test]
async fn client_certificates() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (cert, key) = authority.sign("server", "aggregator.test", FAR);
    let files = ServerFiles { cert, key, client_ca: Some(authority.ca()) };
    let server = Arc::new(ServerTls::open(files).unwrap());
    assert!(server.wants_certificates());
    assert!(server.expires().iter().all(Option::is_some), "its own, and that of the CA");
    let with = |by: &Authority, until| ClientTls {
        identity: Some(by.sign(&format!("client{until}"), "huginn", until)),
        ..authority.trusted()
    };
    for (client, expected) in [
        (with(&authority, FAR), Some(true)),
        (authority.trusted(), None),
        (with(&other, FAR), None),
        (with(&authority, 2021), None),
    ] {
        let (address, task) = echo(&server, Clients::MustShow).await;
        // With TLS 1.3 a client is done before the server has seen its certificate.
        let heard = match connect(address, &client, "aggregator.test").await {
            Ok(mut stream) => {
                stream.write_all(b"x").await.unwrap();
                stream.read_u8().await.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match (expected, task.await.unwrap()) {
            (Some(true), Ok(true)) => assert_eq!(heard, Ok(b'x')),
            (None, Err(Refused::Certificate(_))) => {
                assert!(heard.as_ref().is_err_and(|why| why.contains("FLEETGAUGE_TLS_CLIENT_CERT_FILE")), "{heard:?}");
            }
            (expected, got) => panic!("{expected:?} {got:?}"),
        }
    }
    let (address, task) = echo(&server, Clients::MayShow).await;
    drop(connect(address, &authority.trusted(), "aggregator.test").await.unwrap());
    assert!(!task.await.unwrap().unwrap(), "a connection without a certificate");
}

#[tokio::test]
async fn new_files_count_and_bad_ones_do_not() {
    let authority = Authority::new();
    let server = authority.server(2021);
    let end_of = |year| Some(date_time_ymd(year, 12, 31).unix_timestamp());
    assert_eq!(server.look(), Look::Same);
    assert_eq!(server.expires(), [end_of(2021), None]);
    assert_eq!(outcome(&server, &authority.trusted(), "aggregator.test").await, Err(TlsError::Expired));
    let (cert, _key) = authority.sign("server", "aggregator.test", FAR);
    assert_eq!(server.look(), Look::Changed);
    assert_eq!(server.expires(), [end_of(FAR), None]);
    assert_eq!(outcome(&server, &authority.trusted(), "aggregator.test").await, Ok(()));
    // The other half of another pair.
    let (strange, _) = authority.sign("strange", "aggregator.test", FAR);
    std::fs::copy(strange, &cert).unwrap();
    let Look::Failed(why) = server.look() else { panic!("they do not fit together") };
    assert!(why.contains("do not fit together"), "{why}");
    std::fs::write(&cert, "").unwrap();
    let Look::Failed(why) = server.look() else { panic!("it is empty") };
    assert!(why.contains("no certificate in PEM"), "{why}");
    assert_eq!(server.expires(), [end_of(FAR), None], "so does its time");
    assert_eq!(outcome(&server, &authority.trusted(), "aggregator.test").await, Ok(()), "the old one holds");
}

#[test]
fn what_cannot_be_used_is_said() {
    let authority = Authority::new();
    let missing = ClientTls { ca: Some("/does/not/exist".into()), ..ClientTls::default() };
    let missing = missing.load().unwrap_err();
    assert_eq!(missing.setting, "FLEETGAUGE_TLS_CA_FILE");
    assert!(missing.why.starts_with("/does/not/exist: No such file"), "{missing}");
    let (cert, key) = authority.sign("a", "a.test", FAR);
    let swapped = ServerFiles { cert: key, key: cert, client_ca: None };
    let error = ServerTls::open(swapped).unwrap_err();
    assert!(error.starts_with("FLEETGAUGE_TLS_CERT_FILE: "), "{error}");
    assert!(error.contains("no certificate in PEM") && !error.contains("BEGIN PRIVATE"), "{error}");
    let bad_name = ClientTls { server_name: Some("a b".into()), ..authority.trusted() };
    let bad_name = bad_name.load().unwrap_err();
    assert!(bad_name.setting == "FLEETGAUGE_TLS_SERVER_NAME" && bad_name.why.contains("no name"), "{bad_name}");
}

/// As `openssl x509 -req` makes it without `-extfile`.
const VERSION_1: &str = include_str!("fixtures/version1.pem");

#[test]
fn a_certificate_of_version_1_is_called_that() {
    let authority = Authority::new();
    let (cert, key) = authority.sign("old", "old.test", FAR);
    std::fs::write(&cert, VERSION_1).unwrap();
    let client = ClientTls { identity: Some((cert.clone(), key.clone())), ..authority.trusted() };
    let bad = client.load().unwrap_err();
    assert_eq!(bad.setting, "FLEETGAUGE_TLS_CLIENT_CERT_FILE");
    let server = ServerTls::open(ServerFiles { cert, key, client_ca: None }).unwrap_err();
    assert!(server.starts_with("FLEETGAUGE_TLS_CERT_FILE: "), "{server}");
    for why in [bad.why, server] {
        assert!(why.contains("is X.509 version 1; sign it with -extfile") && !why.contains("fit together"), "{why}");
    }
}

#[test]
fn a_key_of_another_certificate_is_told_apart() {
    let authority = Authority::new();
    let ((cert, _), (_, key)) = (authority.sign("a", "a.test", FAR), authority.sign("b", "b.test", FAR));
    let client = ClientTls { identity: Some((cert, key)), ..authority.trusted() };
    let bad = client.load().unwrap_err();
    assert_eq!(bad.setting, "FLEETGAUGE_TLS_CLIENT_CERT_FILE");
    assert!(bad.why.contains("b.key do not fit together"), "{bad}");
}
