//! What an agent needs to know, resolved: names and addresses that are valid, or an error.

use std::path::PathBuf;
use std::time::Duration;

use lifecycle::SettingsError;
use protocol::limits::{AGENT_NAME_BYTES_MAX, INTERVAL_MAX, INTERVAL_MIN};
use protocol::{AgentName, Labels, declare};
use security::{ClientTls, Shown};

use crate::collect::config::Config;
use crate::spool::SpoolSettings;

/// Longest labels, written as JSON: a `hello` has 4,096 bytes, of which names, clocks and what the
/// host is take less than 1,500.
const LABELS_BYTES_MAX: usize = 2560;
/// Most aggregators in the list.
const AGGREGATORS_MAX: usize = 16;
/// Smallest and largest spool.
const SPOOL_BYTES_MIN: usize = 256 << 10;
const SPOOL_BYTES_MAX: usize = 64 << 30;

/// Where an aggregator listens for agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl std::str::FromStr for Target {
    type Err = ();

    /// Reads `host:port` or `[v6]:port`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (host, port) = text.rsplit_once(':').ok_or(())?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
            Some(_) => return Err(()),
            None => host,
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if host.is_empty() || host.len() > AGENT_NAME_BYTES_MAX || (bracketed.is_none() && !host.chars().all(plain)) {
            return Err(());
        }
        let port = port.parse().ok().filter(|port| *port > 0).ok_or(())?;
        Ok(Self { host: host.to_owned(), port })
    }
}

/// An agent's settings. Programs that embed agents change them before [`crate::Agent::new`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// This agent's name, the `instance` label of its series.
    pub agent: AgentName,
    /// Where to push: the first that takes it.
    pub aggregators: Vec<Target>,
    /// Time between two measurements.
    pub interval: Duration,
    /// Labels for all series.
    pub labels: Labels,
    /// Leave nothing behind after a clean stop.
    pub ephemeral: bool,
    /// Where the measured host's `/` is mounted; `None`: the process runs on it.
    pub host_root: Option<PathBuf>,
    /// Where its `/proc` is, if not below that.
    pub host_proc: Option<PathBuf>,
    /// Where its `/sys` is, if not below that.
    pub host_sys: Option<PathBuf>,
    /// What is measured.
    pub collect: Config,
    /// File that is written at each acknowledged push.
    pub heartbeat: Option<PathBuf>,
    /// Where what cannot be sent waits, and how much of it.
    pub spool: SpoolSettings,
    /// The token to show, when an aggregator asks.
    pub token: Shown,
    /// How to speak TLS; `None`: plain TCP.
    pub tls: Option<ClientTls>,
}

impl Settings {
    /// Checks and completes what the environment says.
    ///
    /// # Errors
    /// One sentence on the first value that cannot be used.
    pub fn resolve(settings: &lifecycle::Settings) -> Result<Self, SettingsError> {
        let interval = interval(settings)?;
        let labels = labels(settings)?;
        let host_root = directory(settings, "FLEETGAUGE_HOST_ROOT", "/")?.filter(|root| root != "/");
        let host_proc = directory(settings, "FLEETGAUGE_HOST_PROC", "/proc")?.filter(|proc| proc != "/proc");
        if host_proc.is_some() && host_root.is_none() {
            let why = "FLEETGAUGE_HOST_ROOT must be set too: file systems are asked below it, and names read";
            return Err(settings.bad("FLEETGAUGE_HOST_PROC", why));
        }
        Ok(Self {
            agent: agent_name(settings)?,
            aggregators: aggregators(settings)?,
            interval,
            ephemeral: settings.flag("FLEETGAUGE_EPHEMERAL")?,
            host_root,
            host_proc,
            host_sys: directory(settings, "FLEETGAUGE_HOST_SYS", "/sys")?,
            collect: Config { labels: labels.clone(), ..Config::resolve(settings, interval)? },
            labels,
            heartbeat: path(settings, "FLEETGAUGE_HEARTBEAT_FILE")?,
            spool: SpoolSettings {
                memory: spool_bytes(settings, "FLEETGAUGE_SPOOL_MEMORY")?,
                disk: spool_bytes(settings, "FLEETGAUGE_SPOOL_DISK")?,
                dir: path(settings, "FLEETGAUGE_SPOOL_DIR")?,
            },
            token: token(settings)?,
            tls: tls(settings)?,
        })
    }
}

