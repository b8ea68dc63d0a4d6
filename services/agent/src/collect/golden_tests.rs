//! All collectors over a host made of files, compared with a page that is known to be right; and
//! over the same host with its files mangled.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use protocol::declare;
use protocol::frame::Declare;

use super::*;
use crate::collect::testing::render;

/// Families whose values are those of the machine that runs the tests.
const OF_THIS_MACHINE: &[&str] = &[
    "node_time_seconds",
    "node_filesystem_size_bytes",
    "node_filesystem_free_bytes",
    "node_filesystem_avail_bytes",
    "node_filesystem_files",
    "node_filesystem_files_free",
    "host_filesystem_used_ratio",
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// What each collector says of a host, with its error if it has one.
fn pages(root: &Path) -> Vec<(&'static str, Batch, Option<CollectError>)> {
    let roots = Roots::new(Some(root));
    let read = |mut collector: Box<dyn Collector>| {
        let mut batch = Batch::new();
        batch.begin();
        let result = collector.read(&roots, &mut batch);
        batch.finish(true);
        (collector.name(), batch, result.err())
    };
    all(Duration::from_secs(60)).into_iter().map(read).collect()
}

/// The same page on every machine.
fn portable(page: &str) -> String {
    let line = |line: &str| {
        if line.starts_with("node_uname_info") {
            let node = line.split_once("nodename=").map_or("", |(_, rest)| rest.split(',').next().unwrap_or_default());
            return format!("node_uname_info{{…,nodename={node},…}} 1\n");
        }
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        match line.rsplit_once(' ') {
            Some((series, _)) if OF_THIS_MACHINE.contains(&name) => format!("{series} …\n"),
            _ => format!("{line}\n"),
        }
    };
    page.lines().map(line).collect()
}

#[test]
fn a_host_made_of_files_gives_the_golden_page() {
    let mut page = String::new();
    for (name, batch, error) in pages(&fixtures().join("host")) {
        page += &format!("# {name}\n{}", render(&batch, true));
        if let Some(error) = error {
            page += &format!("# error: {error}\n");
        }
    }
    let page = portable(&page);
    let golden = std::fs::read_to_string(fixtures().join("host.prom")).unwrap_or_default();
    if page != golden {
        let differs = page.lines().zip(golden.lines()).find(|(got, wanted)| got != wanted);
        let got = std::env::temp_dir().join("host.prom");
        std::fs::write(&got, &page).unwrap();
        panic!("{} is not the golden page; the first line that differs: {differs:?}", got.display());
    }
}

#[test]
fn no_series_stands_in_two_sets() {
    let mut kinds = std::collections::HashMap::new();
    let mut page = String::new();
    for (_, batch, _) in pages(&fixtures().join("host")) {
        page += &render(&batch, false);
        for family in batch.layout().families() {
            let kind = kinds.entry(family.name.clone()).or_insert(family.kind);
            assert_eq!(*kind, family.kind, "{} has two types", family.name);
        }
    }
    let series = page.lines().map(|line| line.rsplit_once(' ').unwrap().0);
    let mut seen = std::collections::HashSet::new();
    assert_eq!(series.filter(|series| !seen.insert(*series)).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn without_any_file_every_collector_says_so_and_lives() {
    let empty = tempfile::tempdir().unwrap();
    for (name, batch, error) in pages(empty.path()) {
        // A clock and a kernel there is always.
        assert_eq!(error.is_none(), matches!(name, "time" | "uname"), "{name}: {error:?}");
        assert_eq!(batch.layout().dropped().map(|(_, count)| count).sum::<usize>(), 0, "{name}");
        // Then its set fails with the reason, instead of being there without a value.
        assert_eq!(batch.is_blank(), !matches!(name, "time" | "uname" | "vitals"), "{name}");
    }
}

const MANGLED: &[&str] = &[
    "proc/stat",
    "proc/meminfo",
    "proc/loadavg",
    "proc/uptime",
    "proc/diskstats",
    "proc/1/net/dev",
    "proc/1/mountinfo",
    "run/udev/data/b8:0",
    "etc/hostname",
    "sys/class/net/eth0/statistics/rx_nohandler",
    "sys/devices/system/cpu/online",
    "sys/devices/system/cpu/isolated",
    "sys/devices/system/clocksource/clocksource0/available_clocksource",
];

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// What every batch must be, whatever the host's files hold.
#[track_caller]
fn check_fit(name: &str, batch: &Batch) {
    let families = batch.layout().families().to_vec();
    assert_eq!(families.iter().map(|family| family.series.len()).sum::<usize>(), batch.values().len());
    let declared = Declare { set: 1, name: name.into(), job: None, offset: 0, total: 0, families };
    declare::check_declare(&declared).unwrap();
    let page = render(batch, false);
    let series = page.lines().map(|line| line.rsplit_once(' ').unwrap().0);
    let mut seen = std::collections::HashSet::new();
    assert_eq!(series.filter(|series| !seen.insert(*series)).collect::<Vec<_>>(), Vec::<&str>::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_stands_in_the_files_the_page_stays_valid(
        file in 0..MANGLED.len(),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), proptest::collection::vec(any::<u8>(), 0..6)), 1..6),
        end in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let root = tempfile::tempdir().unwrap();
        copy(&fixtures().join("host"), root.path());
        let path = root.path().join(MANGLED[file]);
        let mut bytes = std::fs::read(&path).unwrap();
        for (at, with) in cuts {
            let at = at.index(bytes.len());
            bytes.splice(at..(at + with.len() / 2).min(bytes.len()), with);
            bytes.push(b'\n');
        }
        if let Some(end) = end {
            bytes.truncate(end.index(bytes.len()));
        }
        std::fs::write(&path, &bytes).unwrap();
        for (name, batch, _) in pages(root.path()) {
            check_fit(name, &batch);
        }
    }
}

#[test]
fn an_enormous_file_is_read_up_to_the_limit() {
    let root = tempfile::tempdir().unwrap();
    copy(&fixtures().join("host"), root.path());
    let mut text = String::from("Inter-|\n face |\n");
    while text.len() <= files::FILE_BYTES_MAX {
        text += &format!("eth{}: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n", text.len());
    }
    std::fs::write(root.path().join("proc/1/net/dev"), &text).unwrap();
    let (_, batch, error) = pages(root.path()).into_iter().find(|(name, ..)| *name == "netdev").unwrap();
    assert!(error.unwrap().to_string().contains("longer than 1048576 bytes"));
    assert!(batch.layout().total() >= 16_000, "{}", batch.layout().total());
    check_fit("netdev", &batch);
}

#[test]
fn where_the_hosts_own_is_hidden_our_own_is_shown_and_said_to_be() {
    let root = tempfile::tempdir().unwrap();
    copy(&fixtures().join("host"), root.path());
    std::fs::rename(root.path().join("proc/1"), root.path().join("proc/self")).unwrap();
    for (name, batch, _) in pages(root.path()) {
        let page = render(&batch, false);
        let said = |hidden: u8| format!("fleetgauge_collector_own_namespace{{collector=\"{name}\"}} {hidden}\n");
        assert_eq!(page.contains(&said(1)), matches!(name, "netdev" | "filesystem"), "{name}");
        assert!(!page.contains(&said(0)), "{name}");
        if name == "netdev" {
            assert!(page.contains("node_network_receive_bytes_total{device=\"eth0\"} 354400973\n"));
        }
    }
}
