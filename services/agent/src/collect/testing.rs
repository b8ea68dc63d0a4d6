//! For tests of collectors: a batch as a page, without HELP and TYPE.

use std::fmt::Write;

use protocol::frame::Family;
use protocol::is_absent;

use super::batch::Batch;
use super::config::Config;
use super::error::Faults;

/// What is collected when nothing is set, at a push a minute.
pub(crate) fn config() -> Config {
    let settings = lifecycle::Settings::from_pairs([("", ""); 0]).unwrap();
    Config::resolve(&settings, std::time::Duration::from_secs(60)).unwrap()
}

/// A batch as exposition text; with `types`, a `# TYPE` line before each family.
pub(crate) fn render(batch: &Batch, types: bool) -> String {
    page(batch, |family| if types { type_line(family) } else { String::new() })
}

/// A batch as exposition text with all of its comments.
pub(crate) fn render_whole(batch: &Batch) -> String {
    page(batch, |family| format!("# HELP {} {}\n{}", family.name, family.help, type_line(family)))
}

fn type_line(family: &Family) -> String {
    format!("# TYPE {} {}\n", family.name, format!("{:?}", family.kind).to_lowercase())
}

fn page(batch: &Batch, head: impl Fn(&Family) -> String) -> String {
    let mut page = String::new();
    let mut values = batch.values().iter();
    for family in batch.layout().families() {
        page += &head(family);
        for series in &family.series {
            let value = *values.next().expect("a value for each series");
            if is_absent(value) {
                continue;
            }
            let labels: Vec<String> = series.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            writeln!(page, "{}{}{labels} {value}", family.name, series.suffix).unwrap();
        }
    }
    page
}

/// Runs a reading and compares its page and, if there should be one, its fault.
#[track_caller]
pub(crate) fn check(run: impl FnOnce(&mut Batch, &mut Faults), page: &str, fault: Option<&str>) {
    let (mut batch, mut faults) = (Batch::new(), Faults::default());
    batch.begin();
    run(&mut batch, &mut faults);
    batch.finish(true);
    assert_eq!(render(&batch, false), page);
    match (faults.into_result(), fault) {
        (Ok(()), None) => {}
        (Err(error), Some(fault)) => {
            let said = format!("{}: {error}", error.kind());
            assert!(said.contains(fault), "{said}");
        }
        (got, wanted) => panic!("fault {got:?}, expected {wanted:?}"),
    }
}

/// Reads a host made of these files and compares its page and, if there should be one, its fault.
#[cfg(target_os = "linux")]
#[track_caller]
pub(crate) fn check_host(
    mut collector: impl super::Collector,
    files: &[(&str, &str)],
    page: &str,
    fault: Option<&str>,
) {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let roots = super::files::Roots::new(Some(root.path()));
    let run = |out: &mut Batch, faults: &mut Faults| {
        let result = collector.read(&roots, out);
        faults.check(result);
    };
    check(run, page, fault);
}
