//! What a client can read: format by `Accept`, compression by `Accept-Encoding` (RFC 9110, 12.5).

use crate::page::encode::Format;

/// OpenMetrics where the client says that it prefers it, the text format for everybody else.
pub(super) fn format(accept: Option<&str>) -> Format {
    let (mut text, mut open_metrics) = (0.0_f64, 0.0_f64);
    for range in accept.unwrap_or("*/*").split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut quality, mut version) = (1.0_f64, None);
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            match key.trim().to_ascii_lowercase().as_str() {
                "q" => quality = value.trim().parse().unwrap_or(0.0),
                "version" => version = Some(value.trim().trim_matches('"')),
                _ => {}
            }
        }
        let best: &mut f64 = match (media.as_str(), version) {
            ("application/openmetrics-text", None | Some("1.0.0")) => &mut open_metrics,
            ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => &mut text,
            _ => continue,
        };
        *best = quality.max(*best);
    }
    if open_metrics > 0.0 && open_metrics >= text { Format::OpenMetrics } else { Format::Text }
}

/// Does the client accept gzip?
pub(super) fn wants_gzip(accept_encoding: Option<&str>) -> bool {
    accept_encoding.unwrap_or_default().split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let mut weights = parts.filter_map(|part| part.strip_prefix("q="));
        is_gzip && weights.next().is_none_or(|weight| weight.parse::<f64>().is_ok_and(|weight| weight > 0.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(accept: &str, expected: Format) {
        assert_eq!(format(Some(accept)), expected);
    }

    #[test]
    fn formats() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        check(prometheus, Format::OpenMetrics);
        check("application/openmetrics-text", Format::OpenMetrics);
        check("application/openmetrics-text; version=\"1.0.0\"; charset=utf-8", Format::OpenMetrics);
        check("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text);
        check("application/openmetrics-text;q=0.3,text/plain;q=0.6", Format::Text);
        check("application/openmetrics-text;version=2.0.0", Format::Text);
        check("application/openmetrics-text;q=0", Format::Text);
        check(";;;,=,q", Format::Text);
        assert_eq!(format(None), Format::Text);
    }

    #[test]
    fn codings() {
        for yes in ["gzip", "deflate, GZIP;q=0.5", "br , gzip"] {
            assert!(wants_gzip(Some(yes)), "{yes}");
        }
        for no in ["", "identity", "gzip;q=0", "gzip;q=0.000", "xgzip", "*;q=0"] {
            assert!(!wants_gzip(Some(no)), "{no}");
        }
        assert!(!wants_gzip(None));
    }
}
