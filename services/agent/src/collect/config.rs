//! What is collected and how often, as the settings say it.

use std::path::PathBuf;
use std::time::Duration;

use lifecycle::{Settings, SettingsError};
use protocol::Labels;
use regex_lite::Regex;

use super::filter::Filter;

/// Shortest and longest interval of a single collector.
const EVERY_MIN: Duration = Duration::from_secs(1);
const EVERY_MAX: Duration = Duration::from_secs(24 * 3600);
/// Most directories of text files.
const DIRECTORIES_MAX: usize = 16;

/// What is collected.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Time between two pushes.
    pub interval: Duration,
    /// Collectors switched on and off, in this order; `all` is every one.
    pub switches: Vec<(String, bool)>,
    /// Collectors read more rarely, or more often, than they would be.
    pub every: Vec<(String, Duration)>,
    /// Disks of `diskstats`.
    pub diskstats_devices: Filter,
    /// Mount points of `filesystem` and of the vital signs.
    pub mount_points: Filter,
    /// Kinds of file systems, of the same.
    pub fs_types: Filter,
    /// Network devices of `netdev` and of the vital signs.
    pub netdev_devices: Filter,
    /// Network devices of `netclass`.
    pub netclass_devices: Filter,
    /// Network devices of `arp`.
    pub arp_devices: Filter,
    /// Chips of `hwmon`.
    pub hwmon_chips: Filter,
    /// Interrupts, by their name and what is connected to them.
    pub interrupts: Filter,
    /// Fields of `netstat`, such as `Tcp_InSegs`.
    pub netstat_fields: Filter,
    /// Fields of `vmstat`.
    pub vmstat_fields: Filter,
    /// Units of `systemd`.
    pub systemd_units: Filter,
    /// Where text files are read.
    pub textfile_directories: Vec<PathBuf>,
    /// Text files older than this are not shown.
    pub textfile_age_max: Option<Duration>,
    /// Labels that the agent gives to all its series; those of text files need not repeat them.
    pub labels: Labels,
}

impl Config {
    /// Checks and completes what the environment says.
    ///
    /// # Errors
    /// One sentence on the first value that cannot be used.
    pub fn resolve(settings: &Settings, interval: Duration) -> Result<Self, SettingsError> {
        let filter = |include: Option<&str>, exclude: Option<&str>| -> Result<Filter, SettingsError> {
            let include = include.map(|name| expression(settings, name)).transpose()?.flatten();
            let exclude = exclude.map(|name| expression(settings, name)).transpose()?.flatten();
            Ok(Filter::new(include, exclude))
        };
        let pair = |stem: &str| {
            let (include, exclude) = (format!("FLEETGAUGE_{stem}_INCLUDE"), format!("FLEETGAUGE_{stem}_EXCLUDE"));
            // What is asked for by name is not taken away by a default.
            let is_default = settings.is_given(&include) && !settings.is_given(&exclude);
            filter(Some(&include), Some(&exclude).filter(|_| !is_default).map(String::as_str))
        };
        Ok(Self {
            interval,
            switches: switches(settings)?,
            every: every(settings)?,
            diskstats_devices: pair("DISKSTATS_DEVICE")?,
            mount_points: pair("FILESYSTEM_MOUNT_POINTS")?,
            fs_types: pair("FILESYSTEM_FS_TYPES")?,
            netdev_devices: pair("NETDEV_DEVICE")?,
            netclass_devices: pair("NETCLASS_DEVICE")?,
            arp_devices: pair("ARP_DEVICE")?,
            hwmon_chips: pair("HWMON_CHIP")?,
            interrupts: pair("INTERRUPTS_NAME")?,
            netstat_fields: filter(Some("FLEETGAUGE_NETSTAT_FIELDS"), None)?,
            vmstat_fields: filter(Some("FLEETGAUGE_VMSTAT_FIELDS"), None)?,
            systemd_units: pair("SYSTEMD_UNIT")?,
            textfile_directories: directories(settings)?,
            textfile_age_max: Some(settings.duration("FLEETGAUGE_TEXTFILE_AGE_MAX")?).filter(|age| !age.is_zero()),
            labels: Labels::default(),
        })
    }

