//! `node_time_*`: the host's clock, its time zone and what it counts time with.

use std::time::{Duration, Instant};

use super::Collector;
use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::{Roots, attribute};
use super::sysfs::devices;

/// Most clock sources of one device that are shown.
const SOURCES_MAX: usize = 64;
/// What there would be too many of.
const SOURCES: &str = "clock sources";
/// How the directories of the devices begin.
const STEM: &str = "clocksource";
/// The largest file of time zone data is about 4 KiB.
const ZONE_BYTES_MAX: u64 = 64 * 1024;

/// The clock sources change when a person or a fault makes them.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What time it is.
#[derive(Debug, Default)]
pub(super) struct Time {
    zone: Option<tz::TimeZone>,
    sources: Vec<Sources>,
    looked: Option<Instant>,
    /// What went wrong when the zone was read.
    zone_fault: Option<CollectError>,
    /// What went wrong when the clock sources were looked at.
    fault: Option<CollectError>,
}

/// What a device of the kernel could count time with, and does.
#[derive(Debug)]
struct Sources {
    device: String,
    available: Vec<String>,
    current: Option<String>,
}

impl Collector for Time {
    fn name(&self) -> &'static str {
        "time"
    }

    fn source(&self) -> &'static str {
        "clock_gettime(2), `/etc/localtime`, `/sys/devices/system/clocksource/`"
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let now = lifecycle::clock::unix_seconds();
        out.gauge("node_time_seconds", "The host's clock, Unix time.", &[], now);
        let is_due = self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY);
        // A zone that could not be read may be mended.
        self.zone = self.zone.take().filter(|_| !is_due || self.zone_fault.is_none());
        let zone = self.zone.get_or_insert_with(|| {
            let mut faults = Faults::default();
            let zone = zone(roots, &mut faults);
            self.zone_fault = faults.into_result().err();
            zone
        });
        report_zone(zone, now, out, &mut faults);
        if is_due {
            self.looked = Some(Instant::now());
            let mut faults = Faults::default();
            self.sources = sources(roots, &mut faults);
            self.fault = faults.into_result().err();
        }
        for fault in self.zone_fault.iter().chain(&self.fault) {
            faults.note(fault.clone());
        }
        self.sources.iter().for_each(|sources| report_sources(sources, out));
        faults.into_result()
    }
}

/// The host's time zone; without the file, UTC. It is read once, if that goes well: programs do not
/// see a change of it before they start anew either.
fn zone(roots: &Roots, faults: &mut Faults) -> tz::TimeZone {
    use std::io::Read;
    let path = roots.resolve("etc/localtime");
    let mut bytes = Vec::new();
    match std::fs::File::open(&path).and_then(|file| file.take(ZONE_BYTES_MAX).read_to_end(&mut bytes)) {
        Ok(_) => tz::TimeZone::from_tz_data(&bytes).unwrap_or_else(|error| {
            faults.note(CollectError::malformed("etc/localtime", &error.to_string()));
            tz::TimeZone::utc()
        }),
        Err(error) => {
            faults.check_if_there::<()>(Err(CollectError::at(&path, &error)));
            tz::TimeZone::utc()
        }
    }
}

fn report_zone(zone: &tz::TimeZone, now: f64, out: &mut Batch, faults: &mut Faults) {
    #[expect(clippy::cast_possible_truncation, reason = "the seconds of a clock that fits into f64 with its fraction")]
    match zone.find_local_time_type(now as i64) {
        Ok(local) => {
            // Without a file the zone has no name.
            let name = Some(local.time_zone_designation()).filter(|name| !name.is_empty()).unwrap_or("UTC");
            let help = "How far local time is ahead of UTC.";
            out.gauge("node_time_zone_offset_seconds", help, &[("time_zone", name)], f64::from(local.ut_offset()));
        }
        Err(error) => faults.note(CollectError::malformed("etc/localtime", &error.to_string())),
    }
}

/// The kernel's clock sources: `/sys/devices/system/clocksource/clocksource<device>/`.
fn sources(roots: &Roots, faults: &mut Faults) -> Vec<Sources> {
    let base = roots.sys.join("devices/system/clocksource");
    let is_device = |name: &str| name.starts_with(STEM);
    let directories = devices(&base, SOURCES, SOURCES_MAX, is_device, faults);
    let one = |directory: &String| {
        let device = directory.strip_prefix(STEM)?.to_owned();
        let of = |file: &str| attribute(&base.join(directory).join(file)).unwrap_or_default();
        let mut words = |text: String| {
            let mut words: Vec<String> =
                text.split_ascii_whitespace().take(SOURCES_MAX + 1).map(str::to_owned).collect();
            if words.len() > SOURCES_MAX {
                words.truncate(SOURCES_MAX);
                faults.note(CollectError::TooMany { what: SOURCES, max: SOURCES_MAX });
            }
            words
        };
        let current = words(of("current_clocksource")).into_iter().next();
        Some(Sources { device, available: words(of("available_clocksource")), current })
    };
    directories.iter().filter_map(one).collect()
}

