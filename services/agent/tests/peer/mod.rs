//! Prometheus' node_exporter on the same host, and how its page compares with ours.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Its collectors that the agent has too.
const COLLECTORS: [&str; 9] =
    ["cpu", "diskstats", "filesystem", "loadavg", "meminfo", "netdev", "stat", "time", "uname"];
/// Labels that versions before 1.9 do not have.
const NEW_LABELS: [(&str, &str); 2] = [("node_filesystem_", "device_error"), ("node_disk_info", "rotational")];
/// node_exporter says 0 for every disk where the kernel lacks any other file of a disk's queue.
const UNSURE_LABEL: &str = "rotational";
/// Families that older versions do not have.
const NEW_FAMILIES: [&str; 3] = ["node_filesystem_purgeable_bytes", "node_filesystem_mount_info", "node_cpu_online"];
/// Fields of the memory that older versions show and newer ones do not.
const OLD_FAMILIES: [&str; 7] = [
    "node_memory_Balloon_bytes",
    "node_memory_FileHugePages_bytes",
    "node_memory_FilePmdMapped_bytes",
    "node_memory_Hugetlb_bytes",
    "node_memory_KReclaimable_bytes",
    "node_memory_SecPageTables_bytes",
    "node_memory_Unaccepted_bytes",
];

/// Says that a comparison is skipped, or that it must not be.
pub(crate) fn skipped(peer: &str, why: &str) {
    assert!(std::env::var_os("REQUIRE_PEERS").is_none_or(|set| set != "1"), "{peer} is required here: {why}");
    eprintln!("skipped, nothing to compare with: {peer}: {why}");
}

/// A series' name and labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
}

/// A page of metrics.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) types: BTreeMap<String, String>,
    pub(crate) series: BTreeMap<Series, f64>,
}

impl Page {
    fn parse(text: &str) -> Self {
        let mut page = Self::default();
        for line in text.lines() {
            if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                page.types.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').expect("a series and its value");
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let labels = parse_labels(labels);
                page.series.insert(Series { name: name.to_owned(), labels }, value.parse().expect("a number"));
            }
        }
        page
    }

    /// The values of all series of this name with these labels.
    fn all<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = f64> + 'a {
        let fits = move |series: &Series| {
            let has = |(label, value): &(&str, &str)| series.labels.get(*label).is_some_and(|got| got == value);
            series.name == name && labels.iter().all(has)
        };
        self.series.iter().filter(move |(series, _)| fits(series)).map(|(_, value)| *value)
    }

    /// The value of the only series with these labels.
    pub(crate) fn find(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found: Vec<f64> = self.all(name, labels).collect();
        assert_eq!(found.len(), 1, "{name} {labels:?}");
        found[0]
    }

    pub(crate) fn only(&self, name: &str) -> f64 {
        self.find(name, &[])
    }

    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.all(name, labels).sum()
    }

    /// The label names of each family.
    fn label_names(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for series in self.series.keys() {
            names.entry(&series.name).or_default().extend(series.labels.keys().map(String::as_str));
        }
        names
    }
}

