//! All collectors over hosts made of files, compared with pages that are known to be right; and
//! over the same hosts with their files mangled.
//!
//! `UPDATE_GOLDEN=1` writes the pages as they are now; read the difference before you keep it.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use protocol::declare;
use protocol::frame::Declare;

use super::*;
use crate::collect::testing::{config, render, render_whole};

#[path = "golden_tests/hidden.rs"]
mod hidden;

/// Families whose values are those of the machine that runs the tests: 0 in the golden pages.
const OF_THIS_MACHINE: &[&str] = &[
    "node_time_seconds",
    "node_filesystem_size_bytes",
    "node_filesystem_free_bytes",
    "node_filesystem_avail_bytes",
    "node_filesystem_files",
    "node_filesystem_files_free",
    "node_textfile_mtime_seconds",
    "host_filesystem_used_ratio",
    "node_timex_estimated_error_seconds",
    "node_timex_frequency_adjustment_ratio",
    "node_timex_loop_time_constant",
    "node_timex_maxerror_seconds",
    "node_timex_offset_seconds",
    "node_timex_pps_calibration_total",
    "node_timex_pps_error_total",
    "node_timex_pps_frequency_hertz",
    "node_timex_pps_jitter_seconds",
    "node_timex_pps_jitter_total",
    "node_timex_pps_shift_seconds",
    "node_timex_pps_stability_exceeded_total",
    "node_timex_pps_stability_hertz",
    "node_timex_status",
    "node_timex_sync_status",
    "node_timex_tai_offset_seconds",
    "node_timex_tick_seconds",
    "node_sockstat_TCP_mem_bytes",
    "node_sockstat_UDP_mem_bytes",
];

/// A cloud's virtual machine; a server with much hardware; a Raspberry Pi; an old kernel with
/// version 1 of cgroups; a laptop.
const HOSTS: &[&str] = &["vm", "server", "pi", "old", "laptop"];

/// Where hosts have text files, if they have any.
const TEXT_FILES: &str = "var/lib/textfiles";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// What each collector says of a host, with its error if it has one.
fn pages(root: &Path) -> Vec<(&'static str, Batch, Option<CollectError>)> {
    // What a container would see of itself stands in a directory of its own.
    let roots = Roots { own: root.join("own"), ..Roots::new(Some(root)) };
    let read = |mut collector: Box<dyn Collector>| {
        let mut batch = Batch::new();
        batch.begin();
        let result = collector.read(&roots, &mut batch);
        batch.finish(true);
        (collector.name(), batch, result.err())
    };
    let texts = root.join(TEXT_FILES);
    let textfile_directories = if texts.is_dir() { vec![texts] } else { vec![] };
    all(&Config { textfile_directories, ..config() }).into_iter().map(read).collect()
}

/// The same page on every machine.
fn portable(page: &str) -> String {
    let line = |line: &str| {
        if line.starts_with("node_uname_info") {
            let node = line.split_once("nodename=").map_or("", |(_, rest)| rest.split(',').next().unwrap_or_default());
            return format!("node_uname_info{{nodename={node}}} 1\n");
        }
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        match line.rsplit_once(' ') {
            Some((series, _)) if OF_THIS_MACHINE.contains(&name) => format!("{series} 0\n"),
            _ => format!("{line}\n"),
        }
    };
    page.lines().map(line).collect()
}

/// The page of a host made of files, collectors in their order.
fn page_of(host: &str) -> String {
    let mut page = String::new();
    for (name, batch, error) in pages(&fixtures().join(host)) {
        if batch.is_blank() && error.is_none() {
            continue;
        }
        page += &format!("# {name}\n{}", render_whole(&batch));
        if let Some(error) = error {
            page += &format!("# error: {error}\n");
        }
    }
    portable(&page.replace(&format!("{}/", fixtures().join(host).display()), "/"))
}

