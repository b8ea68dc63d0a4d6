//! The aggregator's settings, resolved: every value checked, every default filled in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use lifecycle::SettingsError;
use protocol::limits;

use crate::access;
use crate::forward::{self, Which};
use crate::history::Rules;
use crate::limits::Caps;

/// Less than this could not even hold a few of the longest lines.
const ROOM_MIN: usize = 1 << 20;
/// An aggregator without agents takes some 15 MiB.
const MEMORY_MIN: u64 = 64 << 20;
/// Longest life of a tombstone.
const TOMBSTONE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// A shorter one would begin a partition of the history every few seconds.
const RETENTION_MIN: Duration = Duration::from_secs(3600);
/// Ten years.
const RETENTION_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);
/// A partition goes as a whole: what is kept too long is at most this part of the retention.
const PARTITIONS_PER_RETENTION: u32 = 10;
/// What damage to a partition may cost.
const PARTITION_SPAN_MAX: Duration = Duration::from_secs(24 * 3600);
/// Raw points take some 24 bytes: half a gigabyte, after which they are sealed.
const PARTITION_POINTS_MAX: u64 = 20_000_000;
/// Open files that are no connections of the link or of put/get.
const OTHER_FILES: u64 = 700;
/// How long points wait for the history's database before that is shown.
const HISTORY_PATIENCE: Duration = Duration::from_secs(20);

/// What an aggregator needs to know. docs/settings.md explains each.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address of the HTTP listener; port 0 takes any free one.
    pub http_listen: SocketAddr,
    /// Address of the link.
    pub link_listen: SocketAddr,
    /// Address of put/get.
    pub line_listen: SocketAddr,
    /// Who gets in.
    pub access: access::Rules,
    /// This aggregator's name.
    pub name: String,
    /// `job` label of agents' series.
    pub job: String,
    /// Where to keep what must survive a restart; `None`: nowhere.
    pub data_dir: Option<PathBuf>,
    /// How long tombstones stay.
    pub tombstone: Duration,
    /// Most connections of the link.
    pub connections_max: usize,
    /// Most connections of put/get.
    pub line_connections_max: usize,
    /// Most connections of both together: what the system allows. No setting says it.
    pub files_max: usize,
    /// Most names.
    pub agents_max: usize,
    /// Most series, all agents together.
    pub series_max: usize,
    /// Most series of one agent.
    pub series_per_agent_max: usize,
    /// Most pages written at the same time.
    pub scrapes_max: usize,
    /// Room for declared names and labels, in bytes, all agents together.
    pub declared_max: usize,
    /// Room for lines that are not whole, in bytes.
    pub receive_buffer: usize,
    /// What single senders may take, and all together of the memory.
    pub caps: Caps,
    /// What the history keeps to.
    pub history: Rules,
    /// Do agents' vital signs go to the history?
    pub record_vitals: bool,
    /// Exact mode: does the page show times of measurement unless asked not to?
    pub exact: bool,
    /// Remote write, where there is a URL.
    pub forward: Option<forward::Rules>,
}

impl Settings {
    /// Checks and resolves what the environment says.
    ///
    /// # Errors
    /// The first value that cannot be used.
    pub fn resolve(settings: &lifecycle::Settings) -> Result<Self, SettingsError> {
        let name = settings.text("FLEETGAUGE_NAME")?;
        let data_dir = settings.text("FLEETGAUGE_DATA_DIR")?;
        let job = settings.text("FLEETGAUGE_JOB")?;
        if job.len() > protocol::limits::LABEL_VALUE_BYTES_MAX {
            return Err(settings.bad("FLEETGAUGE_JOB", "accepted: at most 1024 bytes"));
        }
        Ok(Self {
            http_listen: address(settings, "FLEETGAUGE_HTTP_LISTEN")?,
            link_listen: address(settings, "FLEETGAUGE_LINK_LISTEN")?,
            line_listen: address(settings, "FLEETGAUGE_LINE_LISTEN")?,
            access: access::Rules {
                tokens: security::settings::source(settings)?,
                tls: security::settings::server(settings)?,
            },
            name: if name.is_empty() { lifecycle::host::name() } else { name },
            job,
            data_dir: (!data_dir.is_empty()).then(|| data_dir.into()),
            tombstone: tombstone(settings)?,
            connections_max: count(settings, "FLEETGAUGE_MAX_CONNECTIONS", 1_000_000)?,
            line_connections_max: count(settings, "FLEETGAUGE_MAX_LINE_CONNECTIONS", 1_000_000)?,
            files_max: usize::MAX,
            agents_max: count(settings, "FLEETGAUGE_MAX_AGENTS", 1_000_000)?,
            series_max: count(settings, "FLEETGAUGE_MAX_SERIES", 1_000_000_000)?,
            series_per_agent_max: count(settings, "FLEETGAUGE_MAX_SERIES_PER_AGENT", 5_000_000)?,
            scrapes_max: count(settings, "FLEETGAUGE_MAX_SCRAPES", 1_000)?,
            declared_max: bytes(settings, "FLEETGAUGE_MAX_DECLARED")?,
            receive_buffer: bytes(settings, "FLEETGAUGE_RECEIVE_BUFFER")?,
            caps: caps(settings)?,
            history: history(settings)?,
            record_vitals: settings.one_of("FLEETGAUGE_RECORD_VITALS", &["on", "off"])? == "on",
            exact: settings.one_of("FLEETGAUGE_EXACT", &["false", "true"])? == "true",
            forward: forward(settings)?,
        })
    }

