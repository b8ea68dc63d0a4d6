//! Settings come from environment variables called `FLEETGAUGE_…`, and from nowhere else.
//!
//! A name that nobody knows is refused with the nearest known one; a bad value names the variable,
//! the value and what is accepted. A variable that is set but empty counts as not set, so that
//! `FLEETGAUGE_LABELS=${LABELS:-}` works.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use config::{Config, Environment};

use crate::table::{Known, TABLE};

const PREFIX: &str = "FLEETGAUGE_";

/// Why the settings are not usable: one sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

/// What the environment says, by variable name, names checked and values not yet.
#[derive(Clone, Default)]
pub struct Settings {
    given: BTreeMap<&'static str, String>,
    defaults: BTreeMap<&'static str, String>,
    warnings: Vec<String>,
}

/// Secrets are left out.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given: BTreeMap<&str, &str> = self
            .given
            .iter()
            .map(|(name, value)| (*name, if is_secret(name) { "…" } else { value.as_str() }))
            .collect();
        f.debug_struct("Settings").field("given", &given).field("defaults", &self.defaults).finish_non_exhaustive()
    }
}

fn is_secret(name: &str) -> bool {
    TABLE.iter().any(|known| known.name == name && known.secret)
}

impl Settings {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// When a `FLEETGAUGE_…` variable is not known.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn from_environment() -> Result<Self, SettingsError> {
        Self::from_pairs(std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            name.starts_with(PREFIX).then(|| (name, value.to_string_lossy().into_owned()))
        }))
    }

    /// Reads pairs of names and values, for tests and for embedding.
    ///
    /// # Errors
    /// As [`Settings::from_environment`].
    pub fn from_pairs<N: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, SettingsError> {
        let pairs: HashMap<String, String> = pairs.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
        // `try_parsing` stays off: an agent called 007 must not become 7.
        let source =
            Environment::with_prefix("FLEETGAUGE").prefix_separator("_").ignore_empty(true).source(Some(pairs));
        let found: BTreeMap<String, String> = Config::builder()
            .add_source(source)
            .build()
            .and_then(Config::try_deserialize)
            .map_err(|error| SettingsError(format!("the environment cannot be read: {error}")))?;
        let mut settings = Self::default();
        for (key, value) in found {
            settings.take(&format!("{PREFIX}{}", key.to_uppercase()), value)?;
        }
        Ok(settings)
    }

    fn take(&mut self, name: &str, value: String) -> Result<(), SettingsError> {
        match TABLE.iter().find(|known| known.name == name) {
            Some(known) => {
                self.given.insert(known.name, value);
                Ok(())
            }
            None if is_injected(name) => {
                self.warnings.push(format!("{name} is ignored: it looks like one that Kubernetes sets for a Service"));
                Ok(())
            }
            None => Err(SettingsError(format!("{name} is not a setting{}", did_you_mean(name)))),
        }
    }

    /// The same with a setting as if the user had set it, for what an option of a command says.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        debug_assert!(TABLE.iter().any(|known| known.name == name), "{name} is in the table");
        self.given.insert(name, value.to_owned());
        self
    }

    /// Another default for a setting, for a program that embeds a service.
    #[must_use]
    pub fn with_default(mut self, name: &'static str, value: &str) -> Self {
        debug_assert!(TABLE.iter().any(|known| known.name == name), "{name} is in the table");
        self.defaults.insert(name, value.to_owned());
        self
    }

    /// What deserves a line in the log.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Was it set by the user?
    #[must_use]
    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// A setting as text; its default where it is not set, which may be empty.
    ///
    /// # Errors
    /// When the name is not in the table (a mistake of the program).
    pub fn text(&self, name: &str) -> Result<String, SettingsError> {
        let known: &Known = TABLE
            .iter()
            .find(|known| known.name == name)
            .ok_or_else(|| SettingsError(format!("{name} is missing in the table of settings")))?;
        let value = self.given.get(name).or_else(|| self.defaults.get(name));
        Ok(value.cloned().unwrap_or_else(|| known.default.to_owned()))
    }

    /// A setting as whatever can be read from text; `accepted` says what that is.
    ///
    /// # Errors
    /// When the value cannot be read so.
    pub fn parse<T: FromStr>(&self, name: &str, accepted: &str) -> Result<T, SettingsError> {
        self.text(name)?.parse().map_err(|_| self.bad(name, &format!("accepted: {accepted}")))
    }

    /// A setting as a length of time: `250ms`, `5s`, `10m`, `30d`.
    ///
    /// # Errors
    /// When the value is none.
    pub fn duration(&self, name: &str) -> Result<Duration, SettingsError> {
        duration(&self.text(name)?).ok_or_else(|| self.bad(name, "accepted: a duration such as 250ms, 5s, 10m or 30d"))
    }

    /// A setting as a number of bytes: `64KiB`, `16MiB`.
    ///
    /// # Errors
    /// When the value is none.
    pub fn bytes(&self, name: &str) -> Result<u64, SettingsError> {
        let size: Result<bytesize::ByteSize, _> = self.text(name)?.parse();
        size.map(|size| size.0).map_err(|_| self.bad(name, "accepted: a size such as 64KiB or 16MiB"))
    }

    /// A setting as `true` or `false`.
    ///
    /// # Errors
    /// When the value is neither.
    pub fn flag(&self, name: &str) -> Result<bool, SettingsError> {
        self.parse(name, "true or false")
    }

    /// A setting that has only a few values.
    ///
    /// # Errors
    /// When the value is none of them.
    pub fn one_of(&self, name: &str, values: &[&str]) -> Result<String, SettingsError> {
        let value = self.text(name)?;
        if values.contains(&value.as_str()) {
            return Ok(value);
        }
        Err(self.bad(name, &format!("accepted: {}", values.join(" or "))))
    }

    /// The error for a value that cannot be used, with the words of the caller.
    #[must_use]
    pub fn bad(&self, name: &str, why: &str) -> SettingsError {
        if is_secret(name) {
            return self.bad_unseen(name, why);
        }
        SettingsError(format!("{name}={:?} is not usable: {why}", self.text(name).unwrap_or_default()))
    }

    /// The same without the value, which may hold a password.
    #[must_use]
    pub fn bad_unseen(&self, name: &str, why: &str) -> SettingsError {
        SettingsError(format!("{name} is not usable: {why}"))
    }
}