/// Reads `a="x",b="y"}` with the escapes of the text format.
fn parse_labels(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while let Some((name, tail)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut chars = tail.char_indices();
        let end = loop {
            match chars.next().expect("a closing quote") {
                (at, '"') => break at,
                (_, '\\') => match chars.next().expect("an escape").1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.insert(name.trim_start_matches(',').to_owned(), value);
        rest = &tail[end + 1..];
    }
    labels
}

/// A running node_exporter.
pub(crate) struct Exporter {
    process: Child,
    address: String,
}

impl Exporter {
    /// Starts it with the collectors that the agent has too; `None` when there is none.
    pub(crate) fn start() -> Option<Self> {
        let mut command = Command::new(find()?);
        command.arg("--collector.disable-defaults");
        command.args(COLLECTORS.map(|name| format!("--collector.{name}")));
        command.args([
            "--web.listen-address=127.0.0.1:0",
            "--collector.netdev.device-exclude=^(veth.*|[a-f0-9]{15})$",
            "--collector.filesystem.mount-points-exclude=^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)",
            "--collector.filesystem.fs-types-exclude=^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$",
            "--collector.diskstats.device-exclude=^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\\d+n\\d+p)\\d+$",
        ]);
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut log = BufReader::new(process.stderr.take().expect("its log"));
        let address = loop {
            let mut line = String::new();
            let read = log.read_line(&mut line).expect("its log can be read");
            assert!(read > 0, "node_exporter ended before it listened");
            let address = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next());
            if let Some(address) = address.filter(|_| line.contains("Listening on")) {
                break address.trim_matches('"').to_owned();
            }
        };
        // Its log must go somewhere, or it waits for a reader.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Some(Self { process, address })
    }

    /// Its page.
    pub(crate) fn page(&self) -> Page {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(" 200 "), "{head}");
        Page::parse(body)
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _gone_already = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// `PROMETHEUS_NODE_EXPORTER`, or one of its names on the path.
fn find() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("PROMETHEUS_NODE_EXPORTER") {
        return Some(PathBuf::from(given));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .flat_map(|directory| ["prometheus-node-exporter", "node_exporter"].map(|name| directory.join(name)))
        .find(|file| file.is_file());
    if found.is_none() {
        skipped("node_exporter", "not on the path, and PROMETHEUS_NODE_EXPORTER is not set");
    }
    found
}

fn is_compared(name: &str) -> bool {
    name.starts_with("node_") && !name.starts_with("node_scrape_") && name != "node_exporter_build_info"
}

/// Which families differ in being there, in type or in label names.
pub(crate) fn compare_shapes(ours: &Page, theirs: &Page) -> Vec<String> {
    let mut differences = Vec::new();
    let (our_labels, their_labels) = (ours.label_names(), theirs.label_names());
    for name in our_labels.keys().chain(their_labels.keys()).filter(|name| is_compared(name)).collect::<BTreeSet<_>>() {
        match (our_labels.get(name), their_labels.get(name)) {
            (None, _) if OLD_FAMILIES.contains(name) => {}
            (_, None) if NEW_FAMILIES.contains(name) => {}
            (None, _) => differences.push(format!("{name}: only node_exporter has it")),
            (_, None) => differences.push(format!("{name}: only the agent has it")),
            (Some(our), Some(their)) => {
                let is_new =
                    |label: &str| NEW_LABELS.iter().any(|(prefix, new)| name.starts_with(prefix) && *new == label);
                if our.iter().filter(|l| !is_new(l)).ne(their.iter().filter(|l| !is_new(l))) {
                    differences.push(format!("{name}: labels {our:?} and {their:?}"));
                }
                if ours.types.get(*name) != theirs.types.get(*name) {
                    differences.push(format!("{name}: {:?} and {:?}", ours.types.get(*name), theirs.types.get(*name)));
                }
            }
        }
    }
    differences
}

/// How many series were compared, and which have another value. What the exporter says was read
/// between our two readings: a counter of its must lie between ours.
pub(crate) fn compare_values(before: &Page, theirs: &Page, after: &Page) -> (usize, Vec<String>) {
    let mut differences = Vec::new();
    let mut compared = 0;
    for (series, their) in theirs.series.iter().filter(|(series, _)| is_compared(&series.name)) {
        if OLD_FAMILIES.contains(&series.name.as_str()) {
            continue;
        }
        let labels = series.labels.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        let wanted: Vec<(&str, &str)> = labels.filter(|(name, _)| *name != UNSURE_LABEL).collect();
        let (first, last): (Vec<f64>, Vec<f64>) =
            (before.all(&series.name, &wanted).collect(), after.all(&series.name, &wanted).collect());
        let ([first], [last]) = (first.as_slice(), last.as_slice()) else {
            differences.push(format!("{series:?}: {} and {} series", first.len(), last.len()));
            continue;
        };
        compared += 1;
        let slack = slack(&series.name, theirs);
        if *their < first.min(*last) - slack || *their > first.max(*last) + slack {
            differences.push(format!("{series:?}: {their} is not between {first} and {last}"));
        }
    }
    (compared, differences)
}

/// How far a value that goes up and down may be beside both of ours.
fn slack(name: &str, page: &Page) -> f64 {
    match name {
        _ if name.starts_with("node_memory_") => page.only("node_memory_MemTotal_bytes") * 0.05,
        _ if name.starts_with("node_filesystem_") => 1e9,
        _ if name.starts_with("node_load") => 0.5,
        "node_procs_running" | "node_procs_blocked" | "node_disk_io_now" => 100.0,
        // The times of CPUs and disks are read in hundredths or thousandths of a second.
        _ => 0.011,
    }
}
