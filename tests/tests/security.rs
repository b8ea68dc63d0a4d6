//! Tokens and TLS through everything: an agent, HTTP, put/get and a real Prometheus, and what each of
//! them hears without the right ones.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use client::{Client, ClientError, ClientTls, Secret, Server};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tests::http::{self, Reply};
use tests::{Hub, peers, wait};
use tokio::net::TcpStream;

const AGENTS: &str = "agents-0123456789abcdef";
const READS: &str = "reads-0123456789abcdef";
const PUTS: &str = "puts-0123456789abcdef";
const OPS: &str = "ops-0123456789abcdef";
const SECRETS: [&str; 4] = [AGENTS, READS, PUTS, OPS];
const WITHIN: Duration = Duration::from_secs(10);

/// What this whole binary logs, at the most talkative level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        let writer = log.clone();
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .init();
        log
    })
}

fn logged() -> String {
    String::from_utf8_lossy(&log().0.lock().unwrap()).into_owned()
}

/// Waits for a line of the log that has all of these.
async fn logs(parts: &[&str]) {
    wait::until("the log says so", async || {
        let found = logged().lines().any(|line| parts.iter().all(|part| line.contains(part)));
        if found { Ok(()) } else { Err(format!("no line with {parts:?}")) }
    })
    .await;
}

/// A CA, what it has signed, and a file of tokens.
struct Keys {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Keys {
    fn new() -> Self {
        log();
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "FleetGauge CA");
        let key = KeyPair::generate().unwrap();
        std::fs::write(dir.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let keys = Self { dir, issuer: Issuer::new(params, key) };
        keys.sign("server", "aggregator.test", 2999);
        keys.sign("client", "huginn", 2999);
        keys.write_tokens("");
        keys
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn sign(&self, file: &str, name: &str, until: i32) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 12, 31);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        // The key first: the two are looked at each second, and one without the other is not taken.
        std::fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
        std::fs::write(self.path(&format!("{file}.pem")), cert.pem()).unwrap();
    }

    /// All tokens but one.
    fn write_tokens(&self, without: &str) {
        let all = [
            (AGENTS, "agents", "[\"push\"]\nagents = [\"hug*\"]"),
            (READS, "reads", "[\"read\"]"),
            (PUTS, "puts", "[\"put\", \"read\"]"),
            (OPS, "ops", "[\"admin\", \"read\"]"),
        ];
        let text = all.iter().filter(|(token, ..)| *token != without).map(|(token, name, scopes)| {
            format!("[[token]]\nname = \"{name}\"\ntoken = \"{token}\"\nscopes = {scopes}\n")
        });
        std::fs::write(self.path("tokens.new"), text.collect::<String>()).unwrap();
        std::fs::rename(self.path("tokens.new"), self.path("tokens.toml")).unwrap();
    }

    fn hub(&self) -> tests::hub::HubBuilder {
        Hub::builder()
            .with("FLEETGAUGE_TOKENS_FILE", self.path("tokens.toml").display())
            .with("FLEETGAUGE_TLS_CERT_FILE", self.path("server.pem").display())
            .with("FLEETGAUGE_TLS_KEY_FILE", self.path("server.key").display())
    }

    fn tls(&self) -> ClientTls {
        let server_name = Some("aggregator.test".to_owned());
        ClientTls { ca: Some(self.path("ca.pem")), server_name, identity: None }
    }

    fn agent(&self, hub: &Hub, name: &str) -> tests::host::HostBuilder {
        hub.agent(name)
            .with("FLEETGAUGE_TOKEN", AGENTS)
            .with("FLEETGAUGE_TLS", "on")
            .with("FLEETGAUGE_TLS_CA_FILE", self.path("ca.pem").display())
            .with("FLEETGAUGE_TLS_SERVER_NAME", "aggregator.test")
    }

    async fn get(&self, http: SocketAddr, path: &str, token: &str) -> io::Result<Reply> {
        get(http, &self.tls(), path, &[("authorization", &format!("Bearer {token}"))]).await
    }

    fn client(&self, hub: &Hub, token: &str) -> Server {
        let tls = self.tls().load().unwrap();
        Server::new(hub.line().to_string()).with_token(Secret::new(token).unwrap()).with_tls(tls)
    }
}

