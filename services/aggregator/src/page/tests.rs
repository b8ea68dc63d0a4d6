//! Pages of agents that say all kinds of things.

use protocol::frame::{Declare, Family as Sent, MetricType, Series};
use protocol::{ABSENT, AgentName, Labels};

use super::encode::{Encoder, Format, Times, pieces};
use super::*;
use crate::fleet::declared::{Builder, Identity};
use crate::fleet::families::Families;

/// A page as one text.
pub(crate) fn text(page: &Page, format: Format) -> String {
    written(page, format, Times::Hidden)
}

fn written(page: &Page, format: Format, times: Times) -> String {
    let encoder = Encoder::new(page, format, times);
    let mut out = Vec::new();
    for piece in pieces(page) {
        encoder.write(page, piece, &mut out);
    }
    encoder.finish(&mut out);
    String::from_utf8(out).unwrap()
}

fn family(name: &str, kind: MetricType, series: &[(&str, &[(&str, &str)])]) -> Sent {
    let series =
        series.iter().map(|(suffix, labels)| Series { suffix: (*suffix).into(), labels: Labels::of(labels) }).collect();
    Sent { name: name.into(), kind, help: format!("About {name}."), unit: String::new(), series }
}

fn shown(table: &Families, agent: &str, families: Vec<Sent>, values: &[f64]) -> Shown {
    let identity = Identity::new(&AgentName::parse(agent).unwrap(), "node", &Labels::default());
    let mut builder = Builder::new("set", identity);
    builder.add(&Declare { set: 1, name: "set".into(), job: None, offset: 0, total: 0, families }).unwrap();
    let declared = Arc::new(builder.finish().unwrap());
    assert_eq!(declared.len(), values.len());
    Shown {
        families: table.claim(&declared.claims),
        declared,
        present: values.len(),
        values: Arc::new(values.to_vec()),
        measured_ms: None,
    }
}

#[test]
fn families_are_sorted_and_stand_once_whoever_sends_them() {
    let table = Families::default();
    let one = |name| family(name, MetricType::Gauge, &[("", &[])]);
    let page = Page::new(vec![
        shown(&table, "h1", vec![one("z"), one("a")], &[1.0, 2.0]),
        shown(&table, "h2", vec![one("a"), one("m"), one("z")], &[3.0, f64::NAN, ABSENT]),
    ]);
    assert_eq!(
        text(&page, Format::Text),
        "# HELP a About a.\n# TYPE a gauge\n\
         a{instance=\"h1\",job=\"node\"} 2\na{instance=\"h2\",job=\"node\"} 3\n\
         # HELP m About m.\n# TYPE m gauge\nm{instance=\"h2\",job=\"node\"} NaN\n\
         # HELP z About z.\n# TYPE z gauge\nz{instance=\"h1\",job=\"node\"} 1\n"
    );
}

#[test]
fn open_metrics_keeps_its_stricter_rules() {
    let table = Families::default();
    let mut seconds = family("t_seconds_total", MetricType::Counter, &[("", &[])]);
    seconds.unit = "seconds".into();
    seconds.help = "A \"quoted\" \\ one\nand another.".into();
    let mut unfit = family("t_bytes", MetricType::Gauge, &[("", &[])]);
    unfit.unit = "seconds".into();
    unfit.help = String::new();
    let page = Page::new(vec![shown(
        &table,
        "h",
        vec![
            seconds,
            unfit,
            family("plain", MetricType::Counter, &[("", &[])]),
            family("u", MetricType::Untyped, &[("", &[])]),
            family("taken_total", MetricType::Counter, &[("", &[])]),
            family("taken", MetricType::Gauge, &[("", &[])]),
            family("made_total", MetricType::Counter, &[("", &[])]),
            family("made_created", MetricType::Gauge, &[("", &[])]),
        ],
        &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
    )]);
    let text = text(&page, Format::OpenMetrics);
    let comments: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(
        comments,
        [
            "# HELP made_created About made_created.",
            "# TYPE made_created gauge",
            "# HELP made_total About made_total.",
            "# TYPE made_total unknown",
            "# HELP plain About plain.",
            "# TYPE plain unknown",
            "# TYPE t_bytes gauge",
            "# HELP t_seconds A \\\"quoted\\\" \\\\ one\\nand another.",
            "# TYPE t_seconds counter",
            "# UNIT t_seconds seconds",
            "# HELP taken About taken.",
            "# TYPE taken gauge",
            "# HELP taken_total About taken_total.",
            "# TYPE taken_total unknown",
            "# HELP u About u.",
            "# TYPE u unknown",
            "# EOF",
        ]
    );
    assert!(text.contains("\nt_seconds_total{instance=\"h\",job=\"node\"} 1\n"));
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn values_read_back_as_they_were() {
    let table = Families::default();
    let values = [
        0.0,
        -0.0,
        1e15,
        1e21,
        0.1,
        1e-7,
        f64::MAX,
        f64::MIN_POSITIVE,
        f64::INFINITY,
        f64::NEG_INFINITY,
        123_456_789_012.5,
    ];
    let labels: Vec<String> = (0..values.len()).map(|i| i.to_string()).collect();
    let labels: Vec<[(&str, &str); 1]> = labels.iter().map(|label| [("i", label.as_str())]).collect();
    let series: Vec<(&str, &[(&str, &str)])> = labels.iter().map(|labels| ("", labels.as_slice())).collect();
    let page = Page::new(vec![shown(&table, "h", vec![family("v", MetricType::Gauge, &series)], &values)]);
    let text = text(&page, Format::Text);
    let read = text.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit(' ').next().unwrap());
    let read: Vec<f64> = read.map(|value| value.trim_start_matches('+').parse().unwrap()).collect();
    assert_eq!(read.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), values.map(f64::to_bits));
}

