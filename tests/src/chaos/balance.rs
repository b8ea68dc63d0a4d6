//! Where samples went, as the aggregator counts it: not one may be missing, and none be there twice.

use std::collections::BTreeMap;

use crate::page::Page;

/// The counters of where samples went, of one aggregator process.
#[derive(Debug, Clone, PartialEq)]
pub struct Conservation {
    /// Came in whole pushes.
    pub received: f64,
    /// Went on the page.
    pub visible: f64,
    /// Went to the history only.
    pub stored: f64,
    /// Were taken by remote write.
    pub forwarded: f64,
    /// Were safe already.
    pub duplicate: f64,
    /// Were dropped, by reason.
    pub dropped: BTreeMap<String, f64>,
    /// Have no answer yet.
    pub pending: f64,
}

impl Conservation {
    /// Reads the aggregator's own metrics.
    ///
    /// # Errors
    /// When one of them is not there.
    pub fn of(page: &Page) -> Result<Self, String> {
        let all = |name: &str| page.of(name).map(|sample| sample.value).sum::<f64>();
        let sum = |name: &str| match page.of(name).next() {
            Some(_) => Ok(all(name)),
            None => Err(format!("the page has no {name}")),
        };
        Ok(Self {
            received: sum("fleetgauge_samples_received_total")?,
            visible: sum("fleetgauge_samples_visible_total")?,
            stored: sum("fleetgauge_samples_stored_total")?,
            forwarded: sum("fleetgauge_samples_forwarded_total")?,
            duplicate: sum("fleetgauge_samples_duplicate_total")?,
            dropped: page
                .of("fleetgauge_samples_dropped_total")
                .filter(|sample| sample.value > 0.0)
                .map(|sample| (sample.label("reason").to_owned(), sample.value))
                .collect(),
            pending: sum("fleetgauge_samples_pending")?,
        })
    }

    /// Is every sample somewhere, and exactly once?
    ///
    /// # Errors
    /// When one is not, or something still waits.
    pub fn check(&self) -> Result<(), String> {
        let found = self.visible + self.stored + self.forwarded + self.duplicate + self.dropped.values().sum::<f64>();
        match self.received == found && self.pending == 0.0 {
            true => Ok(()),
            false => Err(format!("{} samples are unaccounted for at rest: {self:?}", self.received - found)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_too_many_or_too_few_is_seen() {
        let page = |visible: u64, pending: u64| {
            let page = format!(
                "fleetgauge_samples_received_total 10\nfleetgauge_samples_visible_total {visible}
fleetgauge_samples_stored_total 1\nfleetgauge_samples_forwarded_total 1\nfleetgauge_samples_duplicate_total 1
fleetgauge_samples_dropped_total{{reason=\"a\"}} 1\nfleetgauge_samples_dropped_total{{reason=\"b\"}} 1
fleetgauge_samples_pending {pending}\n"
            );
            Conservation::of(&Page::parse(&page)).unwrap().check()
        };
        assert!(page(5, 0).is_ok());
        assert!(page(6, 0).is_err() && page(4, 0).is_err() && page(5, 1).is_err());
        assert!(Conservation::of(&Page::default()).is_err());
    }
}
