//! What a guard measures, said once for whoever reads `/metrics`.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Describes a guard's metrics to the recorder in use. A backend calls it once, where it installs its recorder.
pub fn describe_metrics() {
    describe_counter!("kisum_access_cache_total", Unit::Count, "Questions about access by level asked and outcome");
    describe_counter!("kisum_access_denied_total", Unit::Count, "Refusals of access by reason");
    describe_counter!("kisum_x_org_failures_total", Unit::Count, "Requests whose x-org is missing or malformed");
    describe_counter!("kisum_revoked_session_use_total", Unit::Count, "Requests by a session that has ended");
    describe_counter!(
        "kisum_service_tokens_rejected_total",
        Unit::Count,
        "Service tokens that were refused, by reason"
    );
    describe_histogram!("kisum_context_fetch_seconds", Unit::Seconds, "From asking Auth for a context to its answer");
    describe_gauge!("kisum_proof_age_seconds", Unit::Seconds, "Age of the newest proof of a log's head; +Inf for none");
}
