//! Are the numbers true? Compared with what other programs say of the same host, which get them
//! by ways of their own: `df`, `free`, `vmstat`, `getconf`, `uname`, `date`.
//!
//! A program that is missing is skipped, and said to be; with `REQUIRE_PEERS=1` it must be there.

#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "these tests ask other programs; collectors never start anything")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says what went wrong by panicking")]
#![expect(clippy::print_stderr, reason = "what is skipped is said")]

mod peer;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use agent::collect::batch::Batch;
use agent::collect::config::Config;
use agent::collect::files::Roots;
use agent::collect::{Collector, all};
use peer::{Page, Series};

/// This host, as the agent sees it.
struct Host(Vec<(Box<dyn Collector>, Batch)>);

fn config() -> Config {
    let settings = lifecycle::Settings::from_pairs([("", ""); 0]).unwrap();
    Config::resolve(&settings, Duration::from_secs(5)).unwrap()
}

impl Host {
    fn new() -> Self {
        Self(all(&config()).into_iter().map(|collector| (collector, Batch::new())).collect())
    }

    fn page(&mut self) -> Page {
        let mut page = Page::default();
        for (collector, batch) in &mut self.0 {
            batch.begin();
            let result = collector.read(&Roots::new(None), batch);
            assert_eq!(result, Ok(()), "{}", collector.name());
            batch.finish(true);
            let mut values = batch.values().iter();
            for family in batch.layout().families() {
                for series in &family.series {
                    let labels = series.labels.0.iter().cloned().collect();
                    let value = *values.next().unwrap();
                    if !protocol::is_absent(value) {
                        page.series.insert(Series { name: family.name.clone(), labels }, value);
                    }
                }
            }
        }
        page
    }
}

/// What a program prints; `None` when it is not installed.
fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    match Command::new(program).args(arguments).env("LC_ALL", "C").output() {
        Ok(output) => {
            assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Err(error) => {
            peer::skipped(program, &error.to_string());
            None
        }
    }
}

#[track_caller]
fn check_near(what: &str, ours: f64, theirs: f64, tolerance: f64) {
    assert!((ours - theirs).abs() <= tolerance, "{what}: {ours} and {theirs} differ by more than {tolerance}");
}

#[test]
fn memory_is_what_free_says() {
    let Some(text) = ask("free", &["-b"]) else { return };
    let page = Host::new().page();
    let row = |name: &str| -> Vec<f64> {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().skip(1).map(|word| word.parse().unwrap()).collect()
    };
    let (memory, swap) = (row("Mem:"), row("Swap:"));
    let total = memory[0];
    assert_eq!(page.only("node_memory_MemTotal_bytes"), total);
    check_near("free", page.only("node_memory_MemFree_bytes"), memory[2], total * 0.1);
    check_near("available", page.only("node_memory_MemAvailable_bytes"), memory[5], total * 0.1);
    check_near("used", page.only("host_memory_used_ratio"), 1.0 - memory[5] / total, 0.1);
    assert_eq!(page.only("node_memory_SwapTotal_bytes"), swap[0]);
    let used = if swap[0] > 0.0 { swap[1] / swap[0] } else { 0.0 };
    check_near("swap", page.only("host_swap_used_ratio"), used, 0.1);
}

#[test]
fn file_systems_are_what_df_says() {
    let fields = "--output=source,fstype,itotal,iavail,size,used,avail,target";
    let Some(text) = ask("df", &["-B1", fields, "/"]) else { return };
    let page = Host::new().page();
    let words: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
    if words[1] == "overlay" {
        // In a container `/` is none of the host's file systems.
        return peer::skipped("df", "the root is an overlay");
    }
    let number = |at: usize| -> f64 { words[at].parse().unwrap() };
    let of = |name: &str| page.find(name, &[("mountpoint", "/"), ("fstype", words[1])]);
    let size = number(4);
    assert_eq!(of("node_filesystem_size_bytes"), size);
    check_near("avail", of("node_filesystem_avail_bytes"), number(6), size * 0.02);
    check_near("used", size - of("node_filesystem_free_bytes"), number(5), size * 0.02);
    check_near("ratio", of("host_filesystem_used_ratio"), 1.0 - number(6) / size, 0.02);
    // Some file systems have no fixed number of files; df prints a dash.
    if let (Ok(files), Ok(free)) = (words[2].parse::<f64>(), words[3].parse::<f64>()) {
        assert_eq!(of("node_filesystem_files"), files);
        check_near("files free", of("node_filesystem_files_free"), free, files * 0.02);
    }
}

#[test]
fn the_kernels_counters_are_what_vmstat_says() {
    let mut host = Host::new();
    let before = host.page();
    let Some(text) = ask("vmstat", &["-s"]) else { return };
    let after = host.page();
    let pairs: BTreeMap<&str, f64> = text
        .lines()
        .filter_map(|line| line.trim().split_once(' '))
        .filter_map(|(value, name)| Some((name.trim(), value.parse().ok()?)))
        .collect();
    for (name, theirs) in [
        ("node_context_switches_total", "CPU context switches"),
        ("node_forks_total", "forks"),
        ("node_boot_time_seconds", "boot time"),
    ] {
        let (low, high, theirs) = (before.only(name), after.only(name), pairs[theirs]);
        assert!(low <= theirs && theirs <= high, "{name}: {theirs} is not in {low}..={high}");
    }
    let user = |page: &Page| page.sum("node_cpu_seconds_total", &[("mode", "user")]);
    // procps divides the guests' time out of the user's.
    let guest = |page: &Page| page.sum("node_cpu_guest_seconds_total", &[("mode", "user")]);
    let theirs = pairs["non-nice user cpu ticks"] / 100.0;
    let (low, high) = (user(&before) - guest(&before) - 1.0, user(&after) + 1.0);
    assert!(low <= theirs && theirs <= high, "user time: {theirs} is not in {low}..={high}");
}

#[test]
fn the_host_is_the_one_that_uname_getconf_and_date_know() {
    let page = Host::new().page();
    if let Some(count) = ask("getconf", &["_NPROCESSORS_ONLN"]) {
        let cpus = page.series.keys().filter(|series| series.name == "node_cpu_seconds_total");
        let modes = cpus.filter(|series| series.labels["mode"] == "idle").count();
        assert_eq!(modes.to_string(), count.trim());
    }
    for (option, label) in
        [("-s", "sysname"), ("-r", "release"), ("-v", "version"), ("-m", "machine"), ("-n", "nodename")]
    {
        if let Some(text) = ask("uname", &[option]) {
            assert_eq!(page.series.keys().find(|s| s.name == "node_uname_info").unwrap().labels[label], text.trim());
        }
    }
    if let Some(seconds) = ask("date", &["+%s"]) {
        let now: f64 = seconds.trim().parse().unwrap();
        check_near("time", page.only("node_time_seconds"), now, 30.0);
        let up = now - page.only("node_boot_time_seconds");
        check_near("uptime", page.only("host_uptime_seconds"), up, 60.0);
    }
}
