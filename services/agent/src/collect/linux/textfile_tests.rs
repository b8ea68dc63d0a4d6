use std::fs;
use std::path::Path;
use std::time::SystemTime;

use proptest::prelude::*;

use super::*;
use crate::collect::testing::{config, render};

/// A directory of text files and what reads it.
struct Host {
    directory: tempfile::TempDir,
    collector: Textfile,
    batch: Batch,
}

impl Host {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config();
        config.textfile_directories = vec![directory.path().to_owned()];
        change(&mut config);
        Self { collector: Textfile::new(&config), directory, batch: Batch::new() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// Puts a file in place as it should be done.
    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path("new"), text).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    /// Reads all, and gives the page without helps.
    fn read(&mut self) -> (String, Result<(), CollectError>) {
        self.batch.begin();
        let result = self.collector.read(&Roots::new(None), &mut self.batch);
        self.batch.finish(result.is_ok());
        let page = render(&self.batch, true);
        let page = page.split_inclusive('\n').filter(|line| !line.starts_with("# HELP ")).collect();
        (page, result)
    }

    /// The page without what is said of the files, types as `gauge x 1`.
    fn page(&mut self) -> String {
        let page = self.read().0;
        let mut kind = "";
        let mut lines = Vec::new();
        for line in page.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(head) => kind = head.split_once(' ').unwrap().1,
                None if OWN.iter().any(|(name, _)| line.starts_with(name)) => {}
                None => lines.push(format!("{kind} {line}")),
            }
        }
        lines.join(", ")
    }

    /// The files of which a metric is 1.
    fn files(&mut self, metric: &str) -> String {
        let page = self.read().0.replace(&format!("{}/", self.directory.path().display()), "");
        let files =
            page.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix("{file=\"")?.strip_suffix("\"} 1"));
        files.collect::<Vec<_>>().join(" ")
    }

    fn scrape_error(&mut self) -> bool {
        self.read().0.contains("node_textfile_scrape_error 1\n")
    }

    fn flaws(&self) -> String {
        let clashes = self.collector.clashes.values().flatten();
        self.collector
            .files
            .values()
            .flat_map(TextSource::flaws)
            .chain(clashes)
            .map(|flaw| format!("{flaw}\n"))
            .collect()
    }
}

#[test]
fn without_a_directory_or_a_file_there_is_no_error() {
    let mut none = Host::new(|config| config.textfile_directories.clear());
    assert_eq!(none.read(), ("# TYPE node_textfile_scrape_error gauge\nnode_textfile_scrape_error 0\n".into(), Ok(())));
    assert!(!Host::new(|_| {}).scrape_error());
    let mut gone = Host::new(|config| config.textfile_directories.push("/does/not/exist".into()));
    gone.write("a.prom", "x 1\n");
    assert!(gone.scrape_error() && gone.read().1.unwrap_err().to_string().contains("/does/not/exist"));
    assert_eq!(gone.page(), "untyped x 1", "the other directory is read all the same");
}

#[test]
fn a_bad_file_or_family_hurts_only_itself() {
    let mut host = Host::new(|_| {});
    host.write("a.prom", "# TYPE good gauge\ngood 1\n");
    host.write("b.prom", "bad line\n# TYPE also_good counter\nalso_good 2");
    host.write("c.prom.part", "not read 1");
    fs::create_dir(host.path("d.prom")).unwrap();
    std::os::unix::fs::symlink("nowhere", host.path("e.prom")).unwrap();
    assert_eq!(host.page(), "gauge good 1, counter also_good 2");
    assert_eq!(host.files("fleetgauge_textfile_error"), "b.prom d.prom e.prom");
    assert!(host.scrape_error());
    assert!(host.flaws().starts_with("line 1: a value that is no number\nit is no regular file\n"), "{}", host.flaws());
    for (name, text) in [("b.prom", "also_good 3\n"), ("f.prom", "")] {
        host.write(name, text);
    }
    fs::remove_dir(host.path("d.prom")).unwrap();
    fs::remove_file(host.path("e.prom")).unwrap();
    assert_eq!(host.page(), "gauge good 1, untyped also_good 3", "a type that changes is sent as it is now");
    assert!(!host.scrape_error());
}