    /// Is a collector to be read, if by itself it would or would not be?
    #[must_use]
    pub fn is_on(&self, collector: &str, by_default: bool) -> bool {
        let mut switches = self.switches.iter().filter(|(name, _)| name == collector || name == "all");
        switches.next_back().map_or(by_default, |(_, on)| *on)
    }

    /// What the settings switch on and off, for the log.
    #[must_use]
    pub fn switched(&self) -> String {
        let word = |(name, on): &(String, bool)| format!("{}{name}", if *on { "" } else { "-" });
        self.switches.iter().map(word).collect::<Vec<_>>().join(",")
    }

    /// How often a collector is read; `None`: for every push.
    #[must_use]
    pub fn every(&self, collector: &str, by_default: Option<Duration>) -> Option<Duration> {
        let given = self.every.iter().rfind(|(name, _)| name == collector).map(|(_, every)| *every);
        given.or(by_default).filter(|every| *every > self.interval)
    }
}

fn expression(settings: &Settings, name: &str) -> Result<Option<Regex>, SettingsError> {
    let text = settings.text(name)?;
    if text.is_empty() {
        return Ok(None);
    }
    // As there: only these must match a whole name.
    let whole = name.starts_with("FLEETGAUGE_SYSTEMD_");
    let expression = if whole { format!("^(?:{text})$") } else { text };
    Regex::new(&expression)
        .map(Some)
        .map_err(|error| settings.bad(name, &format!("accepted: a regular expression ({error})")))
}

/// The items of a list with commas.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn switches(settings: &Settings) -> Result<Vec<(String, bool)>, SettingsError> {
    const NAME: &str = "FLEETGAUGE_COLLECTORS";
    let text = settings.text(NAME)?;
    let switch = |item: &str| match item.strip_prefix('-') {
        Some(name) => (name.to_owned(), false),
        None => (item.to_owned(), true),
    };
    let switches: Vec<(String, bool)> = items(&text).map(switch).collect();
    // What is not built in may be switched off.
    let needed = switches.iter().filter(|(name, on)| name != "all" && (*on || name != "systemd"));
    known(settings, NAME, needed.map(|(name, _)| name.as_str()))?;
    Ok(switches)
}

fn every(settings: &Settings) -> Result<Vec<(String, Duration)>, SettingsError> {
    const NAME: &str = "FLEETGAUGE_COLLECTOR_INTERVALS";
    const ACCEPTED: &str = "accepted: collector=duration from 1s to 24h, with commas between (processes=1m,hwmon=30s)";
    let text = settings.text(NAME)?;
    let one = |item: &str| {
        let (name, every) = item.split_once('=')?;
        let every = lifecycle::duration(every.trim()).filter(|every| (EVERY_MIN..=EVERY_MAX).contains(every))?;
        Some((name.trim().to_owned(), every))
    };
    let pairs: Option<Vec<(String, Duration)>> = items(&text).map(one).collect();
    let pairs = pairs.ok_or_else(|| settings.bad(NAME, ACCEPTED))?;
    known(settings, NAME, pairs.iter().map(|(name, _)| name.as_str()))?;
    Ok(pairs)
}

/// Are these names of collectors? Elsewhere than on Linux there are fewer, and the settings of a
/// fleet may name them all.
fn known<'a>(
    settings: &Settings,
    variable: &str,
    mut names: impl Iterator<Item = &'a str>,
) -> Result<(), SettingsError> {
    let collectors: Vec<&str> = super::all(&Config::default()).iter().map(|collector| collector.name()).collect();
    match names.find(|name| cfg!(target_os = "linux") && !collectors.contains(name)) {
        None => Ok(()),
        Some(name) => {
            let hint = match name {
                "systemd" => "this agent is built without the collector systemd (cargo feature `systemd`)".to_owned(),
                _ => format!("there is no collector {name:?}"),
            };
            let accepted = format!("{hint}; accepted, with commas between: all {}", collectors.join(" "));
            Err(settings.bad(variable, &accepted))
        }
    }
}

