use super::*;

fn host() -> (tempfile::TempDir, Roots) {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("proc")).unwrap();
    let roots = Roots::new(Some(root.path()));
    (root, roots)
}

#[test]
fn a_source_is_read_anew_each_time() {
    let (_root, roots) = host();
    let mut source = Source::new("x");
    let read = |source: &mut Source| source.read(&roots.proc, &mut Faults::default()).map(str::to_owned);
    assert_eq!(read(&mut source), None);
    for text in ["one\n".to_owned(), "long ".repeat(5000), "short".to_owned()] {
        std::fs::write(roots.proc.join("x"), &text).unwrap();
        assert_eq!(read(&mut source), Some(text));
    }
}

#[test]
fn an_empty_file_is_a_fault() {
    let (_root, roots) = host();
    std::fs::write(roots.proc.join("x"), "").unwrap();
    let said = |read: &dyn Fn(&mut Faults) -> bool| {
        let mut faults = Faults::default();
        assert!(!read(&mut faults));
        let error = faults.into_result().unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), ("malformed", "x: empty"));
    };
    said(&|faults| Source::new("x").read(&roots.proc, faults).is_some());
    said(&|faults| Source::new("x").read_if_there(&roots.proc, faults).is_some());
    said(&|faults| HostSource::new("x", "own").read(&roots.proc, faults).is_some());
    said(&|faults| HostSource::new("none", "x").read_if_there(&roots.proc, faults).is_some());
}

#[test]
fn bytes_that_are_no_text_are_a_fault_and_the_rest_is_read() {
    let (_root, roots) = host();
    std::fs::write(roots.proc.join("x"), b"a\xffb").unwrap();
    let mut faults = Faults::default();
    assert_eq!(Source::new("x").read(&roots.proc, &mut faults), Some("a\u{fffd}b"));
    assert!(faults.into_result().is_err());
}

#[test]
fn a_long_file_ends_at_its_last_whole_line_within_the_limit() {
    let (_root, roots) = host();
    std::fs::write(roots.proc.join("x"), "12345\n".repeat(2000)).unwrap();
    let mut faults = Faults::default();
    let mut source = Source::new("x");
    source.max = 9000;
    assert_eq!(source.read(&roots.proc, &mut faults).map(str::len), Some(9000));
    source.max = 8999;
    assert_eq!(source.read(&roots.proc, &mut faults).map(str::len), Some(8994));
    assert!(faults.into_result().is_err());
}

#[test]
fn a_chain_of_links_ends() {
    let (root, roots) = host();
    std::os::unix::fs::symlink("/loop", root.path().join("loop")).unwrap();
    assert!(attribute(&roots.resolve("loop")).is_err());
    std::fs::write(root.path().join("file"), "text\n").unwrap();
    std::os::unix::fs::symlink("file", root.path().join("relative")).unwrap();
    std::os::unix::fs::symlink("/relative", root.path().join("absolute")).unwrap();
    assert_eq!(attribute(&roots.resolve("absolute")).unwrap(), "text");
}

/// A link below the host's root.
fn link(root: &Path, at: &str, to: &str) {
    let at = root.join(at);
    std::fs::create_dir_all(at.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(to, at).unwrap();
}

#[test]
fn nothing_leads_out_of_the_hosts_root() {
    let outside = tempfile::tempdir().unwrap();
    let root = outside.path().join("a/host");
    std::fs::create_dir_all(root.join("usr/etc")).unwrap();
    std::fs::write(root.join("usr/etc/name"), "the host's\n").unwrap();
    for at in ["name", "a/name", "usr/etc/name"] {
        std::fs::create_dir_all(outside.path().join(at).parent().unwrap()).unwrap();
        std::fs::write(outside.path().join(at), "outside\n").unwrap();
    }
    let roots = Roots::new(Some(&root));
    link(&root, "up", "../../usr/etc/name");
    link(&root, "usr/up", "/../../../usr/./etc//name");
    link(&root, "etc", "/usr/etc");
    link(&root, "deep/etc", "../../../../etc");
    link(&root, "usr/etc/again", "../../etc/name");
    for path in ["up", "usr/up", "etc/name", "/etc/name", "deep/etc/name", "../../usr/etc/name", "etc/again"] {
        assert_eq!(attribute(&roots.resolve(path)).ok().as_deref(), Some("the host's"), "{path}");
    }
    assert_eq!(roots.resolve("etc/../none/x"), root.join("usr/none/x"));
    assert_eq!(roots.resolve("../.."), root);
}

#[test]
fn too_many_links_lead_nowhere() {
    let (root, roots) = host();
    let root = root.path();
    std::fs::write(root.join("l0"), "text\n").unwrap();
    for n in 1..=LINKS_MAX + 1 {
        link(root, &format!("l{n}"), &format!("/l{}", n - 1));
    }
    assert_eq!(attribute(&roots.resolve(&format!("l{LINKS_MAX}"))).unwrap(), "text");
    let path = roots.resolve(&format!("l{}", LINKS_MAX + 1));
    let error = CollectError::at(&path, &attribute(&path).unwrap_err());
    assert!(!error.is_missing(), "it is not as if there were no file");
    assert!(error.to_string().contains("too many links"), "{error}");
}

#[test]
fn the_first_names_are_listed() {
    use std::os::unix::ffi::OsStringExt;
    let root = tempfile::tempdir().unwrap();
    for name in ["x", "d9", "d3", "d7", "d1"] {
        std::fs::write(root.path().join(name), "").unwrap();
    }
    let list = |max: usize| {
        let mut faults = Faults::default();
        let names = listed(root.path(), "disks", max, |name| name.starts_with('d'), &mut faults).unwrap();
        (names, faults.into_result().map_err(|error| error.to_string()))
    };
    let strings = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
    assert_eq!(list(4), (strings(&["d1", "d3", "d7", "d9"]), Ok(())));
    assert_eq!(list(2), (strings(&["d1", "d3"]), Err("disks: more than 2, the others are not shown".into())));
    assert_eq!(names(root.path(), 2).unwrap(), ["d1", "d3"]);
    std::fs::write(root.path().join(OsString::from_vec(b"d\xff".to_vec())), "").unwrap();
    let (names, fault) = list(9);
    assert_eq!(names, ["d1", "d3", "d7", "d9"]);
    assert!(fault.unwrap_err().ends_with("cannot make sense of \"d\u{fffd}\""));
    assert!(listed(&root.path().join("none"), "disks", 1, |_| true, &mut Faults::default()).is_err());
}