#[test]
fn a_page_is_the_same_however_it_is_cut_into_pieces() {
    let table = Families::default();
    let names: Vec<String> = (0..9000).map(|i| i.to_string()).collect();
    let labels: Vec<[(&str, &str); 1]> = names.iter().map(|name| [("i", name.as_str())]).collect();
    let series = |range: Range<usize>| -> Vec<(&str, &[(&str, &str)])> {
        labels[range].iter().map(|labels| ("", labels.as_slice())).collect()
    };
    // (A series takes 53 bytes here with its value, so a piece has about 20,000.) Runs that end before, at and behind the end of a piece, and families without series.
    for lengths in [[9000, 0, 1], [8192, 8192, 3], [8191, 1, 8192], [1, 0, 0], [0, 0, 0], [4096, 4096, 4096]] {
        let sets: Vec<Shown> = lengths
            .iter()
            .enumerate()
            .map(|(agent, length)| {
                let families = vec![
                    family("a", MetricType::Gauge, &series(0..length / 3)),
                    family("b", MetricType::Gauge, &series(length / 3..*length)),
                    family("c", MetricType::Gauge, &[]),
                ];
                let values: Vec<f64> = (0..*length).map(|i| i as f64).collect();
                shown(&table, &format!("h{agent}"), families, &values)
            })
            .collect();
        let total: usize = lengths.iter().sum();
        let page = Page::new(sets);
        let text = text(&page, Format::Text);
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines.len(), total, "{lengths:?}");
        let unique: HashSet<&&str> = lines.iter().collect();
        assert_eq!(unique.len(), total, "{lengths:?}");
        for name in ["a", "b"] {
            let heads = text.lines().filter(|line| *line == format!("# TYPE {name} gauge")).count();
            assert!(heads <= 1, "{lengths:?}");
            let has_series = lines.iter().any(|line| line.starts_with(&format!("{name}{{")));
            assert!(heads == 1 || !has_series, "{lengths:?}");
        }
        let counts: usize = pieces(&page).len();
        assert_eq!(counts == 0, total == 0, "{lengths:?}");
        assert!(text.len() < counts * (3 << 19) + 1, "a piece is about a megabyte: {counts} for {}", text.len());
    }
}

#[test]
fn the_exact_page_says_when_each_set_was_measured() {
    let table = Families::default();
    let gauge = |name| family(name, MetricType::Gauge, &[("", &[])]);
    let mut sets: Vec<Shown> =
        ["h1", "h2", "h3", "h4"].map(|agent| shown(&table, agent, vec![gauge("x")], &[1.5])).into();
    for (set, measured_ms) in sets.iter_mut().zip([Some(1_790_000_000_042), Some(-1), Some(-2_500), None]) {
        set.measured_ms = measured_ms;
    }
    let page = Page::new(sets);
    let lines = |format, times| -> Vec<String> {
        let text = written(&page, format, times);
        text.lines().filter(|line| line.starts_with('x')).map(|line| line.split_once("} ").unwrap().1.into()).collect()
    };
    assert_eq!(lines(Format::Text, Times::Hidden), ["1.5"; 4]);
    assert_eq!(lines(Format::OpenMetrics, Times::Hidden), ["1.5"; 4]);
    assert_eq!(lines(Format::Text, Times::Shown), ["1.5 1790000000042", "1.5 -1", "1.5 -2500", "1.5"]);
    assert_eq!(lines(Format::OpenMetrics, Times::Shown), ["1.5 1790000000.042", "1.5 -0.001", "1.5 -2.500", "1.5"]);
}

#[test]
fn a_view_that_is_not_of_one_moment_makes_a_valid_page_all_the_same() {
    let table = Families::default();
    let before = shown(&table, "h1", vec![family("x", MetricType::Gauge, &[("", &[])])], &[1.0]);
    // h1 leaves after it was viewed, and h2 comes with another type before it is viewed.
    table.release(&before.families);
    let after = shown(&table, "h2", vec![family("x", MetricType::Counter, &[("", &[])])], &[2.0]);
    let clash = shown(&table, "h3", vec![family("x_sum", MetricType::Gauge, &[("", &[])])], &[3.0]);
    table.release(&clash.families);
    let histogram = shown(&table, "h4", vec![family("x", MetricType::Histogram, &[("_sum", &[])])], &[4.0]);
    let page = Page::new(vec![before, after, clash, histogram]);
    assert_eq!(
        text(&page, Format::Text),
        "# HELP x About x.\n# TYPE x gauge\nx{instance=\"h1\",job=\"node\"} 1\nx{instance=\"h2\",job=\"node\"} 2\n\
         # HELP x_sum About x_sum.\n# TYPE x_sum gauge\nx_sum{instance=\"h3\",job=\"node\"} 3\n"
    );
}
