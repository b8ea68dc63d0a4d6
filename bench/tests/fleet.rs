//! The whole bench on small input, against the real aggregator, so that it cannot rot.
//!
//! Builds the aggregator's debug binary first: tests of one package find no other's binaries.

use std::path::PathBuf;
use std::sync::OnceLock;

use bench::aggregator::Aggregator;
use bench::args::{Cli, Command};
use bench::figures::FLEET;
use bench::progress::Progress;
use bench::report::Report;
use bench::{process, run};
use clap::Parser;

const SMALL: &str =
    "--agents 5 --series 150 --rounds 2 --interval 100ms --scrapes 2 --probes 15 --window 300ms --pairs 2";

fn binary() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| process::build("aggregator", false).expect("the aggregator builds"))
}

async fn fleet(options: &str) -> Report {
    let line = format!("bench fleet {SMALL} {options}");
    let Command::Fleet(args) = Cli::try_parse_from(line.split_whitespace()).expect("these options").command else {
        panic!("{line} is about a fleet")
    };
    run::fleet(&args, &Progress::hidden()).await.expect("a whole run")
}

fn is_about_the_gateway(figure: &str) -> bool {
    figure.starts_with("pushgateway") || figure.starts_with("ratio_")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_figure_is_measured() {
    let report = fleet(&format!("--aggregator {}", binary().display())).await;
    let gateway = process::on_path("prometheus-pushgateway").is_some();
    if !gateway {
        println!("skipped the push gateway's figures: prometheus-pushgateway is not on the PATH");
    }
    for known in FLEET {
        let measured = report.get(known.name);
        assert_eq!(measured.is_some(), gateway || !is_about_the_gateway(known.name), "{}", known.name);
        // A slowdown may be anything below 1 on so small a fleet.
        if let Some(number) = measured.and_then(serde_json::Value::as_f64) {
            assert!(number > 0.0 || known.name == "ingest_slowdown_while_scraped", "{} is {number}", known.name);
        }
    }
    let number = |name| report.number(name).unwrap();
    assert_eq!((number("agents"), number("series")), (5.0, 150.0));
    let page = number("page_bytes");
    assert!((100_000.0..160_000.0).contains(&page), "750 series of about 100 bytes, and its own: {page}");
    assert!(number("page_gzip_bytes") < number("page_bytes") / 3.0);
    assert!(number("visible_ms_p50") <= number("visible_ms_p99"));
    assert!(number("pages_checked") >= 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregator_that_is_already_running_is_only_looked_at_from_outside() {
    let aggregator = Aggregator::start(binary()).await.unwrap();
    let target = aggregator.target();
    let report = fleet(&format!("--link {} --http {}", target.link, target.http)).await;
    for measured in ["samples_per_second", "scrape_plain_ms_p50", "scrape_gzip_ms_p50", "visible_ms_p99"] {
        assert!(report.number(measured).unwrap() > 0.0, "{measured}");
    }
    for left_out in ["ingest_cpu_us_per_sample", "aggregator_rss_mib", "scrape_plain_ms_p50_at_10000_series"] {
        assert_eq!(report.get(left_out), None);
    }
    // It is still there, the fleet is gone from it, and the binary says the same in one line.
    let json = last_line_of_bench(&format!("fleet {SMALL} --link {} --http {} --json", target.link, target.http));
    let again: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(again.get("agents"), report.get("agents"));
    assert!(again.get("page_bytes").is_some_and(|bytes| bytes.as_u64() > Some(60_000)), "{json}");
    aggregator.stop().await.unwrap();
}

#[expect(clippy::disallowed_methods, reason = "runs the binary that is tested")]
fn last_line_of_bench(arguments: &str) -> String {
    let mut bench = std::process::Command::new(env!("CARGO_BIN_EXE_bench"));
    let output = bench.args(arguments.split_whitespace()).output().expect("it was just built");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned()
}
