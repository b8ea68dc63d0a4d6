//! What an agent declares against the limits that are narrower than the protocol's own.

use protocol::frame::{Declare, RefuseCode};

use super::Shared;
use super::ended::Ended;
use crate::fleet::seat::Seat;
use crate::limits::Limit;

/// An agent went over one of its limits.
pub(super) fn exceeded(shared: &Shared, seat: &Seat, limit: Limit) {
    shared.telemetry.limits.exceeded(limit);
    seat.meter().exceeded(limit);
}

/// Checks how many labels the series of a line have, and how long their values are. Costs what the
/// line holds.
pub(super) fn check_labels(shared: &Shared, seat: &Seat, line: &Declare) -> Result<(), Ended> {
    let caps = &shared.limits.caps;
    let (mut labels, mut longest) = (0, 0);
    let mut over = None;
    for family in &line.families {
        for series in &family.series {
            let count = series.labels.0.len();
            let value = series.labels.0.iter().map(|(_, value)| value.len()).max().unwrap_or_default();
            labels = labels.max(count);
            longest = longest.max(value);
            if count > caps.labels && over.is_none() {
                over = Some((Limit::Labels, family, count, caps.labels, "labels; FLEETGAUGE_MAX_LABELS"));
            } else if value > caps.label_value_bytes && over.is_none() {
                let what = "bytes in the value of a label; FLEETGAUGE_MAX_LABEL_VALUE";
                over = Some((Limit::LabelValue, family, value, caps.label_value_bytes, what));
            }
        }
    }
    shared.limits.note_most(labels, longest, 0);
    let Some((limit, family, has, most, what)) = over else { return Ok(()) };
    exceeded(shared, seat, limit);
    if !caps.enforce {
        return Ok(());
    }
    let name = &family.name;
    let reason = format!("a series of {name} has {has} {what} of the aggregator allows {most}");
    Err(Ended::refused(RefuseCode::Limit, reason))
}
