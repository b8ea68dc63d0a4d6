//! The messages of Prometheus remote write 1.0, as far as they are written here.

/// A request.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WriteRequest {
    /// Its series.
    #[prost(message, repeated, tag = "1")]
    pub(crate) timeseries: Vec<TimeSeries>,
}

/// Samples of one series, in the order of time.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TimeSeries {
    /// Sorted by name, `__name__` among them.
    #[prost(message, repeated, tag = "1")]
    pub(crate) labels: Vec<Label>,
    /// Its samples.
    #[prost(message, repeated, tag = "2")]
    pub(crate) samples: Vec<Sample>,
}

/// A label.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
pub(crate) struct Label {
    /// Its name.
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

/// A sample.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Sample {
    /// Its value.
    #[prost(double, tag = "1")]
    pub(crate) value: f64,
    /// Unix milliseconds.
    #[prost(int64, tag = "2")]
    pub(crate) timestamp: i64,
}
