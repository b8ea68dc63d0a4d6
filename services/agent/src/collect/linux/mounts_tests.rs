use std::sync::{Mutex, PoisonError};

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::*;
use crate::collect::testing::config;

#[track_caller]
fn check(line: &str, strip: Option<&str>, expected: Option<(&str, &str, &str, bool)>) {
    let got = parse(line.as_bytes(), Path::new("/host"), strip.map(Path::new)).unwrap();
    let got = got.as_ref().map(|m| (m.device.as_str(), m.mountpoint.as_str(), m.path.to_str().unwrap(), m.readonly));
    assert_eq!(got, expected);
}

#[test]
fn lines() {
    let root = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard";
    check(root, None, Some(("/dev/vda", "/", "/host/", false)));
    let tagged = "42 27 254:0 /a /srv ro,relatime shared:1 master:2 - ext4 /dev/vda rw";
    check(tagged, None, Some(("/dev/vda", "/srv", "/host/srv", true)));
    check("1 1 0:1 / /a rw - nfs host:/x rw,emergency_ro", None, Some(("host:/x", "/a", "/host/a", true)));
    check(
        "1 1 0:1 / /a\\040b\\134\\012 rw - xfs /dev/s\\011 rw",
        None,
        Some(("/dev/s\t", "/a b\\\n", "/host/a b\\\n", false)),
    );
}

#[test]
fn in_our_own_namespace_the_hosts_mounts_stand_below_its_root() {
    check("1 1 8:1 / /host rw - ext4 /dev/sda1 rw", Some("/host"), Some(("/dev/sda1", "/", "/host/", false)));
    check("1 1 8:2 / /host/srv rw - ext4 /dev/sda2 rw", Some("/host"), Some(("/dev/sda2", "/srv", "/host/srv", false)));
    check("1 1 8:1 / /etc/hosts rw - ext4 /dev/sda1 rw", Some("/host"), None);
}

#[test]
fn what_is_no_line_is_an_error() {
    for line in ["", "1 1 8:1 / /host rw", "1 1 8 / /x rw - ext4 a rw", "1 1 8:1 / /x rw - ext4"] {
        assert!(parse(line.as_bytes(), Path::new("/"), None).is_err(), "{line:?}");
    }
    let not_utf8 = parse(b"1 1 8:1 / /x\xff rw - ext4 /dev/sda rw", Path::new("/"), None).unwrap().unwrap();
    assert_eq!(not_utf8.mountpoint, "/x\u{fffd}");
    assert_eq!(not_utf8.path.as_os_str().as_bytes(), b"/x\xff", "the system is asked by the real name");
}

#[test]
fn errors_are_said_in_plain_words() {
    for (code, expected) in
        [(13, "permission denied"), (5, "input/output error"), (107, "transport endpoint is not connected")]
    {
        assert_eq!(words(std::io::Error::from_raw_os_error(code)), expected);
    }
}

/// Held by a test while `/…/dead` hangs.
static GATE: Mutex<()> = Mutex::new(());

fn ask(path: PathBuf) -> Answer {
    if path.ends_with("dead") {
        drop(GATE.lock().unwrap_or_else(PoisonError::into_inner));
    }
    statfs(path)
}

/// A host with these mounts, and a survey of it that is made anew each time.
fn surveyed(mounts: impl Iterator<Item = (String, String)>) -> (tempfile::TempDir, Roots, Survey) {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("proc/1")).unwrap();
    let lines: String = mounts.map(|(device, path)| format!("1 1 8:1 / {path} rw - nfs {device} rw\n")).collect();
    std::fs::write(root.path().join("proc/1/mountinfo"), lines).unwrap();
    let mut roots = Roots::new(Some(root.path()));
    roots.own = root.path().join("own");
    let mut survey = Survey::asking(&Config { interval: Duration::from_secs(2), ..config() }, ask);
    survey.fresh_for = Duration::ZERO;
    (root, roots, survey)
}

