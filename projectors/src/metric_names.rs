//! What this crate measures, said once for whoever reads `/metrics`.

use metrics::{Unit, describe_gauge};

/// Describes the metrics of projections to the recorder in use.
pub fn describe_metrics() {
    describe_gauge!(
        "kisum_projection_lag_seconds",
        Unit::Seconds,
        "Age of the newest applied event when it was applied; 0 when nothing is left, growing while it stands still"
    );
    describe_gauge!("kisum_projection_position", Unit::Count, "The last position that is applied");
    describe_gauge!("kisum_projection_poisoned", Unit::Count, "1 while an event that cannot be applied stops it");
}