#[test]
#[expect(clippy::disallowed_methods, reason = "asked for by whoever runs the tests")]
fn hosts_made_of_files_give_their_golden_pages() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for host in HOSTS {
        let page = page_of(host);
        let path = fixtures().join(format!("{host}.prom"));
        if update {
            std::fs::write(&path, &page).unwrap();
            continue;
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        let differs = page.lines().zip(golden.lines()).find(|(got, wanted)| got != wanted);
        let (got, wanted) = (page.lines().count(), golden.lines().count());
        assert!(
            page == golden,
            "{} is another page ({got} lines, there {wanted}); the first that differs: {differs:?}; \
             UPDATE_GOLDEN=1 writes it anew",
            path.display()
        );
    }
}

#[test]
fn no_series_stands_in_two_sets_and_no_family_has_two_types() {
    let mut kinds = std::collections::HashMap::new();
    for host in HOSTS {
        let mut page = String::new();
        for (_, batch, _) in pages(&fixtures().join(host)) {
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
}

/// Collectors that have something to say on a host without any file: of a clock, of the kernel.
const NEED_NO_FILE: &[&str] = &["textfile", "time", "timex", "uname", "vitals"];
/// Collectors of what every host has; the others are about what it may have.
const OF_EVERY_HOST: &[&str] = &[
    "arp",
    "cpu",
    "diskstats",
    "entropy",
    "filefd",
    "filesystem",
    "interrupts",
    "loadavg",
    "meminfo",
    "netclass",
    "netdev",
    "netstat",
    "processes",
    "sockstat",
    "softnet",
    "stat",
    "tcpstat",
    "udp_queues",
    "uname",
    "vitals",
    "vmstat",
];

#[test]
fn without_any_file_every_collector_says_so_and_lives() {
    let empty = tempfile::tempdir().unwrap();
    for (name, batch, error) in pages(empty.path()) {
        assert_eq!(
            error.is_some(),
            OF_EVERY_HOST.contains(&name),
            "{name}: {error:?}; what every host has stands in OF_EVERY_HOST, what it may have is read with read_if_there"
        );
        assert_eq!(batch.layout().dropped().map(|(_, count)| count).sum::<usize>(), 0, "{name}");
        // Then its set fails with the reason, instead of being there without a value.
        assert_eq!(batch.is_blank(), !NEED_NO_FILE.contains(&name), "{name}: should it stand in NEED_NO_FILE?");
    }
}

/// The files below a directory.
fn files_below(directory: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(directory).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(std::fs::DirEntry::path);
    for entry in entries {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => files_below(&entry.path(), into),
            kind if kind.is_file() => into.push(entry.path()),
            _ => {}
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy(&from, &to),
            kind if kind.is_symlink() => std::os::unix::fs::symlink(std::fs::read_link(from).unwrap(), to).unwrap(),
            _ => drop(std::fs::copy(from, to).unwrap()),
        }
    }
}

/// What every batch must be, whatever the host's files hold.
#[track_caller]
pub(super) fn check_fit(name: &str, batch: &Batch) {
    let families = batch.layout().families().to_vec();
    assert_eq!(families.iter().map(|family| family.series.len()).sum::<usize>(), batch.values().len());
    let declared = Declare { set: 1, name: name.into(), job: None, offset: 0, total: 0, families };
    declare::check_declare(&declared).unwrap();
    let page = render(batch, false);
    let series = page.lines().map(|line| line.rsplit_once(' ').unwrap().0);
    let mut seen = std::collections::HashSet::new();
    assert_eq!(series.filter(|series| !seen.insert(*series)).collect::<Vec<_>>(), Vec::<&str>::new());
}

/// A copy of a host's files, made once: a case mangles some of them and puts them right again.
struct Patient {
    root: tempfile::TempDir,
    /// Relative to the host's root.
    files: Vec<PathBuf>,
    host: &'static str,
}

/// The files that a case mangled; they are put right at its end, however it ends.
struct Mangled<'a>(&'a Patient, Vec<&'a PathBuf>);

impl Drop for Mangled<'_> {
    fn drop(&mut self) {
        for file in &self.1 {
            std::fs::copy(fixtures().join(self.0.host).join(file), self.0.root.path().join(file)).unwrap();
        }
    }
}

