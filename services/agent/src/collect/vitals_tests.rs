use super::*;
use crate::collect::files::Roots;
use crate::collect::testing::config;

/// The host on which the tests run, seen both ways: what sysinfo says and what the files say.
#[test]
fn both_ways_tell_the_same_of_this_host() {
    let mut faults = Faults::default();
    let here = Roots::new(None);
    let (mut system, mut files) = (from_sysinfo::System::new(&config()), from_files::Files::new(&config()));
    let first = (system.signs(true, &mut faults), files.signs(&here, &mut faults));
    assert!(protocol::is_absent(first.0.cpu_used) && protocol::is_absent(first.1.cpu_used));
    let (a, mut b) = (system.signs(true, &mut faults), files.signs(&here, &mut faults));
    faults.into_result().unwrap();
    for (a, b, tolerance, what) in [
        (a.memory_used, b.memory_used, 0.02, "memory"),
        (a.swap_used, b.swap_used, 0.02, "swap"),
        (a.loads[0], b.loads[0], 0.5, "load"),
        (a.loads[2], b.loads[2], 0.5, "load"),
        (a.uptime_seconds, b.uptime_seconds, 2.0, "uptime"),
        (a.processes, from_files::processes(&here, &mut Faults::default()), 0.3 * a.processes + 20.0, "processes"),
    ] {
        assert!((a - b).abs() <= tolerance, "{what}: {a} and {b}");
    }
    let devices = |signs: &Signs| {
        let mut devices: Vec<String> = signs.networks.iter().map(|network| network.device.clone()).collect();
        devices.sort_unstable();
        devices
    };
    b.networks = files.networks(&here, &mut Faults::default());
    assert_eq!(devices(&a), devices(&b));
    let survey = &mut Survey::new(&config());
    let (mounts, _) = survey.mounts(&here, &mut Faults::default());
    let root = mounts.iter().filter_map(from_files::filesystem).find(|found| found.mountpoint == "/");
    let other = a.filesystems.iter().find(|found| found.mountpoint == "/");
    if let (Some(root), Some(other)) = (root, other) {
        assert!((root.used - other.used).abs() < 0.02, "{root:?} and {other:?}");
    }
}

#[test]
fn shares_are_between_0_and_1() {
    assert_eq!(used_ratio(25.0, 100.0, 0.0), 0.75);
    assert_eq!(used_ratio(0.0, 100.0, 0.0), 1.0);
    assert_eq!(used_ratio(130.0, 100.0, 0.0), 0.0);
    assert_eq!(used_ratio(0.0, 0.0, 0.0), 0.0);
    assert!(protocol::is_absent(used_ratio(0.0, 0.0, ABSENT)));
}

#[test]
fn the_cpus_share_is_of_the_time_between_two_readings() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("proc")).unwrap();
    let roots = Roots::new(Some(root.path()));
    let mut files = from_files::Files::new(&config());
    let mut shares = Vec::new();
    // user nice system idle iowait irq softirq steal guest guest_nice
    for line in [
        "cpu  100 0 0 900 0 0 0 0 100 0\n",
        "cpu  150 0 0 940 10 0 0 0 150 0\n",
        "cpu  150 0 0 940 10 0 0 0 150 0\n",
        "cpu  150 0 0 930 10 0 10 0 150 0\n",
    ] {
        std::fs::write(root.path().join("proc/stat"), line).unwrap();
        shares.push(files.signs(&roots, &mut Faults::default()).cpu_used);
    }
    assert!(protocol::is_absent(shares[0]), "there is nothing to compare with");
    assert_eq!(shares[1], 0.5, "50 busy and 50 idle; time for guests is not counted twice");
    assert!(protocol::is_absent(shares[2]), "no time went by");
    assert!(protocol::is_absent(shares[3]), "idle went back by as much as another went on");
}

#[test]
fn hidden_processes_are_a_fault_for_as_long_as_they_are() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("proc/7")).unwrap();
    let roots = Roots::new(Some(root.path()));
    let mut processes = from_files::Processes::new();
    for _ in 0..2 {
        let mut faults = Faults::default();
        assert_eq!(processes.count(&roots, &mut faults), 1.0);
        assert_eq!(faults.into_result().unwrap_err().kind(), "hidden");
    }
    std::fs::create_dir_all(root.path().join("proc/1")).unwrap();
    let mut faults = Faults::default();
    assert_eq!(from_files::Processes::new().count(&roots, &mut faults), 2.0);
    assert_eq!(faults.into_result(), Ok(()));
}

#[test]
fn files_without_what_is_looked_for_are_a_fault() {
    const FILES: [(&str, &str, &str); 4] = [
        ("loadavg", "1 1 1 1/2 3\n", "\n"),
        ("uptime", "1 1\n", "\n"),
        ("stat", "cpu  1 1 1 1\n", "cpu0 1 1 1 1\n"),
        ("meminfo", "MemTotal: 2 kB\nMemAvailable: 1 kB\n", "MemFree: 1 kB\n"),
    ];
    let root = tempfile::tempdir().unwrap();
    let roots = Roots::new(Some(root.path()));
    std::fs::create_dir_all(&roots.proc).unwrap();
    let put = |file: &str, text: &str| std::fs::write(roots.proc.join(file), text).unwrap();
    let fault = || {
        let mut faults = Faults::default();
        from_files::Files::new(&config()).signs(&roots, &mut faults);
        faults.into_result().map_err(|error| error.to_string())
    };
    FILES.iter().for_each(|(file, good, _)| put(file, good));
    assert_eq!(fault(), Ok(()));
    for (file, good, bad) in FILES {
        put(file, bad);
        assert!(fault().is_err_and(|error| error.starts_with(&format!("{file}: cannot make sense of"))), "{file}");
        put(file, good);
    }
}
