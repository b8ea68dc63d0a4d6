//! A metric of the registry as the series that are pushed.

use prometheus::proto::{Bucket, Metric, MetricType as Kind};
use protocol::frame::MetricType;

use crate::collect::batch::Batch;

/// Appends the series of one metric: one, or of a histogram one for each bucket, the sum and the count.
#[expect(clippy::cast_precision_loss, reason = "samples are f64")]
pub(super) fn flatten(name: &str, help: &str, kind: Kind, metric: &Metric, out: &mut Batch) {
    let bounds: Vec<(String, u64)> = match kind {
        Kind::HISTOGRAM => metric.get_histogram().get_bucket().iter().map(bound).collect(),
        _ => vec![],
    };
    let mut labels: Vec<(&str, &str)> = metric.get_label().iter().map(|pair| (pair.name(), pair.value())).collect();
    match kind {
        Kind::COUNTER => out.counter(name, help, &labels, metric.get_counter().get_value()),
        Kind::GAUGE => out.gauge(name, help, &labels, metric.get_gauge().get_value()),
        Kind::HISTOGRAM => {
            let histogram = metric.get_histogram();
            let count = histogram.get_sample_count() as f64;
            for (bound, below) in &bounds {
                labels.push(("le", bound));
                out.push(MetricType::Histogram, name, help, "_bucket", &labels, *below as f64);
                labels.pop();
            }
            labels.push(("le", "+Inf"));
            out.push(MetricType::Histogram, name, help, "_bucket", &labels, count);
            labels.pop();
            out.push(MetricType::Histogram, name, help, "_sum", &labels, histogram.get_sample_sum());
            out.push(MetricType::Histogram, name, help, "_count", &labels, count);
        }
        // No metric of the agent is one of these.
        Kind::SUMMARY | Kind::UNTYPED => {}
    }
}

/// A bucket's bound as a label, and how many values are below it.
fn bound(bucket: &Bucket) -> (String, u64) {
    (bucket.upper_bound().to_string(), bucket.cumulative_count())
}
