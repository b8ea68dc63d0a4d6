//! `bench agent` on small input, with the real agent and aggregator, so that it cannot rot.

use bench::args::{Cli, Command};
use bench::figures::AGENT;
use bench::node_exporter;
use bench::progress::Progress;
use bench::report::Report;
use bench::{process, run};
use clap::Parser;

/// Debug binaries: tests of one package find no other's. What takes 5 s is left out.
async fn agent(options: &str) -> Report {
    let [agent, aggregator] = ["agent", "aggregator"].map(|package| process::build(package, false).expect("it builds"));
    let (agent, aggregator) = (agent.display(), aggregator.display());
    let line = format!(
        "bench agent --pushes 3 --interval 100ms --scrapes 2 --usual-pushes 0 \
         --agent {agent} --aggregator {aggregator} {options}"
    );
    let Command::Agent(args) = Cli::try_parse_from(line.split_whitespace()).expect("these options").command else {
        panic!("{line} is about an agent")
    };
    run::agent(&args, &Progress::hidden()).await.expect("a whole run")
}

fn needs_node_exporter(figure: &str) -> bool {
    ["node_exporter_", "ratio_", "scrapes", "common_", "missing_"].iter().any(|start| figure.starts_with(start))
}

fn takes_five_seconds(figure: &str) -> bool {
    figure != "pushes_every_5s" && figure.ends_with("_every_5s")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_figure_is_measured() {
    let report = agent("").await;
    let peer = report.get("node_exporter").is_some_and(serde_json::Value::is_string);
    if !peer {
        println!("skipped node_exporter's figures: it is not on the PATH");
        assert!(node_exporter::on_path().is_none());
    }
    for known in AGENT {
        let wanted = !takes_five_seconds(known.name) && (peer || !needs_node_exporter(known.name));
        assert_eq!(report.get(known.name).is_some(), wanted, "{}", known.name);
    }
    let number = |name| report.number(name).unwrap();
    for positive in ["agent_cpu_ms_per_push", "agent_bytes_per_push", "agent_threads", "agent_binary_bytes"] {
        assert!(number(positive) > 0.0, "{positive}");
    }
    assert!(number("agent_rss_peak_mib") >= number("agent_rss_mib"));
    assert!(number("agent_series") > number("agent_node_series") && number("agent_node_families") > 50.0);
    if peer {
        assert!(number("common_families") > 50.0 && number("ratio_cpu_gzip") > 0.0);
    }
}
