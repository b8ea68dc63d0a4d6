//! Writes what the fuzzers begin with into the folder that `CORPUS` names: the examples of
//! docs/protocol.md, the text files of the made hosts, and a sealed file. It is built like a fuzzer, as it
//! links the same, and finds nothing: `-runs=0`.
#![no_main]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

libfuzzer_sys::fuzz_target!(init: write().expect("the folder of the corpus can be written to"), |_bytes: &[u8]| {});

fn write() -> io::Result<()> {
    let corpus = PathBuf::from(std::env::var_os("CORPUS").expect("CORPUS names a folder"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it stands in the repository");
    let document = fs::read_to_string(root.join("docs/protocol.md"))?;
    let said = |mark: &str| -> String {
        document.lines().filter_map(|line| line.strip_prefix(mark)).map(|line| format!("{line}\n")).collect()
    };
    let is_frame = |line: &&str| line.starts_with('{');
    let frames =
        |mark: &str| -> Vec<String> { said(mark).lines().filter(is_frame).map(|line| format!("{line}\n")).collect() };
    let lines: Vec<String> =
        said("> ").lines().filter(|line| !line.starts_with('{')).map(|line| format!("{line}\n")).collect();
    for target in ["link_to_aggregator", "link_session"] {
        each(&corpus, target, &frames("> "))?;
    }
    each(&corpus, "link_to_agent", &frames("< "))?;
    for target in ["put_get_lines", "put_get_session"] {
        each(&corpus, target, &lines)?;
    }
    each(
        &corpus,
        "client_reply",
        &["ok\n\n".into(), "ok\nk 1.0 1\nk nan -5\n\n".into(), "error\nwrong command\n\n".into()],
    )?;
    each(&corpus, "number", &["1", "-0.5", "1e400", "-inf", "NaN", "4.2E+19", ".5"].map(str::to_owned))?;
    let paths = [
        "metrics",
        "metrics?agent=a",
        "metrics?timestamps=1",
        "healthz",
        "readyz",
        "api/v1/agents",
        "api/v1/targets",
        "api/v1/history?key=a&from=-5&to=5",
        "api/v1/history?prefix=a%20",
        "api/v1/keys?prefix=",
        "api/v1/agents/a*?dry_run=1",
    ];
    each(&corpus, "http_request", &paths.map(str::to_owned))?;
    let known = r#"{"version":1,"agents":[]}"#;
    each(&corpus, "known_agents", &["[]".into(), known.into()])?;
    for file in files(&root.join("services/agent/tests/fixtures"), "prom")? {
        one(&corpus, "exposition", &fs::read(file)?)?;
    }
    let exposition =
        "# HELP a b\n# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 2\na_count 1\nb{x=\"y\\n\"} -Inf 1\n";
    one(&corpus, "exposition", exposition.as_bytes())?;
    let sealed = corpus.join("sealed_file");
    fs::create_dir_all(&sealed)?;
    aggregator::history::fuzzing::write_sealed(&sealed.join("whole"))?;
    let pushes = agent::spool::fuzzing::pushes();
    one(&corpus, "spool", &[&[0], pushes.as_slice()].concat())?;
    one(&corpus, "spool", b"1\x01\x01\n\x02\x01")?;
    one(&corpus, "spool", b"2late 2\nsession a\nlost full 3\nboot 0000000000000001 5 1700000000000\n")?;
    one(&corpus, "spool", b"3id a\nincarnation 7\nhost 00000001\n")?;
    let token = "[[token]]\nname = \"a\"\ntoken = \"0123456789abcdef0123456789abcdef\"\nscopes = [\"push\", \"read\"]\nagents = [\"web-*\"]\nexpires = 2027-01-31\n";
    each(&corpus, "tokens_file", &[token.into(), "we?-*\nweb-1".into()])?;
    each(&corpus, "remote_write_labels", &["x{a=\"q\\\"b\",le=\"1e3\"} ".into(), "a\0\"\\\0\n".into()])?;
    for target in ["journal", "inventory"] {
        one(&corpus, target, &[0; 64])?;
    }
    Ok(())
}

/// All of them as one, and each alone.
fn each(corpus: &Path, target: &str, seeds: &[String]) -> io::Result<()> {
    one(corpus, target, seeds.concat().as_bytes())?;
    seeds.iter().try_for_each(|seed| one(corpus, target, seed.as_bytes()))
}

fn one(corpus: &Path, target: &str, seed: &[u8]) -> io::Result<()> {
    let folder = corpus.join(target);
    fs::create_dir_all(&folder)?;
    let number = fs::read_dir(&folder)?.count();
    fs::write(folder.join(format!("seed{number}")), seed)
}

fn files(folder: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, extension)?);
        } else if path.extension().is_some_and(|is| is == extension) {
            found.push(path);
        }
    }
    Ok(found)
}
