use std::sync::{Mutex, PoisonError};

use super::*;

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
    check("1 1 0:1 / /proc/x rw - xfs y rw", None, None);
    check("1 1 0:1 / /procure rw - xfs y rw", None, Some(("y", "/procure", "/host/procure", false)));
    check("1 1 0:1 / /var/lib/docker/x rw - xfs y rw", None, None);
    check(
        "1 1 0:1 / /var/lib/docker rw - xfs y rw",
        None,
        Some(("y", "/var/lib/docker", "/host/var/lib/docker", false)),
    );
    check("1 1 0:1 / /x rw - overlay overlay rw", None, None);
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

#[test]
fn a_dead_mount_is_named_and_the_others_are_reported() {
    let root = tempfile::tempdir().unwrap();
    for directory in ["proc/1", "dead", "alive"] {
        std::fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    let lines = "1 1 8:1 / /dead rw - nfs a:/ rw\n2 1 8:2 / /alive rw - ext4 b rw\n3 1 8:3 / /gone rw - ext4 c rw\n";
    std::fs::write(root.path().join("proc/1/mountinfo"), lines).unwrap();
    let roots = Roots::new(Some(root.path()));
    let mut survey = Survey::asking(Duration::from_secs(2), ask);
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
    assert_eq!(survey.told.len(), 2, "and said once");
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(20);
    while survey.mounts(&roots, &mut Faults::default()).0[0].space.is_err() {
        assert!(Instant::now() < deadline, "the mount is alive again");
    }
}