async fn get(http: SocketAddr, tls: &ClientTls, path: &str, headers: &[(&str, &str)]) -> io::Result<Reply> {
    let tcp = TcpStream::connect(http).await?;
    let stream = tls.load().map_err(io::Error::other)?.connect(tcp, "127.0.0.1").await.map_err(io::Error::other)?;
    http::get_on(stream, http, path, headers).await
}

async fn shows(keys: &Keys, hub: &Hub, agent: &str, up: &str) -> String {
    wait::until("the page shows it", async || {
        let page = keys.get(hub.http(), "/metrics", READS).await?;
        let text = page.text().to_owned();
        let line = text.lines().find(|line| line.contains("fleetgauge_agent_up{") && line.contains(agent));
        if line.is_some_and(|line| line.ends_with(up)) { Ok(text) } else { Err(io::Error::other(format!("{line:?}"))) }
    })
    .await
}

#[tokio::test]
async fn everything_works_with_the_right_tokens_over_tls() {
    let keys = Keys::new();
    let data = tempfile::tempdir().unwrap();
    let hub = keys.hub().with("FLEETGAUGE_DATA_DIR", data.path().display()).start().await;
    let huginn = keys.agent(&hub, "huginn").start();
    let mut page = shows(&keys, &hub, "huginn", " 1").await;
    let mut client = Client::connect(keys.client(&hub, PUTS), WITHIN).await.unwrap();
    client.put("k", 1.5, Some(7)).await.unwrap();
    assert_eq!(client.get("k").await.unwrap()["k"][0].value, 1.5);
    // Others are told why not.
    for (token, expected) in [(READS, 200), (OPS, 200), (PUTS, 200), (AGENTS, 403), ("wrong", 401)] {
        assert_eq!(keys.get(hub.http(), "/api/v1/agents", token).await.unwrap().status, expected, "{token}");
    }
    let missing = get(hub.http(), &keys.tls(), "/metrics", &[]).await.unwrap();
    assert_eq!((missing.status, missing.header("www-authenticate")), (401, "Bearer realm=\"fleetgauge\""));
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(hub.http(), &keys.tls(), path, &[]).await.unwrap().text(), "ok");
    }
    aggregator::health::check(hub.http(), true).unwrap();
    match Client::connect(keys.client(&hub, "wrong"), WITHIN).await {
        Err(ClientError::Token(text)) => assert!(text.contains("not one of this aggregator's"), "{text}"),
        other => panic!("{other:?}"),
    }
    // Both ways in which one side speaks TLS and the other does not.
    let plain = http::get(hub.http(), "/metrics", &[]).await.unwrap();
    assert!(plain.status == 400 && plain.text().contains("https://"), "{plain:?}");
    let mut client = Client::connect(hub.line().to_string(), WITHIN).await.unwrap();
    assert!(matches!(client.get("k").await, Err(ClientError::Error(text)) if text.contains("TLS")));
    let _muninn = hub.agent("hugin-plain").start();
    logs(&["not connected", "FLEETGAUGE_TLS=on"]).await;
    // A token that is taken away ends what it opened.
    keys.write_tokens(AGENTS);
    page += &shows(&keys, &hub, "huginn", " 0").await;
    logs(&["connection lost", "the token \"agents\" that let this agent in"]).await;
    huginn.stop().await;
    let everything = logged() + &page;
    for secret in SECRETS {
        assert!(!everything.contains(secret), "{secret} is in the log or on the page");
    }
}

