//! The labels under which a scrape stores a series, made of its text on the page: what is written
//! remotely must be the same series. Prometheus leaves out labels that are empty, and since 3.0
//! writes the bounds of buckets and quantiles in one way: `le="1"` is stored as `1.0`.

use protocol::frame::MetricType;

use super::proto::Label;

/// The labels of a series that stands as `name{label="value",…} ` on the page, sorted by name.
pub(super) fn labels(prefix: &[u8], kind: MetricType) -> Vec<Label> {
    let prefix = prefix.strip_suffix(b" ").unwrap_or(prefix);
    let end = prefix.iter().position(|byte| *byte == b'{').unwrap_or(prefix.len());
    let (name, mut rest) = prefix.split_at_checked(end).unwrap_or((prefix, b""));
    let mut labels = vec![Label { name: "__name__".to_owned(), value: text(name) }];
    while let Some((found, after)) = rest.get(1..).and_then(|rest| split_at_byte(rest, b'=')) {
        let Some((value, after)) = after.strip_prefix(b"\"").and_then(value) else { break };
        if !value.is_empty() {
            let value = if is_number(found, kind) { normal(value) } else { value };
            labels.push(Label { name: text(found), value });
        }
        rest = after;
    }
    labels.sort_unstable();
    labels
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn split_at_byte(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let (before, after) = bytes.split_at_checked(bytes.iter().position(|byte| *byte == at)?)?;
    Some((before, after.get(1..)?))
}

/// A value up to its closing quote, unescaped, and what follows that.
fn value(bytes: &[u8]) -> Option<(String, &[u8])> {
    let mut unescaped = Vec::new();
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => return Some((text(&unescaped), rest.as_slice())),
            b'\\' => unescaped.push(match rest.next()? {
                b'n' => b'\n',
                other => *other,
            }),
            _ => unescaped.push(*byte),
        }
    }
    None
}

fn is_number(label: &[u8], kind: MetricType) -> bool {
    matches!((label, kind), (b"le", MetricType::Histogram) | (b"quantile", MetricType::Summary))
}

/// A number as Go writes the shortest one, with `.0` where it would look whole; what is none stays.
fn normal(value: String) -> String {
    let Ok(number) = value.parse::<f64>() else { return value };
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    // `1.25e-7`: the digits and the exponent of the first of them.
    let shortest = format!("{number:e}");
    let Some((digits, exponent)) = shortest.split_once('e') else { return value };
    let Ok(exponent) = exponent.parse::<i32>() else { return value };
    if (-4..6).contains(&exponent) {
        let plain = format!("{number}");
        return if plain.contains('.') { plain } else { format!("{plain}.0") };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(prefix: &str, kind: MetricType, expected: &[(&str, &str)]) {
        let found = labels(prefix.as_bytes(), kind);
        let found: Vec<_> = found.iter().map(|label| (label.name.as_str(), label.value.as_str())).collect();
        assert_eq!(found, expected, "{prefix}");
    }

    #[test]
    fn labels_are_those_of_the_scrape() {
        check("x ", MetricType::Gauge, &[("__name__", "x")]);
        check(
            r#"x{a="q\"b\\c\nä",b="",c="},{=",instance="h"} "#,
            MetricType::Gauge,
            &[("__name__", "x"), ("a", "q\"b\\c\nä"), ("c", "},{="), ("instance", "h")],
        );
        // Capitals stand before `_`, small letters behind it.
        check(
            r#"x{A="1",_b="2",le="3"} "#,
            MetricType::Gauge,
            &[("A", "1"), ("__name__", "x"), ("_b", "2"), ("le", "3")],
        );
    }

    #[test]
    fn numbers_in_labels_are_written_as_prometheus_stores_them() {
        for (sent, stored) in [
            ("1", "1.0"),
            ("0", "0.0"),
            ("-1", "-1.0"),
            ("0.50", "0.5"),
            ("+Inf", "+Inf"),
            ("1e3", "1000.0"),
            ("123456", "123456.0"),
            ("1000000", "1e+06"),
            ("1234567", "1.234567e+06"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1e-100", "1e-100"),
            ("none", "none"),
        ] {
            check(
                &format!("x_bucket{{le=\"{sent}\"}} "),
                MetricType::Histogram,
                &[("__name__", "x_bucket"), ("le", stored)],
            );
            check(
                &format!("x{{quantile=\"{sent}\"}} "),
                MetricType::Summary,
                &[("__name__", "x"), ("quantile", stored)],
            );
            check(&format!("x{{le=\"{sent}\"}} "), MetricType::Gauge, &[("__name__", "x"), ("le", sent)]);
        }
    }
}
