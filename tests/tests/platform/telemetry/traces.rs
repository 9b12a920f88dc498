//! One trace through everything that a request causes: services, the log, the bus, guards and projections.

use super::{lines, metrics, sum, until};
use kisum::{
    local::{Part, Stack},
    platform::Ask,
};
use kisum_events::{TraceParent, header};
use kisum_tests::{
    collector::{Collector, Span},
    counted::new_uuid,
    demo::{Backend, Demo, Signed},
    streams,
};
use reqwest::{Client, Method, Response, header::HeaderValue};
use serde_json::Value;

/// A trace that begins with a client of the platform.
fn begun(is_sampled: bool) -> TraceParent {
    TraceParent::begin(new_uuid().as_u128(), new_uuid().as_u64_pair().1, is_sampled)
}

fn id(trace: TraceParent) -> String {
    trace.trace_id().to_string()
}

/// Asks as somebody of a company, as a step of a trace.
async fn ask(method: Method, url: &str, person: &Signed, company: &str, trace: TraceParent) -> Response {
    let request = Client::new().request(method, url).bearer_auth(&person.access).header("x-org", company);
    let request = request.header("traceparent", trace.to_string()).header("x-request-id", "traced-7");
    request.send().await.unwrap_or_else(|error| panic!("{error}"))
}

/// The span of a service whose name begins so.
fn of<'a>(spans: &'a [Span], service: &str, name: &str) -> Option<&'a Span> {
    spans.iter().find(|span| span.service == service && span.name.starts_with(name))
}

/// A path of spans, each a part of the one before; the first is a part of `begun`.
fn path(spans: &[Span], begun: TraceParent, steps: &[(&str, &str, u64)]) -> Option<()> {
    let mut parent = begun.span_id().to_string();
    for (service, name, kind) in steps {
        let mut here = spans.iter().filter(|it| it.service == *service && it.name.starts_with(name));
        let here = here.find(|it| it.parent == parent)?;
        assert_eq!(here.kind, *kind, "{here:?}");
        parent.clone_from(&here.id);
    }
    Some(())
}

async fn finance_asks_auth(demo: &Demo, collector: &Collector) {
    let person = demo.sign_in("user@acme-live.example").await;
    let trace = begun(true);
    let url = format!("{}/api/bills", demo.platform.addresses().finance);
    let answer = ask(Method::GET, &url, &person, "acme-live", trace).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-request-id"]),
        (200, &HeaderValue::from_static("traced-7"))
    );
    let steps =
        [("finance", "GET /api/bills", 2), ("finance", "ask auth", 3), ("auth", "POST /internal/v1/access-context", 2)];
    collector.until(&id(trace), "the question of the guard", |spans| path(spans, trace, &steps)).await;
    let spans = collector.trace(&id(trace));
    let asked = of(&spans, "auth", "POST").unwrap_or_else(|| panic!("{spans:?}"));
    assert_eq!(asked.attributes.get("request_id").map(String::as_str), Some("traced-7"), "the label travels, too");
    assert_eq!(asked.attributes.get("status").map(String::as_str), Some("200"));
    for part in [Part::Finance, Part::Auth] {
        let has =
            lines(&demo.stack, part).iter().any(|it| it["trace_id"] == id(trace) && it["event"] == "http.request");
        assert!(has, "{part} has no line of the trace");
    }
}

async fn a_request_without_a_trace_begins_one(demo: &Demo, collector: &Collector) {
    let person = demo.sign_in("manager@acme-live.example").await;
    let answer = demo.business(Backend::Basic, Method::GET, &person.access, "acme-live").await;
    assert!(answer.is_success(), "{answer}");
    let trace = until("the line of the request", async || {
        let all = lines(&demo.stack, Part::Basic);
        let line =
            all.iter().rev().find(|it| it["event"] == "http.request" && it["user_id"] == person.user_id.as_str());
        line.and_then(|it| it["trace_id"].as_str().map(str::to_owned))
    })
    .await;
    collector
        .until(&trace, "the trace that began here", |spans| {
            of(spans, "basic", "GET /api/events").filter(|span| span.parent.is_empty()).map(|_| ())
        })
        .await;
}

/// The message on the bus of the event that an answer's `X-Access-Position` names.
async fn message(stack: &Stack, position: &str) -> (String, Value) {
    let sequence = position.rsplit('.').next().and_then(|it| it.parse().ok()).unwrap_or_else(|| panic!("{position}"));
    let stream = streams::reached(&streams::admin(stack).await, sequence).await;
    let message = stream.get_raw_message(sequence).await.unwrap_or_else(|error| panic!("{error}"));
    let trace = message.headers.get(header::TRACEPARENT).map(|value| value.as_str().to_owned()).unwrap_or_default();
    (trace, serde_json::from_slice(&message.payload).unwrap_or_else(|error| panic!("{error}")))
}