/// Kubernetes sets `<SERVICE>_SERVICE_HOST`, `<SERVICE>_PORT_9400_TCP_ADDR` and the like in every
/// container of a namespace with that Service.
fn is_injected(name: &str) -> bool {
    name.contains("_SERVICE_") || name.ends_with("_PORT") || name.contains("_PORT_")
}

fn did_you_mean(name: &str) -> String {
    let distance = |known: &&Known| strsim::damerau_levenshtein(known.name, name);
    let nearest = TABLE.iter().min_by_key(distance);
    nearest.filter(|known| distance(known) <= 6).map_or_else(
        || "; docs/settings.md lists them all".to_owned(),
        |known| format!(", did you mean {}?", known.name),
    )
}

/// A duration such as `250ms`, `5s`, `10m` or `30d`; `None`: it is none.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::from_pairs(pairs.iter().copied())
    }

    #[test]
    fn values_stay_what_they_are() {
        let some = settings(&[("FLEETGAUGE_AGENT", "007"), ("FLEETGAUGE_INTERVAL", "250ms")]).unwrap();
        assert_eq!(some.text("FLEETGAUGE_AGENT").unwrap(), "007");
        assert_eq!(some.duration("FLEETGAUGE_INTERVAL").unwrap(), Duration::from_millis(250));
        assert_eq!(some.bytes("FLEETGAUGE_RECEIVE_BUFFER").unwrap(), 64 << 20);
        assert_eq!(some.text("FLEETGAUGE_HTTP_LISTEN").unwrap(), "0.0.0.0:9400");
        assert!(!some.flag("FLEETGAUGE_EPHEMERAL").unwrap());
    }

    #[test]
    fn every_default_is_accepted() {
        let none = settings(&[]).unwrap();
        for known in TABLE {
            assert!(none.text(known.name).is_ok());
        }
        none.duration("FLEETGAUGE_TOMBSTONE").unwrap();
    }

    #[track_caller]
    fn check_refused(name: &str, value: &str, expected: &str) {
        let error = settings(&[(name, value)]).and_then(|s| s.duration("FLEETGAUGE_INTERVAL")).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }

    #[test]
    fn errors_say_what_to_do() {
        check_refused("FLEETGAUGE_INTERVALL", "5s", "did you mean FLEETGAUGE_INTERVAL?");
        check_refused("FLEETGAUGE_QWERTYUIOPASDF", "5s", "docs/settings.md");
        check_refused(
            "FLEETGAUGE_INTERVAL",
            "soon",
            "FLEETGAUGE_INTERVAL=\"soon\" is not usable: accepted: a duration",
        );
    }

    #[test]
    fn a_secret_is_never_printed() {
        let some = settings(&[("FLEETGAUGE_TOKEN", "hunter2"), ("FLEETGAUGE_JOB", "node")]).unwrap();
        let printed = format!("{some:?} {}", some.bad("FLEETGAUGE_TOKEN", "it is too long"));
        assert!(!printed.contains("hunter2") && printed.contains("node"), "{printed}");
        assert!(printed.ends_with("FLEETGAUGE_TOKEN is not usable: it is too long"), "{printed}");
    }

    #[test]
    fn what_kubernetes_injects_only_warns() {
        let some = settings(&[("FLEETGAUGE_AGGREGATOR_SERVICE_HOST", "10.0.0.1"), ("FLEETGAUGE_PORT", "tcp://x:1")]);
        assert_eq!(some.unwrap().warnings().len(), 2);
    }

    #[test]
    fn empty_is_not_set() {
        let some = settings(&[("FLEETGAUGE_INTERVAL", "")]).unwrap();
        assert!(!some.is_given("FLEETGAUGE_INTERVAL"));
        assert_eq!(some.duration("FLEETGAUGE_INTERVAL").unwrap(), Duration::from_secs(5));
    }
}
