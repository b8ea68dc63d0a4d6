//! docs/settings.md is made of the table of settings; this test makes it, and compares.

use std::fmt::Write as _;

use lifecycle::{Known, TABLE};

const HEAD: &str = "\
# Settings

Every process is set up by environment variables and nothing else; none needs any.
A variable that is set but empty counts as not set.
A name beginning with `FLEETGAUGE_` that is not in this table ends the process with exit code 78 and the nearest name that is; so does a value that cannot be used, with what is accepted.
Names of the kind that Kubernetes sets for a Service (`…_SERVICE_…`, `…_PORT…`) only warn.
Every process knows every name and ignores what others use.

Exit codes, the same for every program: 0 done, 1 failed, 2 wrong usage, 69 not reachable, 78 wrong settings (a listener that cannot be bound is one).

Expressions are regular expressions without look-around and back references, as node_exporter has them: they match anywhere in a name unless they have `^` and `$` (those for units of systemd: the whole name). With an `INCLUDE` only what it matches is shown; an `EXCLUDE` takes away from that. Where only an `INCLUDE` is set the default `EXCLUDE` does not count, and `EXCLUDE='^$'` excludes nothing. The names are those of node_exporter's flags: `--collector.filesystem.mount-points-exclude` is `FLEETGAUGE_FILESYSTEM_MOUNT_POINTS_EXCLUDE`.

Durations are written `250ms`, `5s`, `10m`, `1h`, `30d`; sizes `64KiB`, `16MiB`.

";

#[test]
fn the_document_is_the_table() {
    tests::check_document("docs/settings.md", &document());
}

fn document() -> String {
    let mut text = HEAD.to_owned();
    for (title, is_of) in GROUPS {
        let _infallible = writeln!(text, "## {title}\n");
        let known: Vec<&Known> = TABLE.iter().filter(|known| is_used(known) && is_of(known)).collect();
        table(&mut text, "Used by", known.iter().copied());
        let long = known.iter().filter(|known| known.default.contains('|'));
        let long: Vec<String> = long.map(|known| format!("{}={}\n", known.name, known.default)).collect();
        if !long.is_empty() {
            let _infallible =
                writeln!(text, "\nThe defaults that are too long for the table:\n\n```\n{}```", long.concat());
        }
        text.push('\n');
    }
    let reserved: Vec<&Known> = TABLE.iter().filter(|known| !is_used(known)).collect();
    if reserved.is_empty() {
        // Each table ends with an empty line, the document does not.
        text.truncate(text.trim_end().len() + 1);
    } else {
        text.push_str(
            "## Reserved\n\nKnown, so that one environment fits every version; no process of this version uses them.\n\n",
        );
        table(&mut text, "If set", reserved.into_iter());
    }
    text
}

type Group = (&'static str, fn(&Known) -> bool);

const GROUPS: [Group; 5] = [
    ("Agent", |known| known.used_by == "agent" && !is_filter(known)),
    ("What the agent's collectors show", |known| known.used_by == "agent" && is_filter(known)),
    ("Aggregator", |known| known.used_by == "aggregator"),
    ("Command line", |known| known.used_by == "cli"),
    ("Every program", |known| !["agent", "aggregator", "cli"].contains(&known.used_by)),
];

fn is_filter(known: &Known) -> bool {
    ["_INCLUDE", "_EXCLUDE", "_FIELDS"].iter().any(|end| known.name.ends_with(end))
}

fn is_used(known: &Known) -> bool {
    known.used_by != "–"
}

fn table<'a>(text: &mut String, third: &str, rows: impl Iterator<Item = &'a Known>) {
    let _infallible = writeln!(text, "| Name | Default | {third} | Meaning |\n|---|---|---|---|");
    for known in rows {
        let default = match known.default {
            "" => String::new(),
            long if long.contains('|') => "below".to_owned(),
            short => format!("`{short}`"),
        };
        let third = if is_used(known) { known.used_by } else { "ignored" };
        let _infallible = writeln!(text, "| `{}` | {default} | {third} | {} |", known.name, known.meaning);
    }
}