#[test]
fn a_pipe_is_not_waited_for() {
    let mut host = Host::new(|_| {});
    let pipe = host.path("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    std::os::unix::fs::symlink(&pipe, host.path("a.prom")).unwrap();
    host.write("b.prom", "x 1\n");
    assert_eq!(host.page(), "untyped x 1");
    assert_eq!(host.files("fleetgauge_textfile_error"), "a.prom");
}

fn set_age(path: &Path, age: Duration) {
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(lifecycle::clock::unix_seconds()) - age;
    fs::File::options().append(true).open(path).unwrap().set_modified(then).unwrap();
}

#[test]
fn an_old_file_is_not_sent_and_comes_back() {
    let mut host = Host::new(|config| config.textfile_age_max = Some(Duration::from_secs(60)));
    host.write("a.prom", "x 1\n");
    host.write("b.prom", "# TYPE x gauge\nx 2\n");
    assert_eq!(host.page(), "untyped x 1");
    assert_eq!(host.files("fleetgauge_textfile_error"), "b.prom");
    set_age(&host.path("a.prom"), Duration::from_secs(61));
    assert_eq!((host.page(), host.scrape_error()), ("gauge x 2".into(), false));
    assert_eq!(host.files("fleetgauge_textfile_expired"), "a.prom");
    host.write("a.prom", "x 3\n");
    assert_eq!(host.page(), "untyped x 3");
    assert_eq!(host.files("fleetgauge_textfile_expired"), "");
}

#[test]
fn of_what_clashes_the_first_file_is_right() {
    let mut host = Host::new(|config| config.labels = Labels::of(&[("zone", "a")]));
    host.write(
        "a.prom",
        "# HELP x First.\n# TYPE x gauge\nx{n=\"1\"} 1\nx{n=\"1\",zone=\"a\"} 2\nx{n=\"1\",zone=\"b\"} 3\n",
    );
    host.write("b.prom", "# HELP x Second.\n# TYPE x gauge\nx{n=\"2\"} 4\nx{n=\"1\"} 5\ny{instance=\"b\"} 6\n");
    host.write("c.prom", "# TYPE x counter\nx{n=\"3\"} 7\nz 8\nfleetgauge_textfile_error{file=\"/b\"} 9\n");
    let page = "gauge x{n=\"1\"} 1, gauge x{n=\"1\",zone=\"b\"} 3, gauge x{n=\"2\"} 4, untyped z 8";
    assert_eq!(host.page(), page);
    let flaws = host.flaws();
    for flaw in [
        "line 4: a series that stands twice",
        "line 4: a series that stands twice",
        "line 5: y: label \"instance\" is not an agent's to set",
        "line 2: x is a Counter here, in a file before a Gauge",
        "line 4: a metric that tells of text files",
    ] {
        assert!(flaws.contains(flaw), "{flaws}");
    }
    let dropped: Vec<usize> = host.batch.layout().dropped().map(|(_, count)| count).collect();
    assert_eq!(dropped, [2, 2, 0], "unfit, duplicate, limit");
    assert_eq!(host.page(), page, "and so the next time");
    assert_eq!(host.batch.layout().families().iter().find(|family| family.name == "x").unwrap().help, "First.");
}

#[test]
fn files_are_read_only_when_they_have_changed() {
    let mut host = Host::new(|_| {});
    host.write("a.prom", "x 1\n");
    host.page();
    let layout = std::sync::Arc::clone(host.batch.layout());
    let is_read = |host: &mut Host| host.collector.refresh(0.0).0;
    assert!(!is_read(&mut host));
    host.write("a.prom", "x 2\n");
    assert!(is_read(&mut host) && !is_read(&mut host));
    assert_eq!(host.page(), "untyped x 2");
    assert!(std::sync::Arc::ptr_eq(&layout, host.batch.layout()), "the same series are not declared anew");
    fs::remove_file(host.path("a.prom")).unwrap();
    assert_eq!(host.page(), "");
}

#[test]
fn limits_are_said() {
    let mut host = Host::new(|_| {});
    for number in 0..=FILES_MAX {
        host.write(&format!("{number:03}.prom"), format!("x{{n=\"{number}\"}} 1\n"));
    }
    let (page, result) = host.read();
    assert_eq!(page.lines().filter(|line| line.starts_with("x{")).count(), FILES_MAX);
    assert_eq!(result.unwrap_err().to_string(), "text files: more than 200, the others are not shown");

    let mut host = Host::new(|_| {});
    host.write("a.prom", "x 1\n".to_owned() + &"# a long comment\n".repeat(70_000) + "y 2\n");
    assert_eq!(host.page(), "untyped x 1");
    assert!(host.flaws().contains("longer than 1048576 bytes"));
}

/// How many series of `x` the page has, and which files are not whole on it.
fn counts(host: &mut Host) -> (usize, String) {
    let count = host.page().matches("untyped x{").count();
    (count, host.files("fleetgauge_textfile_error"))
}

#[test]
fn samples_have_limits_of_a_file_and_together() {
    let mut host = Host::new(|_| {});
    let text = |name: &str, n: usize| (0..n).map(|at| format!("x{{{name}=\"{at}\"}} 1\n")).collect::<String>();
    host.write("a.prom", text("a", 10_001));
    host.write("b.prom", text("b", 6_000));
    host.write("c.prom", text("c", 5_000));
    assert_eq!(counts(&mut host), (20_000, "a.prom c.prom".into()));
    assert!(host.flaws().contains("line 10001: more samples than are taken"), "{}", host.flaws());
    host.write("a.prom", text("a", 9_500));
    assert_eq!(counts(&mut host), (20_000, "c.prom".into()), "what one leaves another has");
    host.write("a.prom", text("a", 9_000));
    assert_eq!(counts(&mut host), (20_000, String::new()));
    host.write("a.prom", text("a", 10_000));
    assert_eq!(counts(&mut host), (20_000, "c.prom".into()));
}

#[test]
fn a_long_file_takes_no_more_room_than_is_read_of_it() {
    let mut host = Host::new(|_| {});
    host.write("a.prom", "x 1\n");
    fs::File::options().append(true).open(host.path("a.prom")).unwrap().set_len(16 << 20).unwrap();
    host.write("b.prom", "y 2\n");
    assert_eq!(host.page(), "untyped x 1, untyped y 2");
    assert_eq!(host.files("fleetgauge_textfile_error"), "a.prom");
}

#[test]
fn other_names_in_a_directory_do_not_hide_a_file() {
    let mut host = Host::new(|config| config.textfile_directories.push(config.textfile_directories[0].join(".")));
    (0..12_000).for_each(|n| drop(fs::File::create(host.path(&format!("{n}.txt"))).unwrap()));
    host.write("z.prom", "x 1\n");
    assert_eq!((host.page().as_str(), host.scrape_error()), ("untyped x 1", false), "the second name is the first's");
    assert_eq!(host.read().0.matches("node_textfile_mtime_seconds{").count(), 1);
}

#[test]
fn two_metrics_with_a_name_in_common_are_an_error() {
    let mut host = Host::new(|_| {});
    host.write("a.prom", "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n");
    host.write("b.prom", "h_count 5\n");
    assert_eq!(host.files("fleetgauge_textfile_error"), "b.prom");
    assert!(host.scrape_error() && host.flaws().contains("line 1: h_count and h would have a name in common"));
    assert_eq!(host.batch.layout().complaint(), None, "it is said once");
}

#[test]
fn a_file_that_is_replaced_while_it_is_read_is_one_or_the_other() {
    let mut host = Host::new(|_| {});
    let text = |n: usize| (0..n * 100).map(|line| format!("x{{line=\"{line}\"}} {n}\n")).collect::<String>();
    host.write("a.prom", text(1));
    let (directory, stop) = (host.directory.path().to_owned(), std::sync::atomic::AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in (1..4).cycle() {
                fs::write(directory.join("new"), text(n)).unwrap();
                fs::rename(directory.join("new"), directory.join("a.prom")).unwrap();
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
            }
        });
        let pages: Vec<String> = (0..200).map(|_| host.page()).collect();
        // Whatever is wrong, the thread must stop.
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for lines in pages {
            let values: HashSet<&str> = lines.split(", ").map(|line| line.rsplit_once(' ').unwrap().1).collect();
            assert_eq!(values.len(), 1);
            let n: usize = values.into_iter().next().unwrap().parse().unwrap();
            assert_eq!(lines.split(", ").count(), n * 100);
        }
    });
}

