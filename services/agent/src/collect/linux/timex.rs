//! `node_timex_*` from adjtimex(2): how the kernel keeps its clock in step with others. The call
//! changes nothing when it is asked to change nothing, and then needs no privilege.

use std::io;

use super::Collector;
use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::Roots;

const NANOS_PER_SECOND: f64 = 1e9;
const MICROS_PER_SECOND: f64 = 1e6;
/// The kernel's unit of frequencies: 2^-16 of a millionth.
const SCALED_PPM: f64 = 65_536.0 * 1e6;

/// The kernel's clock.
#[derive(Debug, Default)]
pub(super) struct Timex;

impl Collector for Timex {
    fn name(&self) -> &'static str {
        "timex"
    }

    fn source(&self) -> &'static str {
        "adjtimex(2)"
    }

    fn read(&mut self, _roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let answer = ask().map_err(|error| CollectError::call("adjtimex", &error));
        if let Some((state, timex)) = faults.check(answer) {
            report(state, &timex, out);
        }
        faults.into_result()
    }
}

/// What the call returns and what it writes.
///
/// # Errors
/// Where a sandbox does not let the call through.
#[expect(unsafe_code, reason = "no crate in use wraps this call; it is the only one of its kind")]
fn ask() -> io::Result<(libc::c_int, libc::timex)> {
    // SAFETY: `timex` consists of integers, for which all bits 0 are a value. The call gets a
    // pointer to one that lives, and with `modes` 0 it only writes to it.
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    if state < 0 { Err(io::Error::last_os_error()) } else { Ok((state, timex)) }
}

/// The answer in the units of the metrics.
#[expect(clippy::cast_precision_loss, reason = "samples are f64; numbers beyond 2^53 are rounded")]
fn report(state: libc::c_int, timex: &libc::timex, out: &mut Batch) {
    let is_synchronized = if state == libc::TIME_ERROR { 0.0 } else { 1.0 };
    // Only these two follow the resolution that the clock is kept in.
    let unit = if timex.status & libc::STA_NANO == 0 { MICROS_PER_SECOND } else { NANOS_PER_SECOND };
    let gauges = [
        ("node_timex_sync_status", "1 while the clock follows a reliable one.", is_synchronized),
        ("node_timex_status", "What the kernel does with its clock, as bits.", f64::from(timex.status)),
        (
            "node_timex_offset_seconds",
            "How far the clock is off from the one that it follows.",
            timex.offset as f64 / unit,
        ),
        (
            "node_timex_frequency_adjustment_ratio",
            "By how much the clock is sped up.",
            1.0 + timex.freq as f64 / SCALED_PPM,
        ),
        ("node_timex_maxerror_seconds", "Most that the clock can be off.", timex.maxerror as f64 / MICROS_PER_SECOND),
        ("node_timex_estimated_error_seconds", "What the clock may be off.", timex.esterror as f64 / MICROS_PER_SECOND),
        ("node_timex_loop_time_constant", "How slowly the clock is brought into step.", timex.constant as f64),
        (
            "node_timex_tick_seconds",
            "What the clock is set forward at each tick.",
            timex.tick as f64 / MICROS_PER_SECOND,
        ),
        ("node_timex_tai_offset_seconds", "How far atomic time is ahead of UTC.", f64::from(timex.tai)),
        ("node_timex_pps_frequency_hertz", "By how much a pulse per second is off.", timex.ppsfreq as f64 / SCALED_PPM),
        ("node_timex_pps_jitter_seconds", "How irregular a pulse per second is.", timex.jitter as f64 / unit),
        ("node_timex_pps_shift_seconds", "Over how long a pulse per second is watched.", f64::from(timex.shift)),
        ("node_timex_pps_stability_hertz", "How much a pulse per second wanders.", timex.stabil as f64 / SCALED_PPM),
    ];
    let counters = [
        ("node_timex_pps_jitter_total", "Pulses that were too irregular.", timex.jitcnt),
        ("node_timex_pps_calibration_total", "Times that pulses were watched to the end.", timex.calcnt),
        ("node_timex_pps_error_total", "Times that pulses were watched in vain.", timex.errcnt),
        ("node_timex_pps_stability_exceeded_total", "Times that pulses wandered too much.", timex.stbcnt),
    ];
    for (name, help, value) in gauges {
        out.gauge(name, help, &[], value);
    }
    for (name, help, value) in counters {
        out.counter(name, help, &[], value as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::render;

    fn answer(change: impl FnOnce(&mut libc::timex)) -> libc::timex {
        let (_, mut timex) = ask().unwrap();
        change(&mut timex);
        timex
    }

    #[track_caller]
    fn check_has(state: libc::c_int, timex: &libc::timex, lines: &[&str]) {
        let mut batch = Batch::new();
        batch.begin();
        report(state, timex, &mut batch);
        batch.finish(true);
        let page = render(&batch, false);
        assert_eq!(batch.layout().total(), 17);
        lines.iter().for_each(|line| assert!(page.lines().any(|got| got == *line), "{line} is not in\n{page}"));
    }

    #[test]
    fn units_follow_the_resolution() {
        let timex = answer(|timex| {
            timex.status = libc::STA_PLL;
            (timex.offset, timex.jitter, timex.maxerror) = (-1500, 7, 250_000);
        });
        let micros = ["node_timex_offset_seconds -0.0015", "node_timex_pps_jitter_seconds 0.000007"];
        check_has(0, &timex, &[micros[0], micros[1], "node_timex_maxerror_seconds 0.25", "node_timex_status 1"]);
        let timex = libc::timex { status: libc::STA_NANO, ..timex };
        let nanos = ["node_timex_offset_seconds -0.0000015", "node_timex_pps_jitter_seconds 0.000000007"];
        check_has(0, &timex, &[nanos[0], nanos[1], "node_timex_maxerror_seconds 0.25", "node_timex_status 8192"]);
    }

    #[test]
    fn frequencies_are_scaled_millionths() {
        let timex = answer(|timex| {
            (timex.freq, timex.ppsfreq, timex.stabil, timex.tick) = (65_536 * 100, 65_536 * 2, 65_536, 10_000);
        });
        let frequencies = [
            "node_timex_frequency_adjustment_ratio 1.0001",
            "node_timex_pps_frequency_hertz 0.000002",
            "node_timex_pps_stability_hertz 0.000001",
            "node_timex_tick_seconds 0.01",
            "node_timex_sync_status 1",
        ];
        check_has(0, &timex, &frequencies);
        check_has(libc::TIME_ERROR, &timex, &["node_timex_sync_status 0"]);
    }
}
