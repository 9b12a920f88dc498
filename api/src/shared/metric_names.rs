//! What services measure, said once for whoever reads `/metrics`.
//!
//! It owns the descriptions of this crate's metrics, and calls those of the crates that it links. The list that is
//! promised stands in `docs/api/operator.md`, and a test holds it.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Describes every metric of a service to the recorder in use.
pub(super) fn describe() {
    kisum_guard::describe_metrics();
    kisum_log::describe_metrics();
    kisum_projectors::describe_metrics();
    edge();
    identity();
    commerce();
}

fn edge() {
    describe_histogram!(
        "kisum_http_request_duration_seconds",
        Unit::Seconds,
        "Requests by route, method and status; its count is the number of requests"
    );
    describe_counter!("kisum_http_requests_shed_total", Unit::Count, "Requests refused because too many were in work");
    describe_gauge!("kisum_dependency_up", Unit::Count, "1 where a dependency answered when /ready last asked it");
    describe_counter!(
        "kisum_trust_reload_failures_total",
        Unit::Count,
        "Trust files that could not be used; the former rules stayed in force"
    );
    describe_counter!(
        "kisum_log_lines_lost_total",
        Unit::Count,
        "Log lines that standard output did not take, because whoever reads it does not or is gone"
    );
    describe_counter!("kisum_spans_exported_total", Unit::Count, "Spans that the collector took");
    describe_counter!("kisum_spans_dropped_total", Unit::Count, "Spans that were dropped, by reason");
}

fn identity() {
    describe_counter!("kisum_login_total", Unit::Count, "Sign-ins by outcome");
    describe_counter!("kisum_refresh_total", Unit::Count, "Refreshes of sessions by outcome");
    describe_gauge!("kisum_signing_key_held", Unit::Count, "1 where the private half of the active key is here");
    describe_gauge!("kisum_signing_keys_missing", Unit::Count, "Published keys whose private half is not here");
    describe_counter!("kisum_tokens_rejected_total", Unit::Count, "Access tokens that Auth refused");
    describe_counter!("kisum_mail_sent_total", Unit::Count, "Mails that got out, by kind");
    describe_counter!("kisum_mail_failures_total", Unit::Count, "Attempts to send a mail that failed, by reason");
    describe_counter!("kisum_mail_given_up_total", Unit::Count, "Mails that are not sent any more, by reason");
    describe_gauge!("kisum_mail_oldest_seconds", Unit::Seconds, "Age of the oldest mail that waits; 0 without one");
    describe_counter!(
        "kisum_signin_failures_unwritten_total",
        Unit::Count,
        "Failed sign-ins that no event tells of, because there were too many or the log was away"
    );
    describe_counter!("kisum_access_warmed_total", Unit::Count, "Access contexts resolved ahead of a question");
    describe_counter!("kisum_redis_errors_total", Unit::Count, "Questions to Redis that failed");
    describe_counter!(
        "kisum_redis_values_refused_total",
        Unit::Count,
        "Values of the limits in Redis that are not ours, and count for nothing"
    );
    describe_histogram!("kisum_access_merge_seconds", Unit::Seconds, "From a snapshot to the resolved access context");
    describe_histogram!("kisum_core_lookup_seconds", Unit::Seconds, "Questions to Core for a company's entitlements");
}

fn commerce() {
    describe_histogram!("kisum_entitlement_read_seconds", Unit::Seconds, "Core reading what a company owns");
    describe_counter!("kisum_entitlement_bumps_total", Unit::Count, "Changes of what a company owns");
    describe_counter!("kisum_subscription_changes_total", Unit::Count, "Subscriptions and add-ons changed, by type");
    describe_counter!("kisum_catalog_mutations_total", Unit::Count, "Changes of the catalog");
}