async fn a_command_reaches_the_bus_the_guards_and_the_projections(demo: &Demo, collector: &Collector) {
    let admin = demo.sign_in("superadmin@acme-live.example").await;
    let member = demo.sign_in("manager@acme-live.example").await;
    let access = demo.access(&member.access, "acme-live").await;
    let text = |pointer: &str| access.text(pointer).unwrap_or_else(|error| panic!("{error:#}"));
    let (company, membership) = (text("/companyId"), text("/membershipId"));
    let auth = &demo.platform.addresses().auth;
    let url = format!("{auth}/companies/{company}/members/{membership}/permissions/finance.bills.read");
    let trace = begun(true);
    let answer = ask(Method::DELETE, &url, &admin, "acme-live", trace).await;
    let position = answer.headers().get("x-access-position").and_then(|it| it.to_str().ok()).map(str::to_owned);
    assert!(answer.status().is_success(), "{answer:?}");
    let (on_bus, envelope) = message(&demo.stack, &position.unwrap_or_default()).await;
    let step = TraceParent::parse(&on_bus).unwrap_or_else(|| panic!("the header is '{on_bus}'"));
    assert_eq!(id(step), id(trace));
    assert_eq!(envelope["meta"]["traceparent"], on_bus.as_str(), "the event carries what the header says");
    let command = ("auth", "DELETE /companies/", 2);
    collector
        .until(&id(trace), "what the event causes", |spans| {
            path(spans, trace, &[command, ("auth", "append", 4), ("auth", "project member_list", 5)])?;
            for backend in ["basic", "finance"] {
                path(spans, trace, &[command, ("auth", "append", 4), (backend, "apply", 5)])?;
            }
            of(spans, "auth", "append").filter(|span| span.id == step.span_id().to_string()).map(|_| ())
        })
        .await;
}

async fn a_trace_that_is_not_sampled_travels_and_is_not_exported(demo: &Demo, collector: &Collector) {
    let person = demo.sign_in("admin@acme-live.example").await;
    let (quiet, loud) = (begun(false), begun(true));
    let url = format!("{}/api/bills", demo.platform.addresses().finance);
    for trace in [quiet, loud] {
        assert_eq!(ask(Method::GET, &url, &person, "acme-live", trace).await.status(), 200);
    }
    // Sent by the same service in order: with the later one there, the earlier one would be, too.
    collector.until(&id(loud), "the sampled trace", |spans| of(spans, "finance", "GET").map(|_| ())).await;
    assert!(collector.trace(&id(quiet)).is_empty());
    assert!(lines(&demo.stack, Part::Auth).iter().any(|line| line["trace_id"] == id(quiet)), "the guard sent it on");
}

async fn a_collector_that_hangs_holds_up_nobody(demo: &Demo, collector: &Collector) {
    let person = demo.sign_in("user@bright-books.example").await;
    collector.fall_silent(true);
    let dropped = async || sum(&metrics(&demo.stack, Part::Auth).await, "kisum_spans_dropped_total", "not_taken");
    let (before, mut answered) = (dropped().await, 0);
    while dropped().await == before {
        let me = demo.auth(Some(&person.access), Ask::get("/auth/me")).await;
        assert!(me.is_success(), "{me}");
        answered += 1;
    }
    // A batch waits 3 s for the collector: had requests waited with it, there would be one.
    assert!(answered > 2, "only {answered} requests were answered beside a collector that hangs");
    collector.fall_silent(false);
    let trace = begun(true);
    let url = format!("{}/auth/me", demo.platform.addresses().auth);
    assert_eq!(ask(Method::GET, &url, &person, "bright-books", trace).await.status(), 200);
    collector.until(&id(trace), "what came later", |spans| of(spans, "auth", "GET /auth/me").map(|_| ())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_whole_from_a_client_s_request_to_what_its_event_causes() {
    let collector = Collector::start();
    let demo = Demo::start_with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())]).await;
    finance_asks_auth(&demo, &collector).await;
    a_request_without_a_trace_begins_one(&demo, &collector).await;
    a_command_reaches_the_bus_the_guards_and_the_projections(&demo, &collector).await;
    a_trace_that_is_not_sampled_travels_and_is_not_exported(&demo, &collector).await;
    a_collector_that_hangs_holds_up_nobody(&demo, &collector).await;
    for body in collector.bodies() {
        for secret in [&demo.platform.addresses().demo_password, "eyJ", "$argon2", ".example"] {
            assert!(!body.contains(secret), "the collector was told {secret}: {body}");
        }
        assert!(!body.contains("GET /ready") && !body.contains("GET /metrics"), "probes are not traced");
    }
    demo.stack.stop().await;
}