#[test]
fn a_file_that_is_written_in_place_is_right_the_next_time() {
    let mut host = Host::new(|_| {});
    let (path, stop) = (host.path("a.prom"), std::sync::atomic::AtomicBool::new(false));
    let text = "# TYPE x gauge\n".to_owned() + &"x{n=\"1\"} 1\n".repeat(1000);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                fs::write(&path, &text).unwrap();
            }
        });
        for _ in 0..200 {
            host.page();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    fs::write(&path, "x 2\n").unwrap();
    assert_eq!((host.page(), host.scrape_error()), ("untyped x 2".into(), false));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Lines put together from what lines are made of, and any bytes.
    #[test]
    fn any_text_gives_a_valid_batch(
        texts in proptest::collection::vec(proptest::collection::vec(line(), 0..12), 1..4),
    ) {
        let mut host = Host::new(|config| config.labels = Labels::of(&[("zone", "a")]));
        for round in 0..2 {
            for (number, lines) in texts.iter().enumerate() {
                let lines: Vec<&[u8]> = lines.iter().skip(round).map(Vec::as_slice).collect();
                host.write(&format!("{number}.prom"), lines.join(&b'\n'));
            }
            host.read().1.unwrap();
            crate::collect::golden_tests::check_fit("textfile", &host.batch);
        }
    }
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let parts = prop::sample::select(vec![
        "# HELP ",
        "# TYPE ",
        "x",
        "x_count",
        "x_bucket",
        "x_sum",
        "y ",
        " counter",
        " gauge",
        " histogram",
        " summary",
        "{",
        "}",
        "le=\"1\"",
        "le=\"+Inf\"",
        "quantile=\"0.5\"",
        "zone=\"a\"",
        "a=\"\"",
        "instance=\"i\"",
        ",",
        " ",
        " 1",
        " 2",
        " NaN",
        " +Inf",
        "\\",
        "\"",
        "up",
        "node_textfile_scrape_error",
        "\r",
        "ü",
    ]);
    let made = proptest::collection::vec(parts, 0..8).prop_map(|parts| parts.concat().into_bytes());
    let heads =
        prop::sample::select(vec!["# TYPE x histogram", "# TYPE x summary", "# TYPE x gauge", "x_count 1", "x 1"]);
    prop_oneof![
        4 => made,
        3 => heads.prop_map(|head| head.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ]
}