    /// Fits what takes open files into so many, of which HTTP and the disk need some: each connection takes
    /// one, and idle ones of the link and of put/get must not take all. Says whether all fitted as it was.
    pub fn fit_open_files(&mut self, files: u64) -> bool {
        let room = usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX).max(1);
        let fits = self.connections_max.saturating_add(self.line_connections_max) <= room;
        self.files_max = room;
        // Who puts and gets leaves agents half of it.
        self.line_connections_max = self.line_connections_max.min(room - self.connections_max.min(room / 2)).max(1);
        self.caps.handshakes = self.caps.handshakes.min(room / 4).max(1);
        self.caps.patience = self.caps.patience.min(room / 8).max(1);
        fits
    }
}

fn address(settings: &lifecycle::Settings, name: &str) -> Result<SocketAddr, SettingsError> {
    settings.parse(name, "an IP address and a port, such as 0.0.0.0:9400, 127.0.0.1:9400 or [::]:9400")
}

fn count(settings: &lifecycle::Settings, name: &str, max: usize) -> Result<usize, SettingsError> {
    let accepted = format!("a whole number from 1 to {max}");
    let number: usize = settings.parse(name, &accepted)?;
    if (1..=max).contains(&number) { Ok(number) } else { Err(settings.bad(name, &format!("accepted: {accepted}"))) }
}

fn bytes(settings: &lifecycle::Settings, name: &str) -> Result<usize, SettingsError> {
    let bytes = settings.bytes(name)?;
    let fits = usize::try_from(bytes).ok().filter(|bytes| *bytes >= ROOM_MIN);
    fits.ok_or_else(|| settings.bad(name, "accepted: 1MiB or more"))
}

fn caps(settings: &lifecycle::Settings) -> Result<Caps, SettingsError> {
    let most = |name: &str, min: usize, max: usize, accepted: &str| {
        let bytes = usize::try_from(settings.bytes(name)?).ok().filter(|bytes| (min..=max).contains(bytes));
        bytes.ok_or_else(|| settings.bad(name, &format!("accepted: {accepted}")))
    };
    let rate = most("FLEETGAUGE_MAX_BYTES_PER_SECOND", limits::LINE_BYTES_MAX, 1 << 40, "64KiB to 1TiB")?;
    let connections = count(settings, "FLEETGAUGE_MAX_CONNECTIONS", 1_000_000)?;
    // Else those without a `hello` could have all connections, and none of them would make room.
    let handshakes = count(settings, "FLEETGAUGE_MAX_HANDSHAKES", 1_000_000)?.min(connections / 4).max(1);
    let welcomes = count(settings, "FLEETGAUGE_MAX_WELCOMES", 1_000_000)?;
    Ok(Caps {
        enforce: settings.one_of("FLEETGAUGE_LIMITS", &["enforce", "count"])? == "enforce",
        bytes_per_second: rate as u64,
        line_bytes: most("FLEETGAUGE_MAX_LINE", limits::HELLO_BYTES_MAX, limits::LINE_BYTES_MAX, "4KiB to 64KiB")?,
        labels: count(settings, "FLEETGAUGE_MAX_LABELS", limits::SERIES_LABELS_MAX)?,
        label_value_bytes: most("FLEETGAUGE_MAX_LABEL_VALUE", 1, limits::LABEL_VALUE_BYTES_MAX, "1B to 1KiB")?,
        per_address: count(settings, "FLEETGAUGE_MAX_CONNECTIONS_PER_ADDRESS", 1_000_000)?,
        handshakes,
        // Twice as many, but never so many that nobody else gets a connection.
        patience: (2 * handshakes).min(connections / 8).max(1),
        welcomes_per_second: u32::try_from(welcomes).unwrap_or(u32::MAX),
        memory: memory(settings)?,
    })
}