fn report_sources(sources: &Sources, out: &mut Batch) {
    let device = ("device", sources.device.as_str());
    for source in &sources.available {
        let help = "What the kernel could count time with; always 1.";
        out.gauge("node_time_clocksource_available_info", help, &[device, ("clocksource", source)], 1.0);
    }
    if let Some(source) = &sources.current {
        let help = "What the kernel counts time with; always 1.";
        out.gauge("node_time_clocksource_current_info", help, &[device, ("clocksource", source)], 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    /// A file with no transitions, only a rule for ever.
    fn zone_of(rule: &str) -> tz::TimeZone {
        let head = |version: u8| {
            let mut head = b"TZif".to_vec();
            head.push(version);
            head.extend([0; 15]);
            for count in [0u32, 0, 0, 0, 1, 4] {
                head.extend(count.to_be_bytes());
            }
            head.extend([0, 0, 0, 0, 0, 0]);
            head.extend(b"UTC\0");
            head
        };
        let bytes = [head(b'2'), head(b'2'), format!("\n{rule}\n").into_bytes()].concat();
        tz::TimeZone::from_tz_data(&bytes).unwrap()
    }

    #[track_caller]
    fn check_zone(rule: &str, now: f64, page: &str) {
        check(|out, faults| report_zone(&zone_of(rule), now, out, faults), page, None);
    }

    #[test]
    fn daylight_saving_is_followed() {
        let rule = "CET-1CEST,M3.5.0,M10.5.0/3";
        check_zone(rule, 1_768_000_000.0, "node_time_zone_offset_seconds{time_zone=\"CET\"} 3600\n");
        check_zone(rule, 1_784_000_000.0, "node_time_zone_offset_seconds{time_zone=\"CEST\"} 7200\n");
        check_zone("EST5", 0.0, "node_time_zone_offset_seconds{time_zone=\"EST\"} -18000\n");
        check_zone("UTC0", 0.0, "node_time_zone_offset_seconds{time_zone=\"UTC\"} 0\n");
    }

    #[test]
    fn without_a_file_it_is_utc_and_with_a_broken_one_a_fault() {
        let root = tempfile::tempdir().unwrap();
        let roots = Roots::new(Some(root.path()));
        let mut faults = Faults::default();
        assert_eq!(zone(&roots, &mut faults), tz::TimeZone::utc());
        assert!(faults.into_result().is_ok());
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/localtime"), "TZif?").unwrap();
        let mut faults = Faults::default();
        assert_eq!(zone(&roots, &mut faults), tz::TimeZone::utc());
        assert!(faults.into_result().unwrap_err().to_string().starts_with("etc/localtime: cannot make sense of"));
        let mut time = Time::default();
        for _ in 0..2 {
            assert_eq!(time.read(&roots, &mut Batch::new()).unwrap_err().kind(), "malformed", "it stays one");
        }
        std::fs::remove_file(root.path().join("etc/localtime")).unwrap();
        std::fs::create_dir(root.path().join("etc/localtime")).unwrap();
        let mut time = Time::default();
        for _ in 0..2 {
            assert_eq!(time.read(&roots, &mut Batch::new()).unwrap_err().kind(), "unreadable");
        }
        std::fs::remove_dir(root.path().join("etc/localtime")).unwrap();
        time.looked = None;
        assert_eq!(time.read(&roots, &mut Batch::new()), Ok(()), "it was mended");
    }

    #[test]
    fn clock_sources_over_the_limit_are_a_fault() {
        let root = tempfile::tempdir().unwrap();
        let roots = Roots::new(Some(root.path()));
        let at = roots.sys.join("devices/system/clocksource/clocksource0");
        std::fs::create_dir_all(&at).unwrap();
        std::fs::write(at.join("available_clocksource"), "tsc ".repeat(SOURCES_MAX + 1)).unwrap();
        let mut faults = Faults::default();
        assert_eq!(sources(&roots, &mut faults)[0].available.len(), SOURCES_MAX);
        let fault = faults.into_result().unwrap_err();
        assert_eq!(fault.to_string(), "clock sources: more than 64, the others are not shown");
    }
}
