//! `bench lines` and `bench history` on small input, with the real aggregator, so that they cannot
//! rot.

use bench::args::{Cli, Command};
use bench::figures::{HISTORY, LINES};
use bench::progress::Progress;
use bench::report::Report;
use bench::{process, run};
use clap::Parser;

/// The debug binary: tests of one package find no other's.
async fn measure(line: &str) -> Report {
    let binary = process::build("aggregator", false).expect("the aggregator builds");
    let line = format!("bench {line} --aggregator {}", binary.display());
    let progress = Progress::hidden();
    let report = match Cli::try_parse_from(line.split_whitespace()).expect("these options").command {
        Command::Lines(args) => run::lines(&args, &progress).await,
        Command::History(args) => run::history(&args, &progress).await,
        other => panic!("{line} is {other:?}"),
    };
    report.expect("a whole run")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_figure_of_puts_is_measured() {
    let report = measure("lines --connections 4 --window 50 --keys 30 --points 40 --single-puts 30").await;
    for known in LINES {
        assert!(report.get(known.name).is_some(), "{}", known.name);
    }
    let number = |name| report.number(name).unwrap();
    assert_eq!(number("puts"), 1200.0);
    for positive in ["puts_per_second", "put_cpu_us", "puts_per_second_os", "put_ms_p50", "fdatasync_ms_p50"] {
        assert!(number(positive) > 0.0, "{positive}");
    }
    assert!((1.0..=1200.0).contains(&number("points_per_sync")), "{}", number("points_per_sync"));
    assert!(number("put_ms_p99") >= number("put_ms_p50"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_figure_of_a_raw_history_is_measured() {
    let report = measure("history --keys 20 --points 30 --long-points 700 --seal-points 0 --gets 2").await;
    for known in HISTORY {
        let is_of_sealed = known.name.contains("seal");
        assert_eq!(report.get(known.name).is_some(), !is_of_sealed, "{}", known.name);
    }
    let number = |name| report.number(name).unwrap();
    assert_eq!((number("points_raw"), number("get_all_rows_raw")), (1300.0, 1300.0));
    assert!(number("get_key_ms_p50_raw") > 0.0 && number("rss_idle_mib_raw") > 1.0);
}
