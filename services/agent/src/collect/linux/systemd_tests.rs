use std::os::unix::net::UnixListener;
use std::path::Path;

use futures_util::StreamExt;
use zbus::connection::Builder;
use zbus::{Guid, Message, MessageStream, OwnedObjectPath, Variant};

use super::*;
use crate::collect::testing::{config, render};

const BUS: &str = "run/dbus/system_bus_socket";

/// Name, load state, state.
const UNITS: &[(&str, &str, &str)] = &[
    ("systemd-cryptsetup@data\\x2d1.service", "loaded", "active"),
    ("ssh.socket", "loaded", "active"),
    ("ssh.service", "loaded", "reloading"),
    ("backup.timer", "loaded", "active"),
    ("backup.service", "loaded", "failed"),
    ("multi-user.target", "loaded", "active"),
    ("old.socket", "loaded", "active"),
    ("dev-sda.device", "loaded", "active"),
    ("plymouth.service", "not-found", "inactive"),
];

fn property(path: &str, name: &str) -> Option<Variant<'static>> {
    Some(match (path, name) {
        (_, "Version") => Variant::from("257.7-1~deb13u1"),
        (_, "SystemState") => Variant::from("degraded"),
        (_, "Virtualization") => Variant::from("kvm"),
        ("/unit/0", "Type") | ("/unit/4", "Type") => Variant::from("oneshot"),
        ("/unit/2", "Type") => Variant::from("notify"),
        ("/unit/2", "NRestarts") => Variant::from(3_u32),
        ("/unit/4", "NRestarts") => Variant::from(0_u32),
        (_, "NAccepted") => Variant::from(17_u32),
        (_, "NConnections") => Variant::from(2_u32),
        // Older ones do not have it.
        ("/unit/1", "NRefused") => Variant::from(1_u32),
        (_, "LastTriggerUSec") => Variant::from(1_789_993_801_250_000_u64),
        _ => return None,
    })
}

/// Plays a bus and the systemd behind it, if there is one, for one connection.
async fn play(connection: zbus::Connection, is_there: bool) {
    let mut calls = MessageStream::from(&connection);
    while let Some(Ok(call)) = calls.next().await {
        let _client_may_be_gone = answer(&connection, &call, is_there).await;
    }
}

async fn answer(connection: &zbus::Connection, call: &Message, is_there: bool) -> zbus::Result<()> {
    let header = call.header();
    match header.member().unwrap().as_str() {
        "Hello" => connection.reply(&header, &":1.7").await,
        _ if !is_there => {
            connection.reply_error(&header, "org.freedesktop.DBus.Error.ServiceUnknown", &"nobody has it").await
        }
        "ListUnits" => {
            let path = |path: String| OwnedObjectPath::try_from(path).unwrap();
            let unit = |(at, (name, load, state)): (usize, &(&'static str, &'static str, &'static str))| {
                (*name, "A unit.", *load, *state, "x", "", path(format!("/unit/{at}")), 0_u32, "", path("/".into()))
            };
            connection.reply(&header, &UNITS.iter().enumerate().map(unit).collect::<Vec<_>>()).await
        }
        "Get" => {
            let body = call.body();
            let (_, name): (&str, &str) = body.deserialize().unwrap();
            match property(header.path().unwrap().as_str(), name) {
                Some(value) => connection.reply(&header, &value).await,
                None => connection.reply_error(&header, "org.freedesktop.DBus.Error.UnknownProperty", &name).await,
            }
        }
        other => panic!("nobody should ask {other}"),
    }
}

/// Answers below a root while something runs.
fn with_bus<T>(root: &Path, is_there: bool, run: impl FnOnce() -> T) -> T {
    std::fs::create_dir_all(root.join("run/dbus")).unwrap();
    let listener = UnixListener::bind(root.join(BUS)).unwrap();
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            play(Builder::unix_stream(stream).server(Guid::generate()).p2p().build().await.unwrap(), is_there).await;
        });
    });
    let result = run();
    server.join().unwrap();
    result
}

fn page(root: &Path) -> (String, Result<(), CollectError>) {
    let mut batch = Batch::new();
    batch.begin();
    let result = Systemd::new(&config()).read(&Roots::new(Some(root)), &mut batch);
    batch.finish(true);
    crate::collect::golden_tests::check_fit("systemd", &batch);
    (render(&batch, true), result)
}

#[test]
fn what_systemd_says_is_shown() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/systemd.prom");
    let golden = std::fs::read_to_string(golden).unwrap();
    let root = tempfile::tempdir().unwrap();
    let (page, result) = with_bus(root.path(), true, || page(root.path()));
    assert_eq!(result, Ok(()));
    assert!(format!("# systemd\n{page}") == golden, "systemd.prom should read:\n\n# systemd\n{page}");
}

#[test]
fn a_host_without_systemd_has_no_series_and_one_whose_socket_is_hidden_a_fault() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(page(root.path()), (String::new(), Ok(())));
    assert_eq!(with_bus(root.path(), false, || page(root.path())), (String::new(), Ok(())));
    std::fs::remove_file(root.path().join(BUS)).unwrap();
    std::fs::create_dir_all(root.path().join("run/systemd/system")).unwrap();
    let (nothing, result) = page(root.path());
    assert!(nothing.is_empty() && result.unwrap_err().to_string().contains(BUS));
}

#[test]
fn one_that_does_not_answer_is_left() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("run/dbus")).unwrap();
    let listener = UnixListener::bind(root.path().join(BUS)).unwrap();
    let ask = || systemd_bus::ask(&Roots::new(Some(root.path())), Duration::from_millis(20), |_| true);
    assert!(ask().unwrap_err().to_string().contains("no answer within 20ms"));
    let closing = std::thread::spawn(move || listener.incoming().take(2).for_each(drop));
    assert!(systemd_bus::ask(&Roots::new(Some(root.path())), Duration::from_secs(60), |_| true).is_err());
    closing.join().unwrap();
}

#[test]
fn versions() {
    for (text, number) in
        [("257.7-1~deb13u1", Some(257.7)), ("219", Some(219.0)), ("258~rc1", Some(258.0)), ("v", None), ("", None)]
    {
        assert_eq!(version_number(text), number, "{text}");
    }
}