/// The limit that was set, or else the one that the system sets anyhow.
fn memory(settings: &lifecycle::Settings) -> Result<Option<u64>, SettingsError> {
    const NAME: &str = "FLEETGAUGE_MEMORY_LIMIT";
    match settings.text(NAME)?.as_str() {
        "" => Ok(lifecycle::memory::allowed()),
        "none" => Ok(None),
        _ => match settings.bytes(NAME)? {
            bytes if bytes >= MEMORY_MIN => Ok(Some(bytes)),
            _ => Err(settings.bad(NAME, "accepted: none, or 64MiB or more")),
        },
    }
}

fn history(settings: &lifecycle::Settings) -> Result<Rules, SettingsError> {
    let retention = settings.duration("FLEETGAUGE_RETENTION")?;
    if !(RETENTION_MIN..=RETENTION_MAX).contains(&retention) {
        return Err(settings.bad("FLEETGAUGE_RETENTION", "accepted: 1h to 3650d"));
    }
    Ok(Rules {
        sync: settings.one_of("FLEETGAUGE_DURABILITY", &["sync", "os"])? == "sync",
        retention,
        keys_max: count(settings, "FLEETGAUGE_MAX_KEYS", 100_000_000)?,
        put_expiry: settings.duration("FLEETGAUGE_PUT_EXPIRY")?,
        put_series_max: count(settings, "FLEETGAUGE_MAX_PUT_SERIES", 1_000_000)?,
        reserve_bytes: settings.bytes("FLEETGAUGE_DISK_RESERVE")?,
        partition_span: (retention / PARTITIONS_PER_RETENTION).min(PARTITION_SPAN_MAX),
        partition_points_max: PARTITION_POINTS_MAX,
        patience: HISTORY_PATIENCE,
    })
}

/// Shortest and longest age up to which samples are written remotely.
const WINDOW_MIN: Duration = Duration::from_secs(10);
const WINDOW_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

fn forward(settings: &lifecycle::Settings) -> Result<Option<forward::Rules>, SettingsError> {
    let (url, token_file) =
        (settings.text("FLEETGAUGE_REMOTE_WRITE_URL")?, settings.text("FLEETGAUGE_REMOTE_WRITE_TOKEN_FILE")?);
    let which = settings.one_of("FLEETGAUGE_REMOTE_WRITE", &["late", "all"])?;
    let window = settings.duration("FLEETGAUGE_REMOTE_WRITE_WINDOW")?;
    if !(WINDOW_MIN..=WINDOW_MAX).contains(&window) {
        return Err(settings.bad("FLEETGAUGE_REMOTE_WRITE_WINDOW", "accepted: 10s to 30d"));
    }
    let buffer = bytes(settings, "FLEETGAUGE_REMOTE_WRITE_BUFFER")?;
    if url.is_empty() {
        // Whoever names these wants it, and must not find out later that nothing was written.
        let alone = [
            ("FLEETGAUGE_REMOTE_WRITE", which == "all"),
            ("FLEETGAUGE_REMOTE_WRITE_TOKEN_FILE", !token_file.is_empty()),
        ];
        return match alone.into_iter().find(|(_, is_set)| *is_set) {
            Some((name, _)) => Err(settings.bad(name, "FLEETGAUGE_REMOTE_WRITE_URL must be set too")),
            None => Ok(None),
        };
    }
    let schemes: &[&str] = if cfg!(feature = "tls") { &["http", "https"] } else { &["http"] };
    let good = |url: &hyper::Uri| {
        let names_nobody = url.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        names_nobody && url.scheme_str().is_some_and(|scheme| schemes.contains(&scheme))
    };
    let Some(url) = url.parse().ok().filter(good) else {
        let accepted = format!(
            "accepted: a URL that begins with {}://, without a password, such as http://prometheus:9090/api/v1/write",
            schemes.join(":// or ")
        );
        return Err(settings.bad_unseen("FLEETGAUGE_REMOTE_WRITE_URL", &accepted));
    };
    let which = if which == "all" { Which::All } else { Which::Late };
    let token_file = (!token_file.is_empty()).then(|| token_file.into());
    Ok(Some(forward::Rules { url, token_file, which, window, buffer }))
}