#[test]
fn many_dead_mounts_keep_none_of_the_others_from_its_answer() {
    let dead = (0..20).map(|n| ("nas:/".to_owned(), format!("/{n}/dead")));
    let (root, roots, mut survey) = surveyed(dead.chain([("b".to_owned(), "/alive".to_owned())]));
    std::fs::create_dir_all(root.path().join("alive")).unwrap();
    survey.patience = Duration::from_secs(3);
    let held = GATE.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..2 {
        let (mounts, _) = survey.mounts(&roots, &mut Faults::default());
        assert_eq!(mounts.iter().filter(|mount| mount.space == Err(STUCK.to_owned())).count(), 20);
        assert!(mounts[20].space.is_ok(), "{:?}", mounts[20]);
    }
    drop(held);
}

#[test]
fn what_was_not_begun_in_one_survey_is_in_the_next() {
    let dead = (0..5).map(|n| ("nas:/".to_owned(), format!("/{n}/dead")));
    let (root, roots, mut survey) = surveyed(dead.chain([("b".to_owned(), "/alive".to_owned())]));
    std::fs::create_dir_all(root.path().join("alive")).unwrap();
    survey.patience = Duration::from_millis(20);
    let held = GATE.lock().unwrap_or_else(PoisonError::into_inner);
    let deadline = Instant::now() + Duration::from_secs(20);
    while survey.mounts(&roots, &mut Faults::default()).0[5].space.is_err() {
        assert!(Instant::now() < deadline, "a mount in good health waits behind dead ones for ever");
    }
    drop(held);
}

