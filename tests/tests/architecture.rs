//! Rules about the repository itself that no compiler holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which folder a package of each layer stands in, from the top down. Dependencies go down only,
/// except among crates, which may build on each other.
const LAYERS: [&[&str]; 3] = [&["cli", "tests", "bench"], &["services"], &["crates"]];

fn manifest(folder: &Path) -> toml::Table {
    let file = folder.join("Cargo.toml");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// What stands in a table under a table.
fn nested<'a>(table: &'a toml::Table, outer: &str, inner: &str) -> &'a toml::Value {
    table.get(outer).and_then(|outer| outer.get(inner)).unwrap_or_else(|| panic!("no {outer}.{inner}"))
}

/// Name and folder of every member of the workspace.
fn members() -> BTreeMap<String, PathBuf> {
    let workspace = manifest(tests::root());
    let members = nested(&workspace, "workspace", "members").as_array().expect("members").iter();
    members
        .map(|member| {
            let folder = PathBuf::from(member.as_str().expect("a folder"));
            let package = manifest(&tests::root().join(&folder));
            (nested(&package, "package", "name").as_str().expect("a name").to_owned(), folder)
        })
        .collect()
}

fn layer(folder: &Path) -> usize {
    let first = folder.iter().next().and_then(|first| first.to_str()).expect("a member stands in a folder");
    let found = LAYERS.iter().position(|folders| folders.contains(&first));
    found.unwrap_or_else(|| panic!("{} is in no layer", folder.display()))
}

/// Everything a package depends on, in any way.
fn dependencies(package: &toml::Table) -> BTreeSet<String> {
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = package.get("target").and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::values);
    let tables = targets.filter_map(toml::Value::as_table).chain([package]);
    let tables = tables.flat_map(|table| kinds.iter().filter_map(|kind| table.get(*kind)?.as_table()));
    tables.flat_map(|table| table.keys().cloned()).collect()
}

#[test]
fn dependencies_run_one_way() {
    let members = members();
    let mut seen = 0;
    for (name, folder) in &members {
        for dependency in dependencies(&manifest(&tests::root().join(folder))) {
            let Some(other) = members.get(&dependency) else { continue };
            let (from, to) = (layer(folder), layer(other));
            assert!(from < to || (from, to) == (2, 2), "{name} must not depend on {dependency}");
            seen += 1;
        }
    }
    assert!(seen > 5, "only {seen} dependencies inside the workspace: does this test still read the manifests?");
}

#[test]
fn versions_and_lints_stand_in_one_place() {
    for (name, folder) in members() {
        let package = manifest(&tests::root().join(&folder));
        assert!(nested(&package, "lints", "workspace").as_bool() == Some(true), "{name} does not inherit the lints");
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(table) = package.get(kind).and_then(toml::Value::as_table) else { continue };
            for (dependency, how) in table {
                let inherited = how.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                assert!(inherited, "{name} names a version of {dependency} of its own");
            }
        }
    }
}

/// The files that may say `unsafe`: for calls of the system that no crate in use wraps. Each of
/// them explains itself where it does.
const UNSAFE: [&str; 1] = ["services/agent/src/collect/linux/timex.rs"];

/// The Rust files below a folder.
fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Does a line open anything `unsafe`, or speak of the lint?
fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let is_part = |character: char| !character.is_alphanumeric() && character != '_';
    code.split(is_part).any(|word| matches!(word, "unsafe" | "unsafe_code"))
}

#[test]
fn unsafe_code_stands_where_it_must_and_nowhere_else() {
    let mut files = Vec::new();
    for folder in members().values() {
        sources(&tests::root().join(folder), &mut files);
    }
    assert!(files.len() > 100, "only {} files: does this test still find them?", files.len());
    let found: BTreeSet<String> = files
        .iter()
        .filter(|file| std::fs::read_to_string(file).expect("a source").lines().any(is_unsafe))
        .map(|file| file.strip_prefix(tests::root()).expect("below the root").display().to_string())
        // This test names what it looks for.
        .filter(|file| file != "tests/tests/architecture.rs")
        .collect();
    assert_eq!(found, UNSAFE.map(String::from).into());
}
