//! Hosts that do not show everything: files that are hidden, or empty.

use super::*;

/// Collectors whose files show each reader its own namespace.
const OF_A_NAMESPACE: &[&str] = &[
    "arp",
    "conntrack",
    "filesystem",
    "ipvs",
    "netdev",
    "netstat",
    "nfs",
    "nfsd",
    "sockstat",
    "tcpstat",
    "udp_queues",
];

#[test]
fn where_the_hosts_own_is_hidden_our_own_is_shown_and_said_to_be() {
    let root = tempfile::tempdir().unwrap();
    copy(&fixtures().join("vm"), root.path());
    std::fs::rename(root.path().join("proc/1"), root.path().join("proc/self")).unwrap();
    for (name, batch, _) in pages(root.path()) {
        let page = render(&batch, false);
        let said = |hidden: u8| format!("fleetgauge_collector_own_namespace{{collector=\"{name}\"}} {hidden}\n");
        assert_eq!(page.contains(&said(1)), OF_A_NAMESPACE.contains(&name), "{name}");
        assert!(!page.contains(&said(0)), "{name}");
        if name == "netdev" {
            assert!(page.contains("node_network_receive_bytes_total{device=\"eth0\"} 354400973\n"));
        }
    }
}

/// Files that hold something on every host, and who reads them.
const NEVER_EMPTY: &[(&str, &[&str])] = &[
    ("stat", &["cpu", "stat", "vitals"]),
    ("diskstats", &["diskstats"]),
    ("loadavg", &["loadavg", "vitals"]),
    ("meminfo", &["meminfo", "vitals"]),
    ("uptime", &["vitals"]),
    ("vmstat", &["vmstat"]),
    ("sys/fs/file-nr", &["filefd"]),
    ("1/net/arp", &["arp"]),
    ("1/net/dev", &["netdev", "vitals"]),
    ("1/net/netstat", &["netstat"]),
    ("1/net/snmp", &["netstat"]),
    ("1/net/snmp6", &["netstat"]),
    ("1/net/sockstat", &["sockstat"]),
    ("1/net/sockstat6", &["sockstat"]),
    ("1/net/softnet_stat", &["softnet"]),
    ("1/net/tcp", &["tcpstat"]),
    ("1/net/tcp6", &["tcpstat"]),
    ("1/net/udp", &["udp_queues"]),
    ("1/net/udp6", &["udp_queues"]),
];

#[test]
fn an_empty_file_is_a_fault_of_those_who_read_it() {
    let root = tempfile::tempdir().unwrap();
    copy(&fixtures().join("vm"), root.path());
    for (file, readers) in NEVER_EMPTY {
        let path = root.path().join("proc").join(file);
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        for (name, _, error) in pages(root.path()) {
            let said = error.map(|error| error.to_string());
            let expected = readers.contains(&name).then(|| format!("{file}: empty"));
            assert_eq!(said, expected, "{name}");
        }
        std::fs::write(&path, text).unwrap();
    }
}
