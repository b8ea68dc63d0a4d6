//! `node_fibrechannel_*` from `/sys/class/fc_host`: the ports of Fibre Channel adapters.

use std::path::Path;
use std::time::Duration;

use super::Collector;
use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::Roots;
use super::sysfs::{devices, text};

/// The counters, below `statistics`: file, metric, and what it means.
const COUNTERS: &[(&str, &str, &str)] = &[
    ("dumped_frames", "node_fibrechannel_dumped_frames_total", "Frames dropped for lack of room."),
    ("error_frames", "node_fibrechannel_error_frames_total", "Frames received with an error."),
    ("invalid_crc_count", "node_fibrechannel_invalid_crc_total", "Frames received with a wrong checksum."),
    ("rx_frames", "node_fibrechannel_rx_frames_total", "Frames received."),
    ("rx_words", "node_fibrechannel_rx_words_total", "Words of four bytes received."),
    ("tx_frames", "node_fibrechannel_tx_frames_total", "Frames sent."),
    ("tx_words", "node_fibrechannel_tx_words_total", "Words of four bytes sent."),
    (
        "seconds_since_last_reset",
        "node_fibrechannel_seconds_since_last_reset_total",
        "Time since the counters were set to zero, in seconds.",
    ),
    ("invalid_tx_word_count", "node_fibrechannel_invalid_tx_words_total", "Words that make no sense on the link."),
    ("link_failure_count", "node_fibrechannel_link_failure_total", "Failures of the link."),
    ("loss_of_sync_count", "node_fibrechannel_loss_of_sync_total", "How often the link lost its rhythm."),
    ("loss_of_signal_count", "node_fibrechannel_loss_of_signal_total", "How often the link lost its signal."),
    ("nos_count", "node_fibrechannel_nos_total", "How often the other side said that it does not work."),
    ("fcp_packet_aborts", "node_fibrechannel_fcp_packet_aborts_total", "Commands that were given up."),
];
/// Most ports that are shown.
const HOSTS_MAX: usize = 256;

/// The host's ports to Fibre Channel.
#[derive(Debug)]
pub(super) struct Fibrechannel;

impl Collector for Fibrechannel {
    fn name(&self) -> &'static str {
        "fibrechannel"
    }

    fn source(&self) -> &'static str {
        "`/sys/class/fc_host/`"
    }

    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(15))
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let base = roots.sys.join("class/fc_host");
        for host in devices(&base, "Fibre Channel ports", HOSTS_MAX, |_| true, &mut faults) {
            let at = base.join(&host);
            read_info(&at, &host, out, &mut faults);
            for (file, name, help) in COUNTERS {
                if let Some(value) = read_count(&at.join("statistics").join(file), &mut faults) {
                    out.counter(name, help, &[("fc_host", &host)], value);
                }
            }
        }
        faults.into_result()
    }
}

fn read_info(at: &Path, host: &str, out: &mut Batch, faults: &mut Faults) {
    let mut of = |file: &str| text(&at.join(file), faults).unwrap_or_default();
    let (speed, state, kind) = (of("speed"), of("port_state"), of("port_type"));
    let (id, name, fabric) = (of("port_id"), of("port_name"), of("fabric_name"));
    let (symbolic, timeout) = (of("symbolic_name"), of("dev_loss_tmo"));
    let (classes, speeds) = (of("supported_classes"), of("supported_speeds"));
    let labels = [
        ("fc_host", host),
        ("speed", &speed),
        ("port_state", &state),
        ("port_type", &kind),
        ("port_id", bare(&id)),
        ("port_name", bare(&name)),
        ("fabric_name", bare(&fabric)),
        ("symbolic_name", &symbolic),
        ("supported_classes", &classes),
        ("supported_speeds", &speeds),
        ("dev_loss_tmo", &timeout),
    ];
    out.gauge("node_fibrechannel_info", "A port and what it is connected to; always 1.", &labels, 1.0);
}

/// A number without the `0x` before it.
fn bare(text: &str) -> &str {
    text.strip_prefix("0x").unwrap_or(text)
}

/// A counter; `None` also where all its bits are set: then the adapter does not count this.
fn read_count(path: &Path, faults: &mut Faults) -> Option<f64> {
    let text = text(path, faults)?;
    match u64::from_str_radix(bare(&text), 16) {
        Ok(u64::MAX) => None,
        #[expect(clippy::cast_precision_loss, reason = "samples are f64; counters beyond 2^53 are rounded")]
        Ok(count) => Some(count as f64),
        Err(_) => {
            faults.note(CollectError::malformed(&path.display().to_string(), &text));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_hexadecimal() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("nos_count");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let mut faults = Faults::default();
            (read_count(&path, &mut faults), faults.into_result().is_ok())
        };
        assert_eq!(read("0x1f\n"), (Some(31.0), true));
        assert_eq!(read("0x0\n"), (Some(0.0), true));
        assert_eq!(read("0xffffffffffffffff\n"), (None, true));
        assert_eq!(read("unknown\n"), (None, false));
    }
}
