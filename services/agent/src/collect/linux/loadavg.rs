//! `node_load1`, `node_load5`, `node_load15` from `/proc/loadavg`.

use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::{Roots, Source};
use super::{Collector, number};

/// The load averages.
#[derive(Debug)]
pub(in crate::collect) struct Loadavg {
    file: Source,
}

impl Loadavg {
    /// Reads nothing yet.
    #[must_use]
    pub(in crate::collect) fn new() -> Self {
        Self { file: Source::new("loadavg") }
    }
}

impl Collector for Loadavg {
    fn name(&self) -> &'static str {
        "loadavg"
    }

    fn source(&self) -> &'static str {
        "`/proc/loadavg`"
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        if let Some(text) = self.file.read(&roots.proc, &mut faults) {
            report(text, out, &mut faults);
        }
        faults.into_result()
    }
}

/// The three averages of `/proc/loadavg`.
///
/// # Errors
/// When they do not stand there.
pub(in crate::collect) fn parse(text: &str) -> Result<[f64; 3], CollectError> {
    let mut loads = [0.0; 3];
    let mut words = text.split_ascii_whitespace();
    for load in &mut loads {
        let word = words.next().unwrap_or_default();
        *load = number(word).ok_or_else(|| CollectError::malformed("loadavg", text))?;
    }
    Ok(loads)
}

fn report(text: &str, out: &mut Batch, faults: &mut Faults) {
    if let Some([one, five, fifteen]) = faults.check(parse(text)) {
        out.gauge("node_load1", "Load average over 1 minute.", &[], one);
        out.gauge("node_load5", "Load average over 5 minutes.", &[], five);
        out.gauge("node_load15", "Load average over 15 minutes.", &[], fifteen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    #[test]
    fn loads() {
        check(
            |out, faults| report("0.21 0.15 1e1 1/104 16458\n", out, faults),
            "node_load1 0.21\nnode_load5 0.15\nnode_load15 10\n",
            None,
        );
        check(|out, faults| report("0.21 0.15\n", out, faults), "", Some("loadavg: cannot make sense of"));
        check(|out, faults| report("a b c", out, faults), "", Some("cannot make sense of \"a b c\""));
        check(|out, faults| report("nan inf 1", out, faults), "", Some("malformed"));
        check(|out, faults| report(&format!("1 {} 1", "9".repeat(400)), out, faults), "", Some("malformed"));
    }
}
