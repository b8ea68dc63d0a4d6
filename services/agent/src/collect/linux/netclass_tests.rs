use super::*;
use crate::collect::testing::{check, config, render};

/// A host with a device.
fn host() -> (tempfile::TempDir, Roots) {
    let root = tempfile::tempdir().unwrap();
    let roots = Roots::new(Some(root.path()));
    put(&roots, "eth0", &[("operstate", "up\n"), ("flags", "0x1003\n"), ("mtu", "1500\n")]);
    (root, roots)
}

fn put(roots: &Roots, device: &str, files: &[(&str, &str)]) {
    let at = roots.sys.join("class/net").join(device);
    std::fs::create_dir_all(&at).unwrap();
    for (file, text) in files {
        std::fs::write(at.join(file), text).unwrap();
    }
}

fn page(netclass: &mut Netclass, roots: &Roots) -> String {
    let mut out = Batch::new();
    out.begin();
    netclass.read(roots, &mut out).unwrap();
    out.finish(true);
    render(&out, false)
}

#[test]
fn a_device_is_looked_at_anew_when_its_state_changes() {
    let (_root, roots) = host();
    let mut netclass = Netclass::new(&config());
    assert!(page(&mut netclass, &roots).contains("node_network_mtu_bytes{device=\"eth0\"} 1500\n"));
    put(&roots, "eth0", &[("mtu", "9000\n")]);
    assert!(page(&mut netclass, &roots).contains("} 1500\n"), "nothing seems to have changed");
    put(&roots, "eth0", &[("operstate", "down\n")]);
    let after = page(&mut netclass, &roots);
    assert!(after.contains("node_network_mtu_bytes{device=\"eth0\"} 9000\n"), "{after}");
    assert!(after.contains("node_network_up{device=\"eth0\"} 0\n"), "{after}");
}

#[test]
fn settings_are_looked_at_now_and_then() {
    let (_root, roots) = host();
    let mut netclass = Netclass::new(&config());
    page(&mut netclass, &roots);
    for (file, text, line) in [
        ("mtu", "9000\n", "node_network_mtu_bytes{device=\"eth0\"} 9000\n"),
        ("speed", "1000\n", "node_network_speed_bytes{device=\"eth0\"} 125000000\n"),
        ("address", "02:00:00:00:00:07\n", "address=\"02:00:00:00:00:07\""),
        ("duplex", "half\n", "duplex=\"half\""),
    ] {
        put(&roots, "eth0", &[(file, text)]);
        assert!(!page(&mut netclass, &roots).contains(line), "not yet");
        netclass.glanced = None;
        assert!(page(&mut netclass, &roots).contains(line), "{line}");
    }
}

#[test]
fn a_device_that_was_made_anew_is_looked_at_at_once() {
    let (_root, roots) = host();
    put(&roots, "eth0", &[("ifindex", "2\n")]);
    let mut netclass = Netclass::new(&config());
    page(&mut netclass, &roots);
    put(&roots, "eth0", &[("ifindex", "9\n"), ("mtu", "9000\n")]);
    assert!(page(&mut netclass, &roots).contains("node_network_mtu_bytes{device=\"eth0\"} 9000\n"));
}

#[test]
fn devices_come_and_go() {
    let (_root, roots) = host();
    let mut netclass = Netclass::new(&config());
    put(&roots, "veth1", &[("operstate", "up\n")]);
    std::fs::write(roots.sys.join("class/net/bonding_masters"), "bond0\n").unwrap();
    assert_eq!(page(&mut netclass, &roots).matches("node_network_up").count(), 1);
    put(&roots, "eth1", &[("operstate", "unknown\n")]);
    assert!(page(&mut netclass, &roots).contains("node_network_up{device=\"eth1\"} 0\n"));
    std::fs::remove_dir_all(roots.sys.join("class/net/eth0")).unwrap();
    assert!(!page(&mut netclass, &roots).contains("eth0"));
}

#[test]
fn a_fault_lasts_as_long_as_its_cause() {
    let (_root, roots) = host();
    put(&roots, "eth0", &[("mtu", "much\n")]);
    let mut netclass = Netclass::new(&config());
    for _ in 0..2 {
        let error = netclass.read(&roots, &mut Batch::new()).unwrap_err();
        assert!(error.to_string().ends_with("net/eth0/mtu: cannot make sense of \"much\""), "{error}");
    }
}

#[test]
fn numbers_and_words() {
    let (_root, roots) = host();
    put(
        &roots,
        "q\"\\",
        &[
            ("operstate", "dormant\n"),
            ("address", "02:00:00:00:00:01\n"),
            ("broadcast", "ff:ff:ff:ff:ff:ff\n"),
            ("duplex", "full\n"),
            ("ifalias", "to the \"core\"\n"),
            ("flags", "0x1002\n"),
            ("dev_id", "0x0\n"),
            ("speed", "4294967295\n"),
            ("carrier_changes", "3\n"),
        ],
    );
    let at = roots.sys.join("class/net/q\"\\");
    let run = |out: &mut Batch, faults: &mut Faults| {
        Device::look(&at, "q\"\\", &mut Scratch::default(), faults).unwrap().report(out);
    };
    let page = r#"node_network_up{device="q\"\\"} 0
node_network_info{device="q\"\\",address="02:00:00:00:00:01",broadcast="ff:ff:ff:ff:ff:ff",duplex="full",operstate="dormant",adminstate="down",ifalias="to the \"core\""} 1
node_network_carrier_changes_total{device="q\"\\"} 3
node_network_device_id{device="q\"\\"} 0
node_network_flags{device="q\"\\"} 4098
node_network_speed_bytes{device="q\"\\"} -125000
"#;
    check(run, page, None);
    assert_eq!(speed(10_000), 1.25e9);
}
