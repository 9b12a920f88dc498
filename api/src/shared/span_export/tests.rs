//! Which spans are collected, and in what form they go out.

use super::{QUEUE_MAX, Queued, SpanLayer, otlp};
use serde_json::Value;
use tokio::sync::mpsc;
use tracing_subscriber::layer::SubscriberExt as _;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn collected(size: usize, work: impl FnOnce()) -> Vec<Value> {
    let (queue, mut waiting) = mpsc::channel(size);
    let subscriber = tracing_subscriber::registry().with(SpanLayer::into_queue(queue));
    tracing::subscriber::with_default(subscriber, work);
    let mut spans = Vec::new();
    while let Ok(Queued::Span(span)) = waiting.try_recv() {
        spans.push(*span);
    }
    let request = otlp::request(&otlp::resource("auth", "test"), &spans);
    assert_eq!(request["resourceSpans"][0]["resource"]["attributes"][1]["value"]["stringValue"], "auth");
    request["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone()
}

fn traced(span_id: &str, is_sampled: bool) -> tracing::Span {
    tracing::error_span!(
        "request",
        trace_id = TRACE,
        span_id,
        parent_span_id = "00f067aa0ba902b7",
        span_kind = "server",
        sampled = is_sampled,
        method = "GET",
        route = "/auth/me",
        links = format!("00-{TRACE}-00000000000000cd-01"),
        who = "ann@acme.example",
        status = tracing::field::Empty,
    )
}

#[test]
fn a_span_that_says_where_it_stands_is_collected_with_its_parent_links_and_status() {
    let spans = collected(QUEUE_MAX, || {
        traced("00000000000000ab", true).record("status", 503_u64);
        drop(tracing::error_span!("of somebody else's", colour = "green"));
    });
    let [span] = &*spans else { panic!("{spans:?}") };
    assert_eq!((&span["traceId"], &span["spanId"]), (&Value::from(TRACE), &Value::from("00000000000000ab")));
    assert_eq!(span["parentSpanId"], "00f067aa0ba902b7");
    assert_eq!((&span["name"], &span["kind"]), (&Value::from("GET /auth/me"), &Value::from(2)));
    assert_eq!(span["links"][0]["spanId"], "00000000000000cd");
    assert_eq!(span["status"]["code"], 2);
    let at = |name: &str| span[name].as_str().unwrap().parse::<u128>().unwrap();
    assert!(at("endTimeUnixNano") >= at("startTimeUnixNano") && at("startTimeUnixNano") > 0);
    let attributes = span["attributes"].to_string();
    assert!(attributes.contains(r#"{"key":"status","value":{"intValue":"503"}}"#), "{attributes}");
    assert!(attributes.contains("[masked]") && !attributes.contains("acme.example"), "{attributes}");
}

#[test]
fn a_trace_that_is_not_sampled_is_not_collected() {
    assert_eq!(collected(QUEUE_MAX, || drop(traced("00000000000000ab", false))), Vec::<Value>::new());
}

#[test]
fn what_does_not_fit_into_the_queue_is_dropped_and_holds_up_nobody() {
    let spans = collected(2, || (1..100).for_each(|n| drop(traced(&format!("{n:016x}"), true))));
    assert_eq!(spans.len(), 2);
}
