use super::*;

/// Families as lines, without their values' lines.
fn shown(text: &[u8]) -> (String, Vec<String>) {
    let (families, flaws) = parse(text, false, 1000);
    let mut page = String::new();
    for Family { name, kind, help, samples } in families {
        page += &format!("{name} {kind:?} {help:?}");
        for Sample { suffix, labels, value, .. } in samples {
            let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            page += &format!("; {suffix}{{{}}} {value}", labels.join(","));
        }
        page.push('\n');
    }
    (page, flaws.iter().map(ToString::to_string).collect())
}

#[track_caller]
fn check(text: impl AsRef<[u8]>, page: &str, flaws: &[&str]) {
    let (got, said) = shown(text.as_ref());
    assert_eq!(got, page);
    assert_eq!(said.len(), flaws.len(), "{said:?}");
    for (said, flaw) in said.iter().zip(flaws) {
        assert!(said.contains(flaw), "{said}");
    }
}

#[test]
fn all_of_the_format_is_understood() {
    check("", "", &[]);
    check("# a comment\n#\n\n  \t\n# HELP only A help.\n", "", &[]);
    check("x 1", "x Untyped \"\"; {} 1\n", &[]);
    check("# TYPE x GAUGE\r\n\tx\t{ }  -1.5e+3 \r\n", "x Gauge \"\"; {} -1500\n", &[]);
    check("#HELP x  two\\\\ \\n lines\nx +Inf\n", "x Untyped \"two\\\\ \\n lines\"; {} inf\n", &[]);
    check("a:b{a=\"q\\\"\\\\\\n\" , b=\"{,}\",} NaN\n", "a:b Untyped \"\"; {a=\"q\\\"\\\\\\n\",b=\"{,}\"} NaN\n", &[]);
    check("x{a=\"\",b=\"ü\"} 0x\nx -inf\n", "x Untyped \"\"; {} -inf\n", &["line 1: a value that is no number"]);
    let histogram = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\nh_max 1\n";
    let page = "h Histogram \"\"; _bucket{le=\"1\"} 1; _bucket{le=\"+Inf\"} 2; _sum{} 3; _count{} 2\nh_max Untyped \"\"; {} 1\n";
    check(histogram, page, &[]);
    let summary = "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 3\ns_count 2\ns_bucket 1\n";
    let page = "s Summary \"\"; {quantile=\"0.5\"} 1; _sum{} 3; _count{} 2\ns_bucket Untyped \"\"; {} 1\n";
    check(summary, page, &[]);
}

#[test]
fn a_bad_line_hurts_only_itself() {
    for (bad, why) in [
        ("b", "without a value"),
        ("b one", "no number"),
        ("b 1e999", "out of range"),
        ("b 1_0", "no number"),
        ("b 1 1790000000000", "timestamp"),
        ("b 1 x", "more than a value"),
        ("b 1 2 3", "more than a value"),
        ("9b 1", "without a metric's name"),
        ("{a=\"b\"} 1", "without a metric's name"),
        ("b-c 1", "a character that none may have"),
        ("b{a=\"1} 1", "no end"),
        ("b{a=\"\\t\"} 1", "unknown escape"),
        ("b{a=1} 1", "without quotes"),
        ("b{a} 1", "without ="),
        ("b{a=\"1\" b=\"2\"} 1", "without a comma"),
        ("b{a=\"1\",a=\"2\"} 1", "twice"),
        ("b{\"c.d\"} 1", "without a label's name"),
        ("b{a=\"1\"", "without a comma"),
        ("# TYPE x counter", "a second TYPE"),
        ("# TYPE b thermometer", "a TYPE that is none"),
        ("# TYPE y-z counter", "without a metric's name"),
        ("# TYPE", "without a metric's name"),
        ("# HELP b an \\escape", "unknown escape in a HELP"),
        ("# HELP x Again.", "a second HELP"),
    ] {
        let text = format!("# HELP x X.\n# TYPE x gauge\nx 1\n{bad}\ny 2\n");
        check(&text, "x Gauge \"X.\"; {} 1\ny Untyped \"\"; {} 2\n", &[why]);
    }
    check(b"x{a=\"\xff\"} 1\ny 2\n", "y Untyped \"\"; {} 2\n", &["line 1: bytes that are no UTF-8"]);
    let long = format!("x{{a=\"{}\"}} 1\ny 2\n", "a".repeat(LINE_BYTES_MAX));
    check(&long, "y Untyped \"\"; {} 2\n", &["line 1: a line that is too long"]);
    check("x 1\n# TYPE x gauge\n", "x Untyped \"\"; {} 1\n", &["line 2: a TYPE after the metric's samples"]);
    check("b\nb\nb 1 2\n", "", &["line 1: a sample without a value", "line 3: a sample with a timestamp"]);
}

#[test]
fn a_histogram_is_taken_whole_or_not_at_all() {
    let histogram =
        |bad: &str| format!("# TYPE h histogram\nh_bucket{{le=\"+Inf\"}} 2\n{bad}\nh_sum 3\nh_count 2\nx 1\n");
    check(histogram("h_bucket{le=\"1\"} one"), "x Untyped \"\"; {} 1\n", &["line 3: a value that is no number"]);
    check(histogram("h_bucket{le=\"1\"} 1 5"), "x Untyped \"\"; {} 1\n", &["timestamp"]);
    let cut =
        |text: &str| parse(text.as_bytes(), true, 1000).0.into_iter().map(|family| family.name).collect::<Vec<_>>();
    assert_eq!(cut("x 1\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\n"), ["x"]);
    assert_eq!(cut("# TYPE h histogram\nh_bucket{le=\"1\"} 1\nx 1\n"), ["h", "x"]);
}

#[test]
fn too_many_samples_are_cut_between_whole_metrics() {
    let text = "x 1\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\ny 1\n";
    for (most, names, line) in [(7, "x h y", 0), (6, "x h y", 0), (5, "x h", 7), (4, "x", 6), (1, "x", 3), (0, "", 1)] {
        let (families, flaws) = parse(text.as_bytes(), false, most);
        let got: Vec<String> = families.into_iter().map(|family| family.name).collect();
        assert_eq!((got.join(" ").as_str(), flaws.first().map_or(0, |flaw| flaw.line)), (names, line), "{most}");
        assert!(flaws.iter().all(|flaw| flaw.kind == TOO_MANY));
    }
}

#[test]
fn what_may_not_be_sent_is_said_and_left_to_whoever_sends() {
    let page = "x Untyped \"\"; {instance=\"a\"} 1; {} 2\n";
    check("x{instance=\"a\"} 1\nx 2\n", page, &["line 1: x: label \"instance\" is not an agent's to set"]);
    check("\nup 1\n", "up Untyped \"\"; {} 1\n", &["line 2: family up is not an agent's to send"]);
    let page = "h Histogram \"\"; _bucket{} 1; {} 2\n";
    check("# TYPE h histogram\nh_bucket 1\nh 2\n", page, &["line 2: h is a Histogram and cannot have"]);
}