/// The least holds some pushes of an ordinary host; the most is 100 times what a day takes.
fn spool_bytes(settings: &lifecycle::Settings, name: &str) -> Result<usize, SettingsError> {
    let bytes = usize::try_from(settings.bytes(name)?).ok();
    let bytes = bytes.filter(|bytes| (SPOOL_BYTES_MIN..=SPOOL_BYTES_MAX).contains(bytes));
    bytes.ok_or_else(|| settings.bad(name, "accepted: a size from 256KiB to 64GiB"))
}

/// What cannot be read at the start is a mistake; later it may come back.
fn token(settings: &lifecycle::Settings) -> Result<Shown, SettingsError> {
    let token = security::settings::shown(settings)?;
    match token.read() {
        Ok(Some(secret)) if secret.is_short() => {
            tracing::warn!(
                "the token has less than 16 characters and can be guessed; openssl rand -hex 32 makes a good one"
            );
        }
        Ok(_) => {}
        Err(why) => return Err(settings.bad("FLEETGAUGE_TOKEN_FILE", &why)),
    }
    Ok(token)
}

fn tls(settings: &lifecycle::Settings) -> Result<Option<ClientTls>, SettingsError> {
    let tls = security::settings::client(settings)?;
    match tls.as_ref().map(ClientTls::load) {
        None | Some(Ok(_)) => Ok(tls),
        Some(Err(bad)) => Err(settings.bad(bad.setting, &bad.why)),
    }
}

fn path(settings: &lifecycle::Settings, name: &str) -> Result<Option<PathBuf>, SettingsError> {
    Ok(Some(settings.text(name)?).filter(|text| !text.is_empty()).map(PathBuf::from))
}

/// `FLEETGAUGE_INTERVAL`, which is also what health is measured by.
///
/// # Errors
/// When it is no duration or out of bounds.
pub fn interval(settings: &lifecycle::Settings) -> Result<Duration, SettingsError> {
    let interval = settings.duration("FLEETGAUGE_INTERVAL")?;
    if (INTERVAL_MIN..=INTERVAL_MAX).contains(&interval) {
        return Ok(interval);
    }
    Err(settings.bad("FLEETGAUGE_INTERVAL", "accepted: a duration from 100ms to 10m"))
}

fn agent_name(settings: &lifecycle::Settings) -> Result<AgentName, SettingsError> {
    let given = settings.text("FLEETGAUGE_AGENT")?;
    if !given.is_empty() {
        return AgentName::parse(&given)
            .map_err(|_| settings.bad("FLEETGAUGE_AGENT", "accepted: 1 to 253 characters of A-Z a-z 0-9 . _ : -"));
    }
    AgentName::parse(&as_agent_name(&lifecycle::host::name()))
        .map_err(|_| settings.bad("FLEETGAUGE_AGENT", "this host has no name, so it must be set"))
}

/// Makes a name of a host's name: what an agent's name cannot have becomes `-`.
fn as_agent_name(host: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || "._:-".contains(c) { c } else { '-' };
    host.chars().map(fit).take(AGENT_NAME_BYTES_MAX).collect()
}

fn aggregators(settings: &lifecycle::Settings) -> Result<Vec<Target>, SettingsError> {
    const NAME: &str = "FLEETGAUGE_AGGREGATOR";
    let text = settings.text(NAME)?;
    let targets: Result<Vec<Target>, ()> = text.split(',').map(|one| one.trim().parse()).collect();
    match targets {
        Ok(targets) if targets.len() <= AGGREGATORS_MAX => Ok(targets),
        _ => Err(settings.bad(
            NAME,
            &format!(
                "accepted: host:port, or at most {AGGREGATORS_MAX} of them with commas between (IPv6 as [::1]:9401)"
            ),
        )),
    }
}

fn labels(settings: &lifecycle::Settings) -> Result<Labels, SettingsError> {
    const NAME: &str = "FLEETGAUGE_LABELS";
    let text = settings.text(NAME)?;
    let mut labels = Labels::default();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| settings.bad(NAME, "accepted: name=value, with commas between"))?;
        labels.0.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    declare::check_agent_labels(&labels).map_err(|unfit| settings.bad(NAME, &unfit.reason))?;
    let mut text = Vec::new();
    protocol::encode(&labels, &mut text);
    if text.len() > LABELS_BYTES_MAX {
        return Err(settings.bad(NAME, &format!("accepted: at most {LABELS_BYTES_MAX} bytes in all")));
    }
    Ok(labels)
}