fn tombstone(settings: &lifecycle::Settings) -> Result<Duration, SettingsError> {
    let tombstone = settings.duration("FLEETGAUGE_TOMBSTONE")?;
    if tombstone <= TOMBSTONE_MAX {
        return Ok(tombstone);
    }
    Err(settings.bad("FLEETGAUGE_TOMBSTONE", "accepted: at most 365d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_bad(name: &str, value: &str, accepted: &str) {
        let settings = lifecycle::Settings::from_pairs([(name, value)]).unwrap();
        let error = Settings::resolve(&settings).map(drop).unwrap_err().to_string();
        assert!(error.starts_with(name) && error.contains(accepted), "{error}");
    }

    #[test]
    fn limits_of_senders_have_limits() {
        check_bad("FLEETGAUGE_LIMITS", "off", "enforce or count");
        check_bad("FLEETGAUGE_MAX_BYTES_PER_SECOND", "1KiB", "64KiB to 1TiB");
        check_bad("FLEETGAUGE_MAX_LINE", "65KiB", "4KiB to 64KiB");
        check_bad("FLEETGAUGE_MAX_LABELS", "33", "1 to 32");
        check_bad("FLEETGAUGE_MAX_LABEL_VALUE", "0", "1B to 1KiB");
        check_bad("FLEETGAUGE_MEMORY_LIMIT", "1MiB", "none, or 64MiB or more");
        check_bad("FLEETGAUGE_MEMORY_LIMIT", "some", "a size such as");
        let set =
            lifecycle::Settings::from_pairs([("FLEETGAUGE_MEMORY_LIMIT", "none"), ("FLEETGAUGE_LIMITS", "count")]);
        let caps = Settings::resolve(&set.unwrap()).unwrap().caps;
        assert_eq!((caps.memory, caps.enforce, caps.bytes_per_second), (None, false, 8 << 20));
    }

    #[test]
    fn connections_fit_into_the_open_files() {
        let fitted = |links: &str, lines: &str, files| {
            let set = [("FLEETGAUGE_MAX_CONNECTIONS", links), ("FLEETGAUGE_MAX_LINE_CONNECTIONS", lines)];
            let mut settings = Settings::resolve(&lifecycle::Settings::from_pairs(set).unwrap()).unwrap();
            let fits = settings.fit_open_files(files);
            (fits, settings.files_max, settings.line_connections_max, settings.caps.handshakes, settings.caps.patience)
        };
        let (fits, room, lines, ..) = fitted("8000", "1000", 10_000);
        assert_eq!((fits, room, lines), (true, 9_300, 1_000));
        assert_eq!(fitted("8000", "1000", 1_100), (false, 400, 200, 100, 50), "agents have half of 400");
        assert_eq!(fitted("100", "1000", 1_100), (false, 400, 300, 25, 12), "or what they may have");
        assert_eq!(fitted("8000", "1000", 3), (false, 1, 1, 1, 1));
    }

    #[test]
    fn remote_write_without_a_url_is_not_passed_over() {
        let url = "FLEETGAUGE_REMOTE_WRITE_URL must be set too";
        check_bad("FLEETGAUGE_REMOTE_WRITE", "all", url);
        check_bad("FLEETGAUGE_REMOTE_WRITE_TOKEN_FILE", "/token", url);
        let both = [("FLEETGAUGE_REMOTE_WRITE", "all"), ("FLEETGAUGE_REMOTE_WRITE_URL", "http://p:9090/api/v1/write")];
        let both = lifecycle::Settings::from_pairs(both).unwrap();
        assert!(Settings::resolve(&both).unwrap().forward.is_some());
        let late = lifecycle::Settings::from_pairs([("FLEETGAUGE_REMOTE_WRITE", "late")]).unwrap();
        assert!(Settings::resolve(&late).unwrap().forward.is_none(), "it is the default");
    }

    #[test]
    fn a_password_in_a_url_is_not_repeated() {
        for url in ["http://u:hunter2@host/write", "ftp://u:hunter2@host", "u:hunter2@ host"] {
            let settings = lifecycle::Settings::from_pairs([("FLEETGAUGE_REMOTE_WRITE_URL", url)]).unwrap();
            let error = Settings::resolve(&settings).map(drop).unwrap_err().to_string();
            assert!(error.starts_with("FLEETGAUGE_REMOTE_WRITE_URL is not usable: accepted: a URL"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn vital_signs_are_recorded_unless_somebody_says_off() {
        let resolve = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Settings::resolve(&lifecycle::Settings::from_pairs(pairs).unwrap()).map(|settings| settings.record_vitals)
        };
        assert!(resolve(&[]).unwrap());
        assert!(!resolve(&[("FLEETGAUGE_RECORD_VITALS", "off")]).unwrap());
        let error = resolve(&[("FLEETGAUGE_RECORD_VITALS", "no")]).unwrap_err();
        assert!(error.to_string().contains("on or off"), "{error}");
    }
}