impl Patient {
    fn new(host: &'static str) -> Self {
        let root = tempfile::tempdir().unwrap();
        copy(&fixtures().join(host), root.path());
        let mut files = Vec::new();
        files_below(root.path(), &mut files);
        let files = files.iter().map(|file| file.strip_prefix(root.path()).unwrap().to_owned()).collect();
        Self { root, files, host }
    }

    fn mangle(&self, edits: &[(prop::sample::Index, Edit)]) -> Mangled<'_> {
        let mut mangled = Mangled(self, vec![]);
        for (file, edit) in edits {
            let file = file.get(&self.files);
            mangled.1.push(file);
            let path = self.root.path().join(file);
            let mut bytes = std::fs::read(&path).unwrap_or_default();
            if edit.apply(&mut bytes) {
                std::fs::write(path, &bytes).unwrap();
            } else {
                let _may_be_gone = std::fs::remove_file(path);
            }
        }
        mangled
    }
}

/// What may happen to a file.
#[derive(Debug, Clone)]
enum Edit {
    Splice(prop::sample::Index, Vec<u8>),
    Word(prop::sample::Index, &'static str),
    Cut(prop::sample::Index),
    Repeat(prop::sample::Index),
    Replace(Vec<u8>),
    Remove,
}

impl Edit {
    /// Does it to a file's bytes; `false`: the file is to go.
    fn apply(&self, bytes: &mut Vec<u8>) -> bool {
        match self {
            Self::Splice(at, with) => {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..(at + with.len() / 2).min(bytes.len()), with.iter().copied());
            }
            Self::Word(at, word) => {
                let words: Vec<&[u8]> = bytes.split(u8::is_ascii_whitespace).collect();
                let chosen = at.index(words.len());
                let start: usize = words.iter().take(chosen).map(|word| word.len() + 1).sum();
                let end = start + words[chosen].len();
                bytes.splice(start..end, word.bytes());
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len() + 1)),
            Self::Repeat(at) => {
                let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
                let line = lines.get(at.index(lines.len().max(1))).map(|line| line.to_vec()).unwrap_or_default();
                bytes.extend(line.repeat(3));
            }
            Self::Replace(with) => bytes.clone_from(with),
            Self::Remove => return false,
        }
        true
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    let words = prop::sample::select(vec![
        "",
        "-1",
        "0",
        "18446744073709551615",
        "99999999999999999999999",
        "-9223372036854775808",
        "1e308",
        "nan",
        "0x",
        "4294967296",
        "\"",
        "\\",
        "=",
        ":",
        "{}",
        "\u{fffd}",
        "../../..",
    ]);
    prop_oneof![
        4 => (any::<prop::sample::Index>(), proptest::collection::vec(any::<u8>(), 0..6))
            .prop_map(|(at, with)| Edit::Splice(at, with)),
        6 => (any::<prop::sample::Index>(), words).prop_map(|(at, word)| Edit::Word(at, word)),
        2 => any::<prop::sample::Index>().prop_map(Edit::Cut),
        2 => any::<prop::sample::Index>().prop_map(Edit::Repeat),
        1 => proptest::collection::vec(any::<u8>(), 0..200).prop_map(Edit::Replace),
        1 => Just(Edit::Remove),
    ]
}

/// More: `PROPTEST_CASES=100000 cargo test --release -p agent whatever_stands`.
#[test]
fn whatever_stands_in_the_files_the_page_stays_valid() {
    let patients: Vec<Patient> = HOSTS.iter().map(|host| Patient::new(host)).collect();
    let edits = proptest::collection::vec((any::<prop::sample::Index>(), edit()), 1..12);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let run = |(host, edits): (prop::sample::Index, Vec<_>)| {
        let patient = host.get(&patients);
        let _mangled = patient.mangle(&edits);
        for (name, batch, _) in pages(patient.root.path()) {
            check_fit(name, &batch);
        }
        Ok(())
    };
    TestRunner::new(config).run(&(any::<prop::sample::Index>(), edits), run).unwrap();
}

#[test]
fn an_enormous_file_is_read_up_to_the_limit() {
    let root = tempfile::tempdir().unwrap();
    copy(&fixtures().join("vm"), root.path());
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
