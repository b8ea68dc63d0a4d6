//! Prometheus' node_exporter on the host that the tests run on.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::http;

/// What it leaves out by itself is what the agent leaves out; Debian's build has other defaults.
/// The agent also leaves out the devices of containers, and has three collectors on by default
/// that here must be asked for.
const ARGUMENTS: [&str; 12] = [
    "--web.listen-address=127.0.0.1:0",
    "--collector.netdev.device-exclude=^(veth.*|[a-f0-9]{15})$",
    "--collector.netclass.ignored-devices=^(veth.*|[a-f0-9]{15})$",
    "--collector.arp.device-exclude=^(veth.*|[a-f0-9]{15})$",
    "--collector.filesystem.mount-points-exclude=^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)",
    "--collector.filesystem.fs-types-exclude=^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$",
    "--collector.diskstats.device-exclude=^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\\d+n\\d+p)\\d+$",
    "--collector.processes",
    "--collector.tcpstat",
    "--collector.interrupts",
    "--no-collector.systemd",
    "--log.format=logfmt",
];

/// A running node_exporter; it ends with this.
#[derive(Debug)]
pub struct NodeExporter {
    _process: Child,
    address: SocketAddr,
}

impl NodeExporter {
    /// Starts this program on a free port, with the agent's filters and text files from a directory.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(program: &Path, textfiles: &Path) -> Self {
        let mut process = Command::new(program)
            .args(ARGUMENTS)
            .arg(format!("--collector.textfile.directory={}", textfiles.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut log = BufReader::new(process.stderr.take().expect("its log is a pipe")).lines();
        let address = loop {
            let line = log.next_line().await.expect("its log can be read").expect("it listens before it ends");
            let address = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next());
            if let Some(address) = address.filter(|_| line.contains("Listening on")) {
                break address.trim_matches('"').parse().expect("an address");
            }
        };
        // Its log must go somewhere, or it waits for a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Self { _process: process, address }
    }

    /// Its page.
    ///
    /// # Panics
    /// When it does not answer with one.
    pub async fn page(&self) -> String {
        let reply = http::get(self.address, "/metrics", &[]).await.expect("it answers");
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.text().to_owned()
    }
}
