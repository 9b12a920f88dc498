//! What this crate measures, said once for whoever reads `/metrics`.

use metrics::{Unit, describe_gauge, describe_histogram};

/// Describes the metrics of appends, of following and of the relay to the recorder in use.
pub fn describe_metrics() {
    describe_histogram!("kisum_append_batch_size", Unit::Count, "Appends committed by one call of the append");
    describe_histogram!("kisum_append_seconds", Unit::Seconds, "From a batch's departure to its last verdict");
    describe_gauge!(
        "kisum_relay_lag_events",
        Unit::Count,
        "The log's head less the last position that NATS has acknowledged"
    );
}
