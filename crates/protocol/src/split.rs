//! Long declarations and vectors over several lines, none of them over the limit.

use crate::codec::encode;
use crate::frame::{Declare, Family, ToAggregator, Values};
use crate::values::Vector;

/// Writes a set's declaration as one or more `declare` lines of at most `line_max` bytes each.
///
/// `families` must have passed [`crate::declare::check_declare`]: then a single series with its
/// family's head always fits in a line of 64 KiB.
pub fn declare_lines(set: u64, name: &str, job: Option<&str>, families: &[Family], line_max: usize, out: &mut Vec<u8>) {
    let total = families.iter().map(|family| family.series.len() as u64).sum();
    let empty =
        |offset| Declare { set, name: name.to_owned(), job: job.map(str::to_owned), offset, total, families: vec![] };
    // Everything but the families: the longest numbers have 20 digits.
    let frame_bytes = size_of(&ToAggregator::Declare(empty(u64::MAX)));
    let mut line = empty(0);
    let mut used = frame_bytes;
    let mut declared = 0;
    for family in families {
        let head = Family { series: vec![], ..family.clone() };
        let head_bytes = size_of(&head) + 1;
        let mut part = head.clone();
        used += head_bytes;
        for series in &family.series {
            let bytes = size_of(series) + 1;
            let line_is_empty = part.series.is_empty() && line.families.is_empty();
            if used + bytes > line_max && !line_is_empty {
                if !part.series.is_empty() {
                    line.families.push(std::mem::replace(&mut part, head.clone()));
                }
                encode(&ToAggregator::Declare(std::mem::replace(&mut line, empty(declared))), out);
                used = frame_bytes + head_bytes;
            }
            part.series.push(series.clone());
            used += bytes;
            declared += 1;
        }
        if !part.series.is_empty() {
            line.families.push(part);
        }
    }
    encode(&ToAggregator::Declare(line), out);
}

/// Writes a set's values as one or more `values` lines of at most `line_max` bytes each.
pub fn values_lines(set: u64, values: &[f64], line_max: usize, out: &mut Vec<u8>) {
    // A value takes 24 characters at most ("-2.2250738585072014e-308") and its comma; the rest of
    // the line fits in 128.
    let per_line = (line_max.saturating_sub(128) / 25).max(1);
    let mut offset = 0;
    for part in values.chunks(per_line) {
        let frame = Values { set, offset, values: Vector(part.to_vec()) };
        encode(&ToAggregator::Values(frame), out);
        offset += part.len() as u64;
    }
    if values.is_empty() {
        encode(&ToAggregator::Values(Values { set, offset: 0, values: Vector::default() }), out);
    }
}

/// How many bytes a part takes as JSON.
fn size_of<T: serde::Serialize>(part: &T) -> usize {
    let mut text = Vec::new();
    encode(part, &mut text);
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{MetricType, Series};
    use crate::limits::LINE_BYTES_MAX;
    use crate::{Labels, LineDecoder};

    fn families(count: usize, series: usize) -> Vec<Family> {
        let one = |f| Family {
            name: format!("family_{f}"),
            kind: MetricType::Gauge,
            help: "Some help.".into(),
            unit: String::new(),
            series: (0..series)
                .map(|s| Series { suffix: String::new(), labels: Labels::of(&[("s", &format!("{s}\n"))]) })
                .collect(),
        };
        (0..count).map(one).collect()
    }

    #[track_caller]
    fn check_declare(families: &[Family], line_max: usize) {
        let mut bytes = Vec::new();
        declare_lines(7, "cpu", Some("node"), families, line_max, &mut bytes);
        let mut decoder = LineDecoder::new(line_max);
        let mut together: Vec<Family> = Vec::new();
        let mut offset = 0;
        decoder.buffer().extend_from_slice(&bytes);
        while let Some(frame) = decoder.next_frame().unwrap() {
            let ToAggregator::Declare(line) = frame else { panic!("only declarations") };
            assert_eq!((line.set, line.offset, line.job.as_deref()), (7, offset, Some("node")));
            for family in line.families {
                offset += family.series.len() as u64;
                match together.last_mut() {
                    Some(last) if last.name == family.name => last.series.extend(family.series),
                    _ => together.push(family),
                }
            }
            assert_eq!(line.total, families.iter().map(|family| family.series.len() as u64).sum::<u64>());
        }
        assert_eq!(together, families);
    }

    #[test]
    fn declarations_come_back_whole() {
        check_declare(&families(0, 0), 1000);
        check_declare(&families(1, 1), 1000);
        check_declare(&families(3, 400), 1000);
        check_declare(&families(50, 3), 1000);
        check_declare(&families(10, 2000), LINE_BYTES_MAX);
    }

    #[test]
    fn vectors_come_back_whole() {
        for count in [0, 1, 34, 35, 36, 5000] {
            let values: Vec<f64> = (0..count).map(|i| -f64::from(i) * 1.000_000_000_000_1e-300).collect();
            let mut bytes = Vec::new();
            values_lines(3, &values, 1000, &mut bytes);
            let mut decoder = LineDecoder::new(1000);
            decoder.buffer().extend_from_slice(&bytes);
            let mut got = Vec::new();
            while let Some(ToAggregator::Values(line)) = decoder.next_frame().unwrap() {
                assert_eq!((line.set, line.offset), (3, got.len() as u64));
                got.extend(line.values.0);
            }
            assert_eq!(Vector(got), Vector(values));
        }
    }
}
