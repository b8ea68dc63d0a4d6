//! What systemd is asked, and how: D-Bus over the system bus. (Its own socket,
//! `/run/systemd/private`, takes root only, and its answers name a sender that zbus refuses.)

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use zbus::connection::Builder;
use zbus::{Connection, OwnedObjectPath, OwnedVariant};

use super::error::CollectError;
use super::files::Roots;
use super::systemd::UNITS_MAX;

const BUS: &str = "run/dbus/system_bus_socket";
/// Is there where systemd is process 1.
const BOOTED: &str = "run/systemd/system";

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// What systemd said.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Answers {
    /// Its version.
    pub(super) version: String,
    /// What the host is doing: `running`, `degraded`, `starting`.
    pub(super) state: String,
    /// Empty on hardware.
    pub(super) virtualization: String,
    /// How many of all units are in which state.
    pub(super) counts: BTreeMap<String, u32>,
    /// Those that are shown.
    pub(super) units: Vec<Unit>,
    /// Are there more?
    pub(super) is_cut: bool,
}

/// A loaded unit.
#[derive(Debug, PartialEq)]
pub(super) struct Unit {
    /// With its suffix.
    pub(super) name: String,
    /// `active` and so on.
    pub(super) state: String,
    path: OwnedObjectPath,
    /// What only its kind has.
    pub(super) details: Details,
}

/// What a kind of unit has; `None` what this systemd does not tell.
#[derive(Debug, PartialEq)]
pub(super) enum Details {
    None,
    Service {
        /// `simple` and so on.
        kind: String,
        restarts: Option<u32>,
    },
    Socket {
        accepted: Option<u32>,
        connections: Option<u32>,
        refused: Option<u32>,
    },
    Timer {
        /// In microseconds since 1970.
        last: Option<u64>,
    },
}

/// Asks systemd for the units that are shown, and waits so long for all its answers together.
/// `None` where the host does not run it.
///
/// # Errors
/// When it does not answer.
pub(super) fn ask(
    roots: &Roots,
    patience: Duration,
    shows: impl FnMut(&str) -> bool,
) -> Result<Option<Answers>, CollectError> {
    let path = roots.resolve(BUS);
    let is_booted = roots.resolve(BOOTED).is_dir();
    let stream = match UnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_booted => return Ok(None),
        Err(error) => return Err(CollectError::at(&path, &error)),
    };
    let failed = |error: std::io::Error| CollectError::call("systemd over D-Bus", &error);
    // Of its own and on this thread alone: what zbus leaves running ends with it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let answers = runtime.block_on(async {
        let asking = async { collect(&Builder::unix_stream(stream).build().await?, shows).await };
        tokio::time::timeout(patience, asking).await
    });
    match answers {
        Ok(Ok(answers)) => Ok(Some(answers)),
        // A bus without systemd.
        Ok(Err(zbus::Error::FDO(error))) if matches!(*error, zbus::fdo::Error::ServiceUnknown(_)) && !is_booted => {
            Ok(None)
        }
        Ok(Err(error)) => Err(failed(std::io::Error::other(error.to_string()))),
        Err(_) => Err(failed(std::io::Error::other(format!("no answer within {patience:?}")))),
    }
}

async fn collect(connection: &Connection, mut shows: impl FnMut(&str) -> bool) -> zbus::Result<Answers> {
    type Listed<'a> =
        (&'a str, &'a str, &'a str, &'a str, &'a str, &'a str, OwnedObjectPath, u32, &'a str, OwnedObjectPath);
    let mut answers = Answers::default();
    for (name, answer) in [
        ("Version", &mut answers.version),
        ("SystemState", &mut answers.state),
        ("Virtualization", &mut answers.virtualization),
    ] {
        *answer = property(connection, MANAGER_PATH, MANAGER, name).await?.unwrap_or_default();
    }
    let reply = connection.call_method(Some(SYSTEMD), MANAGER_PATH, Some(MANAGER), "ListUnits", &()).await?;
    let body = reply.body();
    for (name, _, load, state, _, _, path, ..) in body.deserialize::<Vec<Listed<'_>>>()? {
        *answers.counts.entry(state.to_owned()).or_insert(0) += 1;
        if load == "loaded" && shows(name) {
            let unit = Unit { name: name.to_owned(), state: state.to_owned(), path, details: Details::None };
            answers.units.push(unit);
        }
    }
    // The same ones in the same order at every reading.
    answers.units.sort_by(|some, other| some.name.cmp(&other.name));
    answers.is_cut = answers.units.len() > UNITS_MAX;
    answers.units.truncate(UNITS_MAX);
    for unit in &mut answers.units {
        unit.details = details(connection, unit).await?;
    }
    Ok(answers)
}

async fn details(connection: &Connection, unit: &Unit) -> zbus::Result<Details> {
    let path = unit.path.as_str();
    let (service, socket, timer) =
        ("org.freedesktop.systemd1.Service", "org.freedesktop.systemd1.Socket", "org.freedesktop.systemd1.Timer");
    Ok(match unit.name.rsplit_once('.') {
        Some((_, "service")) => Details::Service {
            kind: property(connection, path, service, "Type").await?.unwrap_or_default(),
            restarts: property(connection, path, service, "NRestarts").await?,
        },
        Some((_, "socket")) => Details::Socket {
            accepted: property(connection, path, socket, "NAccepted").await?,
            connections: property(connection, path, socket, "NConnections").await?,
            refused: property(connection, path, socket, "NRefused").await?,
        },
        Some((_, "timer")) => Details::Timer { last: property(connection, path, timer, "LastTriggerUSec").await? },
        _ => Details::None,
    })
}

/// One property; `None` if there is no such, or the unit is gone by now.
async fn property<T: TryFrom<OwnedVariant>>(
    connection: &Connection,
    path: &str,
    interface: &str,
    name: &str,
) -> zbus::Result<Option<T>> {
    match connection.call_method(Some(SYSTEMD), path, Some(PROPERTIES), "Get", &(interface, name)).await {
        Ok(reply) => Ok(T::try_from(reply.body().deserialize::<OwnedVariant>()?).ok()),
        // In systemd's own words: no such unit.
        Err(zbus::Error::MethodError(..)) => Ok(None),
        Err(zbus::Error::FDO(error)) if is_unknown(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_unknown(error: &zbus::fdo::Error) -> bool {
    use zbus::fdo::Error::{InvalidArgs, UnknownInterface, UnknownMethod, UnknownObject, UnknownProperty};
    matches!(error, UnknownProperty(_) | UnknownObject(_) | UnknownInterface(_) | UnknownMethod(_) | InvalidArgs(_))
}
