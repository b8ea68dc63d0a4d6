//! Somebody who takes Prometheus remote write 1.0, remembers every sample, and refuses as told.
//! It shares no code with the sender.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A block is not larger, decompressed.
const BODY_BYTES_MAX: usize = 64 << 20;

#[derive(Clone, PartialEq, prost::Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// The labels of a series, `__name__` among them.
pub type Labels = BTreeMap<String, String>;
/// What a series was at each Unix millisecond.
pub type Samples = BTreeMap<i64, f64>;

#[derive(Debug, Default)]
struct Taken {
    series: BTreeMap<Labels, Samples>,
    /// What the next requests are answered, instead of being taken.
    refusals: VecDeque<u16>,
    requests: u64,
    samples: u64,
    /// What was wrong with a request. A sender of ours makes none of these.
    broken: Vec<String>,
}

/// The receiver; it ends with this value.
#[derive(Debug)]
pub struct Receiver {
    addr: SocketAddr,
    taken: Arc<Mutex<Taken>>,
    accept: JoinHandle<()>,
}

impl Receiver {
    /// Listens on a free port.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("a bound listener has an address");
        let taken = Arc::<Mutex<Taken>>::default();
        let shared = Arc::clone(&taken);
        let accept = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let taken = Arc::clone(&shared);
                let service = service_fn(move |request| answer(request, Arc::clone(&taken)));
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(async move {
                    // What goes wrong there, the sender sees too.
                    let _ended = connection.await;
                });
            }
        });
        Self { addr, taken, accept }
    }

    /// `FLEETGAUGE_REMOTE_WRITE_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/api/v1/write", self.addr)
    }

    /// Answers the next requests with these codes.
    pub fn refuse(&self, codes: impl IntoIterator<Item = u16>) {
        self.lock().refusals.extend(codes);
    }

    /// What came for the series with these labels, whatever other ones it has.
    #[must_use]
    pub fn samples(&self, labels: &[(&str, &str)]) -> Samples {
        let taken = self.lock();
        let fits = |series: &Labels| labels.iter().all(|(name, value)| series.get(*name).is_some_and(|is| is == value));
        taken.series.iter().filter(|(series, _)| fits(series)).flat_map(|(_, samples)| samples.clone()).collect()
    }

    /// Every series that came.
    #[must_use]
    pub fn series(&self) -> Vec<Labels> {
        self.lock().series.keys().cloned().collect()
    }

    /// Requests and samples taken, repeated ones too.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let taken = self.lock();
        (taken.requests, taken.samples)
    }

    /// What was wrong with requests.
    #[must_use]
    pub fn broken(&self) -> Vec<String> {
        self.lock().broken.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn answer(request: Request<Incoming>, taken: Arc<Mutex<Taken>>) -> hyper::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
    let status = if let Some(code) = taken.refusals.pop_front() {
        code
    } else {
        match check(&head.headers).and_then(|()| decode(&body)) {
            Ok(request) => match taken.add(request) {
                Ok(()) => 204,
                Err(what) => taken.refuse_as_broken(what),
            },
            Err(what) => taken.refuse_as_broken(what),
        }
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Ok(response)
}

/// The headers that the specification asks for.
fn check(headers: &hyper::HeaderMap) -> Result<(), String> {
    let required = [
        ("content-encoding", "snappy"),
        ("content-type", "application/x-protobuf"),
        ("x-prometheus-remote-write-version", "0.1.0"),
    ];
    for (name, value) in required {
        let is = headers.get(name).and_then(|is| is.to_str().ok()).unwrap_or_default();
        if is != value {
            return Err(format!("{name} is {is:?}"));
        }
    }
    match headers.contains_key("user-agent") {
        true => Ok(()),
        false => Err("no user-agent".to_owned()),
    }
}

fn decode(body: &[u8]) -> Result<WriteRequest, String> {
    let length = snap::raw::decompress_len(body).map_err(|error| error.to_string())?;
    if length > BODY_BYTES_MAX {
        return Err(format!("a block of {length} bytes"));
    }
    let plain = snap::raw::Decoder::new().decompress_vec(body).map_err(|error| error.to_string())?;
    prost::Message::decode(plain.as_slice()).map_err(|error| error.to_string())
}

impl Taken {
    fn refuse_as_broken(&mut self, what: String) -> u16 {
        self.broken.push(what);
        400
    }

    /// All of it or nothing.
    fn add(&mut self, request: WriteRequest) -> Result<(), String> {
        let mut checked = Vec::new();
        for TimeSeries { labels, samples } in request.timeseries {
            let names: Vec<&str> = labels.iter().map(|label| label.name.as_str()).collect();
            if !names.is_sorted_by(|a, b| a < b) || !names.contains(&"__name__") {
                return Err(format!("labels are not sorted, twice, or without a name: {names:?}"));
            }
            if labels.iter().any(|label| label.value.is_empty()) {
                return Err(format!("an empty label: {labels:?}"));
            }
            if !samples.is_sorted_by(|a, b| a.timestamp < b.timestamp) {
                return Err(format!("samples of {labels:?} are not in order"));
            }
            checked.push((labels.into_iter().map(|Label { name, value }| (name, value)).collect::<Labels>(), samples));
        }
        self.requests += 1;
        for (labels, samples) in checked {
            self.samples += samples.len() as u64;
            let series = self.series.entry(labels).or_default();
            series.extend(samples.into_iter().map(|sample| (sample.timestamp, sample.value)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Vec<Label> {
        pairs.iter().map(|(name, value)| Label { name: (*name).into(), value: (*value).into() }).collect()
    }

    fn request(pairs: &[(&str, &str)], times: &[i64]) -> WriteRequest {
        let samples = times.iter().map(|timestamp| Sample { value: 1.0, timestamp: *timestamp }).collect();
        WriteRequest { timeseries: vec![TimeSeries { labels: labels(pairs), samples }] }
    }

    #[test]
    fn what_was_sent_is_read_and_what_is_wrong_is_refused_whole() {
        let good = request(&[("__name__", "a"), ("instance", "h")], &[1, 2]);
        let block = snap::raw::Encoder::new().compress_vec(&prost::Message::encode_to_vec(&good)).unwrap();
        assert_eq!(decode(&block).unwrap(), good);
        assert!(decode(&block[1..]).is_err() && decode(b"").is_err());
        let mut taken = Taken::default();
        taken.add(good).unwrap();
        for bad in [
            request(&[("instance", "h")], &[1]),
            request(&[("instance", "h"), ("__name__", "a")], &[1]),
            request(&[("__name__", "a"), ("x", "")], &[1]),
            request(&[("__name__", "a")], &[2, 1]),
            request(&[("__name__", "a"), ("__name__", "a")], &[1]),
        ] {
            assert!(taken.add(bad).is_err());
        }
        assert_eq!((taken.series.len(), taken.requests, taken.samples), (1, 1, 2));
    }
}