fn directories(settings: &Settings) -> Result<Vec<PathBuf>, SettingsError> {
    const NAME: &str = "FLEETGAUGE_TEXTFILE_DIRECTORY";
    let text = settings.text(NAME)?;
    let directories: Vec<PathBuf> = items(&text).map(PathBuf::from).collect();
    if directories.len() > DIRECTORIES_MAX || directories.iter().any(|directory| !directory.is_absolute()) {
        let accepted = format!("accepted: at most {DIRECTORIES_MAX} absolute paths, with commas between");
        return Err(settings.bad(NAME, &accepted));
    }
    Ok(directories)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    fn resolve(pairs: &[(&str, &str)]) -> Result<Config, SettingsError> {
        Config::resolve(&Settings::from_pairs(pairs.iter().copied())?, Duration::from_secs(5))
    }

    #[test]
    fn the_last_switch_counts() {
        let config = resolve(&[("FLEETGAUGE_COLLECTORS", "-all, cpu,stat,-stat")]).unwrap();
        assert_eq!(["cpu", "stat", "netdev"].map(|name| config.is_on(name, true)), [true, false, false]);
        let config = resolve(&[]).unwrap();
        assert!(config.is_on("cpu", true) && !config.is_on("cpu", false));
    }

    #[test]
    fn intervals() {
        let config = resolve(&[("FLEETGAUGE_COLLECTOR_INTERVALS", "cpu=1m, stat=2s")]).unwrap();
        assert_eq!(config.every("cpu", None), Some(Duration::from_secs(60)));
        assert_eq!(config.every("stat", Some(Duration::from_secs(30))), None, "not longer than that of the pushes");
        assert_eq!(config.every("netdev", Some(Duration::from_secs(30))), Some(Duration::from_secs(30)));
    }

    #[test]
    fn filters_have_the_defaults_of_the_table() {
        let mut config = resolve(&[]).unwrap();
        assert!(!config.netdev_devices.shows("veth12ab") && config.netdev_devices.shows("eth0"));
        assert!(!config.fs_types.shows("overlay") && config.fs_types.shows("ext4"));
        for (mountpoint, shown) in [
            ("/", true),
            ("/proc/x", false),
            ("/procure", true),
            ("/var/lib/docker/x", false),
            ("/run/user/1000", true),
        ] {
            assert_eq!(config.mount_points.shows(mountpoint), shown, "{mountpoint}");
        }
        assert!(config.systemd_units.shows("a.service") && !config.systemd_units.shows("a.slice"));
        assert!(config.netstat_fields.shows("Tcp_InSegs") && !config.netstat_fields.shows("Tcp_MaxConn"));
        assert!(config.vmstat_fields.shows("pgmajfault") && !config.vmstat_fields.shows("nr_free_pages"));
    }

    #[test]
    fn an_include_alone_is_not_cut_down_by_the_default_exclude() {
        let include = ("FLEETGAUGE_DISKSTATS_DEVICE_INCLUDE", "^loop");
        let mut config = resolve(&[include]).unwrap();
        assert!(config.diskstats_devices.shows("loop0") && !config.diskstats_devices.shows("sda"));
        let mut config = resolve(&[include, ("FLEETGAUGE_DISKSTATS_DEVICE_EXCLUDE", "1$")]).unwrap();
        assert!(config.diskstats_devices.shows("loop0") && !config.diskstats_devices.shows("loop1"));
    }

    #[test]
    fn expressions_of_units_are_of_whole_names() {
        let mut config = resolve(&[("FLEETGAUGE_SYSTEMD_UNIT_INCLUDE", "ssh|cron.service")]).unwrap();
        assert!(config.systemd_units.shows("cron.service") && !config.systemd_units.shows("ssh.service"));
    }

    #[track_caller]
    fn check_bad(name: &str, value: &str, why: &str) {
        let error = resolve(&[(name, value)]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{name}=")) && error.contains(why), "{error}");
    }

    #[test]
    fn errors_say_what_is_accepted() {
        check_bad(
            "FLEETGAUGE_COLLECTORS",
            "cpu,cpus",
            "there is no collector \"cpus\"; accepted, with commas between: all vitals ",
        );
        check_bad("FLEETGAUGE_COLLECTOR_INTERVALS", "cpu", "collector=duration");
        check_bad("FLEETGAUGE_COLLECTOR_INTERVALS", "cpu=1ms", "from 1s to 24h");
        check_bad("FLEETGAUGE_NETDEV_DEVICE_INCLUDE", "a(", "a regular expression");
        check_bad("FLEETGAUGE_TEXTFILE_DIRECTORY", "here", "absolute paths");
    }
}