fn directory(settings: &lifecycle::Settings, name: &str, what: &str) -> Result<Option<PathBuf>, SettingsError> {
    let Some(root) = path(settings, name)? else { return Ok(None) };
    if !cfg!(target_os = "linux") {
        return Err(settings.bad(name, "accepted on Linux only: elsewhere an agent measures the host it runs on"));
    }
    if !root.is_absolute() || !root.is_dir() {
        return Err(settings.bad(name, &format!("accepted: an absolute path where the host's {what} is mounted")));
    }
    // Lists of mounts know no links.
    Ok(Some(root.canonicalize().unwrap_or(root)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::resolve(&lifecycle::Settings::from_pairs(pairs.iter().copied())?)
    }

    #[test]
    fn nothing_set_is_enough() {
        let settings = resolve(&[]).unwrap();
        assert_eq!(settings.aggregators, [Target { host: "127.0.0.1".into(), port: 9401 }]);
        assert_eq!(settings.interval, Duration::from_secs(5));
        assert_eq!((settings.host_root, settings.heartbeat, settings.ephemeral), (None, None, false));
        assert!(!settings.agent.as_str().is_empty());
    }

    #[test]
    fn what_is_set_holds() {
        let settings = resolve(&[
            ("FLEETGAUGE_AGENT", "007"),
            ("FLEETGAUGE_AGGREGATOR", "aggregator:9401, [2001:db8::1]:9402,10.0.0.1:9403"),
            ("FLEETGAUGE_INTERVAL", "250ms"),
            ("FLEETGAUGE_LABELS", "zone=a, rack=7=8,"),
            ("FLEETGAUGE_EPHEMERAL", "true"),
        ])
        .unwrap();
        assert_eq!(settings.agent.as_str(), "007");
        let targets: Vec<String> = settings.aggregators.iter().map(ToString::to_string).collect();
        assert_eq!(targets, ["aggregator:9401", "[2001:db8::1]:9402", "10.0.0.1:9403"]);
        assert_eq!(settings.labels, Labels::of(&[("zone", "a"), ("rack", "7=8")]));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_host_may_be_looked_at_from_a_container() {
        let root = |path| resolve(&[("FLEETGAUGE_HOST_ROOT", path)]).unwrap().host_root;
        assert_eq!(root("/proc"), Some(PathBuf::from("/proc")));
        assert_eq!(root("/"), None, "that is the host itself");
        check_bad("FLEETGAUGE_HOST_ROOT", "/does/not/exist", "absolute path");
        check_bad("FLEETGAUGE_HOST_ROOT", "proc", "absolute path");
        check_bad("FLEETGAUGE_HOST_PROC", "/tmp", "FLEETGAUGE_HOST_ROOT must be set too");
    }

    #[test]
    fn a_host_name_becomes_a_name() {
        assert_eq!(as_agent_name("Jörg's MacBook"), "J-rg-s-MacBook");
        assert_eq!(as_agent_name("web-1.example"), "web-1.example");
    }

    #[track_caller]
    fn check_bad(name: &str, value: &str, why: &str) {
        let error = resolve(&[(name, value)]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{name}=")) && error.contains(why), "{error}");
    }

    #[test]
    fn errors_name_the_variable_and_what_is_accepted() {
        for target in ["aggregator", "aggregator:", ":9401", "a:0", "a:70000", "a b:1", "::1:9401", "[x]:1", "a:1,"] {
            check_bad("FLEETGAUGE_AGGREGATOR", target, "host:port");
        }
        check_bad("FLEETGAUGE_AGGREGATOR", "http://a:9401", "host:port");
        check_bad("FLEETGAUGE_AGENT", "a b", "1 to 253 characters");
        check_bad("FLEETGAUGE_INTERVAL", "10ms", "100ms to 10m");
        check_bad("FLEETGAUGE_INTERVAL", "1h", "100ms to 10m");
        check_bad("FLEETGAUGE_LABELS", "zone", "name=value");
        check_bad("FLEETGAUGE_LABELS", "a-b=c", "names no label");
        check_bad("FLEETGAUGE_LABELS", "instance=x", "not an agent's to set");
        check_bad("FLEETGAUGE_LABELS", "a=1,a=2", "stands twice");
        check_bad("FLEETGAUGE_LABELS", "le=1", "belongs to histograms");
        let long = "x".repeat(700);
        let four = ["a", "b", "c", "d"].map(|name| format!("{name}={long}")).join(",");
        check_bad("FLEETGAUGE_LABELS", &four, "at most 2560 bytes in all");
        check_bad("FLEETGAUGE_EPHEMERAL", "yes", "true or false");
        check_bad("FLEETGAUGE_SPOOL_MEMORY", "1KiB", "256KiB to 64GiB");
        check_bad("FLEETGAUGE_SPOOL_DISK", "1TiB", "256KiB to 64GiB");
    }
}