#[test]
fn those_that_were_slow_are_asked_last() {
    let (_root, roots, mut survey) =
        surveyed(["/a", "/b", "/c"].map(|path| ("x".to_owned(), path.to_owned())).into_iter());
    survey.list(&roots, &mut Faults::default());
    let order = |survey: &Survey| -> Vec<String> {
        survey.to_ask().iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(order(&survey), ["a", "b", "c"]);
    survey.slow.insert(roots.root.join("a"));
    assert_eq!(order(&survey), ["b", "c", "a"]);
    survey.stuck.insert(roots.root.join("b"));
    assert_eq!(order(&survey), ["c", "a"]);
}

#[test]
fn of_mounts_over_one_another_the_last_is_shown_and_not_more_than_the_limit() {
    let over = (0..10_000).map(|n| (format!("nas:/{n}"), format!("/{}", n % 100)));
    let (_root, roots, mut survey) = surveyed(over);
    let mut faults = Faults::default();
    survey.list(&roots, &mut faults);
    assert_eq!(faults.into_result(), Ok(()));
    let devices: Vec<&str> = survey.mounts.iter().map(|mount| mount.device.as_str()).collect();
    assert_eq!(devices, (9_900..10_000).map(|n| format!("nas:/{n}")).collect::<Vec<_>>());

    let (_root, roots, mut survey) = surveyed((0..10_000).map(|n| ("x".to_owned(), format!("/{n}"))));
    let mut faults = Faults::default();
    survey.list(&roots, &mut faults);
    assert_eq!(survey.mounts.len(), MOUNTS_MAX);
    let error = faults.into_result().unwrap_err();
    assert_eq!(error.to_string(), "mounts: more than 1000, the others are not shown");
}

#[test]
fn a_dead_mount_is_named_and_the_others_are_reported() {
    let root = tempfile::tempdir().unwrap();
    for directory in ["proc/1", "dead", "alive"] {
        std::fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    let lines = "1 1 8:1 / /dead rw - nfs a:/ rw\n2 1 8:2 / /alive rw - ext4 b rw\n3 1 8:3 / /gone rw - ext4 c rw\n";
    std::fs::write(root.path().join("proc/1/mountinfo"), lines).unwrap();
    let mut roots = Roots::new(Some(root.path()));
    roots.own = root.path().join("own");
    let mut survey = Survey::asking(&Config { interval: Duration::from_secs(2), ..config() }, ask);
    survey.fresh_for = Duration::ZERO;
    let held = GATE.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..3 {
        let mut faults = Faults::default();
        let (mounts, own) = survey.mounts(&roots, &mut faults);
        assert!(!own);
        assert_eq!(mounts[0].space, Err(STUCK.to_owned()));
        assert!(mounts[1].space.as_ref().is_ok_and(|space| space.size > 0.0));
        assert_eq!(mounts[2].space, Err("no such file or directory".to_owned()));
        assert_eq!(faults.into_result(), Ok(()), "a dead mount is no failure of the collector");
    }
    assert_eq!(survey.stuck.len(), 1, "it was asked once");
    assert!(!survey.told.is_news(format!("/dead {STUCK}"), Instant::now()), "the log was told");
    assert!(survey.told.is_news("/alive".to_owned(), Instant::now()), "and of no other");
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(20);
    while survey.mounts(&roots, &mut Faults::default()).0[0].space.is_err() {
        assert!(Instant::now() < deadline, "the mount is alive again");
    }
}

/// A disk that is mounted on the host after a container with the agent was made is not in the
/// container: there the directory belongs to the file system above.
#[test]
fn what_the_agent_does_not_have_itself_is_not_measured_as_something_else() {
    let root = tempfile::tempdir().unwrap();
    for directory in ["proc/1", "own/proc/self", "srv", "new", "over"] {
        std::fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    let host = "1 1 8:1 / / rw - ext4 a rw\n2 1 8:2 / /srv rw - ext4 b rw\n\
        3 1 8:3 / /new rw - ext4 c rw\n4 1 8:4 / /over rw - ext4 d rw\n5 1 8:6 / /top/below rw - ext4 e rw\n";
    std::fs::write(root.path().join("proc/1/mountinfo"), host).unwrap();
    let at = root.path().display();
    let own = format!(
        "9 1 0:9 / / rw - overlay o rw\n1 9 8:1 / {at} ro - ext4 a rw\n2 1 8:2 / {at}/srv ro - ext4 b rw\n\
         5 1 0:5 / {at}/over ro - tmpfs t rw\n6 1 8:6 / {at}/top/below ro - ext4 e rw\n7 1 0:7 / {at}/top ro - tmpfs t rw\n"
    );
    std::fs::write(root.path().join("own/proc/self/mountinfo"), own).unwrap();
    let mut roots = Roots::new(Some(root.path()));
    roots.own = root.path().join("own");
    let mut survey = Survey::asking(&config(), ask);
    let (mounts, _) = survey.mounts(&roots, &mut Faults::default());
    let seen: Vec<_> = mounts.iter().map(|mount| (mount.mountpoint.as_str(), mount.space.is_ok())).collect();
    assert_eq!(seen, [("/", true), ("/srv", true), ("/new", false), ("/over", false), ("/top/below", false)]);
    assert_eq!(mounts[2].space, Err(NOT_VISIBLE.to_owned()));
}

#[test]
fn a_mount_that_takes_its_time_keeps_its_last_answer_for_a_while() {
    let (root, roots, mut survey) = surveyed([("nas:/".to_owned(), "/dead".to_owned())].into_iter());
    std::fs::create_dir_all(root.path().join("dead")).unwrap();
    survey.patience = Duration::from_secs(20);
    assert!(survey.mounts(&roots, &mut Faults::default()).0[0].space.is_ok());
    survey.patience = Duration::from_millis(20);
    let held = GATE.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(survey.mounts(&roots, &mut Faults::default()).0[0].space.is_ok(), "it was well a moment ago");
    survey.fill_in(Instant::now() + ANSWER_AGE_MAX * 2);
    survey.answers.values_mut().for_each(|(at, _)| *at -= ANSWER_AGE_MAX * 2);
    assert_eq!(survey.mounts(&roots, &mut Faults::default()).0[0].space, Err(STUCK.to_owned()));
    drop(held);
}