#[tokio::test]
async fn an_agent_s_log_says_what_is_wrong_with_a_certificate() {
    let (keys, others) = (Keys::new(), Keys::new());
    let hub = keys.hub().start().await;
    let _a = keys.agent(&hub, "hug-a").with("FLEETGAUGE_TLS_CA_FILE", others.path("ca.pem").display()).start();
    logs(&["not connected", "not from a CA that is trusted here"]).await;
    let _b = keys.agent(&hub, "hug-b").with("FLEETGAUGE_TLS_SERVER_NAME", "another.test").start();
    logs(&["not connected", "is for another name"]).await;
    let _c = keys.agent(&hub, "other-name").start();
    logs(&["not connected", "not for agents called"]).await;
    keys.sign("server", "aggregator.test", 2021);
    wait::until("the new certificate is shown", async || match keys.get(hub.http(), "/healthz", READS).await {
        Err(error) if error.to_string().contains("expired") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let _d = keys.agent(&hub, "hug-d").start();
    logs(&["not connected", "certificate has expired"]).await;
    logs(&["a certificate is not valid any more"]).await;
    // Renewed, it counts without a restart of either side.
    keys.sign("server", "aggregator.test", 2999);
    shows(&keys, &hub, "hug-d", " 1").await;
    let page = keys.get(hub.http(), "/metrics", READS).await.unwrap();
    let until = date_time_ymd(2999, 12, 31).unix_timestamp();
    let expiry = format!("fleetgauge_tls_certificate_expiry_timestamp_seconds{{file=\"certificate\"}} {until}\n");
    assert!(page.text().contains(&expiry), "{expiry}");
}

#[tokio::test]
async fn client_certificates_are_wanted_by_all_but_health_checks() {
    let keys = Keys::new();
    let hub = keys.hub().with("FLEETGAUGE_TLS_CLIENT_CA_FILE", keys.path("ca.pem").display()).start().await;
    let identity = Some((keys.path("client.pem"), keys.path("client.key")));
    let shown = ClientTls { identity, ..keys.tls() };
    let bearer = format!("Bearer {READS}");
    let authorization = [("authorization", bearer.as_str())];
    assert_eq!(get(hub.http(), &shown, "/metrics", &authorization).await.unwrap().status, 200);
    assert_eq!(get(hub.http(), &shown, "/metrics", &[]).await.unwrap().status, 401, "both are needed");
    assert_eq!(get(hub.http(), &keys.tls(), "/metrics", &authorization).await.unwrap().status, 403);
    assert_eq!(get(hub.http(), &keys.tls(), "/healthz", &[]).await.unwrap().status, 200);
    aggregator::health::check(hub.http(), true).unwrap();
    let _without = keys.agent(&hub, "hug-without").start();
    logs(&["FLEETGAUGE_TLS_CLIENT_CERT_FILE"]).await;
    let _with = keys
        .agent(&hub, "hug-with")
        .with("FLEETGAUGE_TLS_CLIENT_CERT_FILE", keys.path("client.pem").display())
        .with("FLEETGAUGE_TLS_CLIENT_KEY_FILE", keys.path("client.key").display())
        .start();
    wait::until("it is there", async || {
        let page = get(hub.http(), &shown, "/metrics", &authorization).await?;
        let is_up =
            page.text().lines().any(|line| line.starts_with("fleetgauge_agent_up{") && line.contains("hug-with\""));
        if is_up { Ok(()) } else { Err(io::Error::other("not yet")) }
    })
    .await;
}

#[tokio::test]
async fn a_token_works_without_tls_and_never_crosses_the_link() {
    let hub = Hub::builder().with("FLEETGAUGE_TOKEN", OPS).start().await;
    let _huginn = hub.agent("huginn").with("FLEETGAUGE_TOKEN", OPS).start();
    let basic = [("authorization", "Basic b3BzOm9wcy0wMTIzNDU2Nzg5YWJjZGVm")]; // printf ops:$OPS | base64
    wait::until("it is there", async || {
        let reply = http::get(hub.http(), "/metrics?agent=huginn", &basic).await?;
        if reply.status == 200 { Ok(()) } else { Err(io::Error::other(reply.status.to_string())) }
    })
    .await;
    assert_eq!(hub.get("/metrics").await.unwrap().status, 401);
    let _nobody = hub.agent("nobody").start();
    logs(&["not connected", "set FLEETGAUGE_TOKEN_FILE"]).await;
}

#[tokio::test]
async fn a_real_prometheus_scrapes_with_a_token_over_tls() {
    let Some(program) = peers::program("PROMETHEUS", "prometheus") else { return };
    let keys = Keys::new();
    let hub = keys.hub().start().await;
    let _huginn = keys.agent(&hub, "huginn").start();
    std::fs::write(keys.path("reads"), READS).unwrap();
    let quoted = |path: &Path| path.display().to_string();
    let config = format!(
        "  - job_name: fleet
    scheme: https
    honor_labels: true
    authorization: {{credentials_file: {}}}
    tls_config: {{ca_file: {}, server_name: aggregator.test}}
    static_configs: [{{targets: [\"{}\"]}}]
",
        quoted(&keys.path("reads")),
        quoted(&keys.path("ca.pem")),
        hub.http()
    );
    let prometheus = tests::Prometheus::start(&program, &config).await;
    let up = |series: &[tests::prometheus::Series]| series.len() == 1 && series[0].value == 1.0;
    prometheus.query_until("it has the agent", "fleetgauge_agent_up{instance=\"huginn\"}", up).await;
}
