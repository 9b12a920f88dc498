//! The lists of log events and metrics that are promised, held against a platform that was driven through everything
//! they tell of. `docs/api/operator.md` has the same lists for people; `the_promised_names_are_documented` holds that.

use super::{lines, metrics, printed, sum, until};
use kisum::{
    local::Part,
    platform::{Answer, Ask, Callee},
};
use kisum_tests::demo::{Backend, Demo, words};
use reqwest::Method;
use serde_json::{Value, json};
use std::{collections::BTreeSet, path::PathBuf};

/// Fields of every line that belongs to a request (plan §19; `log` and `level` aside).
const OF_A_REQUEST: [&str; 9] =
    ["timestamp", "level", "service", "environment", "request_id", "trace_id", "span_id", "route", "method"];

/// A log event: who writes it, and its fields beside those of a request. An event that no request causes has none of
/// those, and is marked so.
struct Event {
    name: &'static str,
    by: Part,
    fields: &'static [&'static str],
    is_of_a_request: bool,
}

const fn event(name: &'static str, by: Part, fields: &'static [&'static str]) -> Event {
    Event { name, by, fields, is_of_a_request: true }
}

const EVENTS: [Event; 26] = [
    event("http.request", Part::Auth, &["status", "duration_ms"]),
    event("http.request", Part::Finance, &["status", "duration_ms", "user_id", "session_id", "company_id"]),
    event("http.request", Part::Finance, &["status", "code", "reason", "error"]),
    event("login.succeeded", Part::Auth, &["user_id", "session_id"]),
    event("login.failed", Part::Auth, &["reason"]),
    event("refresh.succeeded", Part::Auth, &["user_id", "session_id"]),
    event("refresh.failed", Part::Auth, &["reason"]),
    event("logout", Part::Auth, &["user_id", "session_id"]),
    event("logout_all", Part::Auth, &["user_id"]),
    event("session.revoked", Part::Auth, &["cause", "user_id", "session_id"]),
    event("token.rejected", Part::Auth, &["code"]),
    event("token.rejected", Part::Finance, &["reason"]),
    event("x_org.rejected", Part::Auth, &["user_id", "session_id"]),
    event("x_org.rejected", Part::Finance, &["reason", "user_id", "session_id"]),
    event("access.denied", Part::Auth, &["reason", "user_id", "session_id", "company_id"]),
    event("access.denied", Part::Finance, &["reason", "actor", "company", "user_id", "session_id"]),
    event("access.aggregation_failed", Part::Auth, &["error", "user_id", "session_id"]),
    Event {
        name: "access.aggregation_failed",
        by: Part::Finance,
        fields: &["reason", "actor", "company", "request_id", "trace_id"],
        is_of_a_request: false,
    },
    event("subscription.changed", Part::Core, &["type", "company_id", "actor"]),
    event("addon.changed", Part::Core, &["type", "company_id", "actor"]),
    event("entitlement.bumped", Part::Core, &["type", "company_id", "actor"]),
    Event { name: "catalog.changed", by: Part::Core, fields: &["stream", "types"], is_of_a_request: false },
    event("company.approved", Part::Auth, &["company_id", "actor"]),
    event("company.suspended", Part::Auth, &["company_id", "actor"]),
    event("company.reactivated", Part::Auth, &["company_id", "actor"]),
    Event { name: "service.started", by: Part::RelayAuth, fields: &[], is_of_a_request: false },
];

/// A metric, its labels, and who has it.
struct Metric {
    name: &'static str,
    labels: &'static [&'static str],
    of: &'static [Part],
}

const fn metric(name: &'static str, labels: &'static [&'static str], of: &'static [Part]) -> Metric {
    Metric { name, labels, of }
}

const BACKENDS: &[Part] = &[Part::Basic, Part::Finance];
const LOGS: &[Part] = &[Part::Auth, Part::Core];

const METRICS: [Metric; 27] = [
    metric("kisum_http_request_duration_seconds", &["method", "route", "status"], &Part::SERVICES),
    metric("kisum_dependency_up", &["dependency"], &Part::SERVICES),
    metric("kisum_login_total", &["outcome"], &[Part::Auth]),
    metric("kisum_refresh_total", &["outcome"], &[Part::Auth]),
    metric("kisum_revoked_session_use_total", &[], &[Part::Auth, Part::Finance]),
    metric("kisum_access_cache_total", &["level", "outcome"], &[Part::Auth, Part::Finance]),
    metric("kisum_access_merge_seconds", &[], &[Part::Auth]),
    metric("kisum_core_lookup_seconds", &[], &[Part::Auth]),
    metric("kisum_entitlement_read_seconds", &[], &[Part::Core]),
    metric("kisum_entitlement_bumps_total", &[], &[Part::Core]),
    metric("kisum_catalog_mutations_total", &[], &[Part::Core]),
    metric("kisum_subscription_changes_total", &["type"], &[Part::Core]),
    metric("kisum_access_denied_total", &["reason"], &[Part::Auth, Part::Finance]),
    metric("kisum_x_org_failures_total", &[], &[Part::Auth, Part::Finance]),
    metric("kisum_tokens_rejected_total", &[], &[Part::Auth]),
    metric("kisum_service_tokens_rejected_total", &["reason"], &[Part::Auth]),
    metric("kisum_context_fetch_seconds", &[], &[Part::Finance]),
    metric("kisum_proof_age_seconds", &["log"], BACKENDS),
    metric("kisum_relay_lag_events", &["log"], &[Part::RelayAuth, Part::RelayCore]),
    metric("kisum_projection_lag_seconds", &["projection"], LOGS),
    metric("kisum_projection_position", &["projection"], LOGS),
    metric("kisum_projection_poisoned", &["projection"], LOGS),
    metric("kisum_append_batch_size", &["log"], LOGS),
    metric("kisum_append_seconds", &["log"], LOGS),
    metric("kisum_redis_errors_total", &[], &[Part::Auth]),
    metric("kisum_signing_key_held", &[], &[Part::Auth]),
    metric("kisum_signing_keys_missing", &[], &[Part::Auth]),
];

/// Drives the platform through everything that the lists tell of; returns what must stand in no line.
async fn drive(demo: &mut Demo) -> Vec<String> {
    let mut secret = vec![demo.platform.addresses().demo_password.clone()];
    people(demo, &mut secret).await;
    refusals(demo, &mut secret).await;
    let bought = purchases(demo).await;
    let person = demo.sign_in("manager@acme-live.example").await;
    secret.extend([person.access.clone(), person.refresh.clone()]);
    outages(demo, &person.access, &bought).await;
    secret
}

fn ok(answer: Answer) -> Answer {
    assert!(answer.is_success(), "{}: {answer}", answer.asked);
    answer
}

async fn people(demo: &Demo, secret: &mut Vec<String>) {
    let login = |email: &str, password: &str| {
        Ask::new(Method::POST, "/auth/login").body(json!({ "email": email, "password": password }))
    };
    let refresh = |token: &str| Ask::new(Method::POST, "/auth/refresh").body(json!({ "refreshToken": token }));
    let wrong = "this is not the password";
    assert_eq!(words(&demo.auth(None, login("user@acme-live.example", wrong)).await), "401 unauthorized");
    assert_eq!(words(&demo.auth(None, login("stranger@nowhere.example", wrong)).await), "401 unauthorized");
    secret.push(wrong.to_owned());

    let first = demo.sign_in("user@acme-live.example").await;
    let next = ok(demo.auth(None, refresh(&first.refresh)).await);
    let next = next.text("/refreshToken").unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(demo.auth(None, refresh(&format!("{}x", first.refresh))).await.status, 401);
    ok(demo.auth(Some(&first.access), Ask::new(Method::POST, "/auth/logout").body(json!({}))).await);
    let everywhere = demo.sign_in("manager@core-club.example").await;
    ok(demo.auth(Some(&everywhere.access), Ask::new(Method::POST, "/auth/logout-all").body(json!({}))).await);
    secret.extend([everywhere.access, everywhere.refresh]);
    // The session is over, and its token is used once more at both edges.
    assert_eq!(words(&demo.auth(Some(&first.access), Ask::get("/auth/me")).await), "401 session_revoked");
    until("the backend knows that the session is over", async || {
        let answer = demo.business(Backend::Finance, Method::GET, &first.access, "acme-live").await;
        (words(&answer) == "401 session_revoked").then_some(())
    })
    .await;
    secret.extend([first.access, first.refresh, next]);
}

async fn refusals(demo: &Demo, secret: &mut Vec<String>) {
    let person = demo.sign_in("user@acme-live.example").await;
    let access = |company| Ask::get("/auth/me/access").company(company);
    ok(demo.auth(Some(&person.access), access("acme-live")).await);
    ok(demo.business(Backend::Finance, Method::GET, &person.access, "acme-live").await);
    let post = demo.business(Backend::Finance, Method::POST, &person.access, "acme-live").await;
    assert_eq!(words(&post), "403 forbidden missing_permission");
    let company = demo.sign_in("user@core-club.example").await;
    let company = demo.access(&company.access, "core-club").await;
    let company = company.text("/companyId").unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(words(&demo.auth(Some(&person.access), access(&company)).await), "403 forbidden not_a_member");
    let finance = demo.platform.addresses().finance.clone();
    for (base, path) in [(&demo.platform.addresses().auth, "/auth/me/access"), (&finance, "/api/bills")] {
        assert_eq!(demo.ask(base, Some(&person.access), Ask::get(path)).await.status, 400, "without x-org");
        let forged = format!("{}x", person.access);
        assert_eq!(demo.ask(base, Some(&forged), Ask::get(path).company("acme-live")).await.status, 401);
    }
    let internal = demo.platform.addresses().auth_internal.clone();
    assert_eq!(demo.ask(&internal, Some(&person.access), Ask::get("/internal/v1/heads")).await.status, 401);
    secret.extend([person.access, person.refresh]);
}

async fn internal(demo: &Demo, callee: Callee, ask: Ask<'_>) -> Answer {
    ok(demo.platform.internal(callee, ask).await.unwrap_or_else(|error| panic!("{error:#}")))
}

/// Buys and ends an add-on and a package for `dormant`, whose standing changes and comes back; returns its id.
async fn purchases(demo: &Demo) -> String {
    let found = internal(demo, Callee::Auth, Ask::get("/internal/v1/companies/by-slug/dormant")).await;
    let company = found.text("/companyId").unwrap_or_else(|error| panic!("{error:#}"));
    for (callee, method, what, body) in [
        (Callee::Core, Method::PUT, "subscription", json!({ "package": "basic" })),
        (Callee::Core, Method::DELETE, "subscription", Value::Null),
        (Callee::Core, Method::PUT, "addons/finance", json!({})),
        (Callee::Core, Method::DELETE, "addons/finance", Value::Null),
        (Callee::Auth, Method::POST, "suspend", json!({ "reason": "a test" })),
        (Callee::Auth, Method::POST, "reactivate", json!({})),
    ] {
        let path = format!("/internal/v1/companies/{company}/{what}");
        let ask = Ask::new(method, &path);
        internal(demo, callee, if body.is_null() { ask } else { ask.body(body) }).await;
    }
    company
}

/// What is noted only when something is wrong: the projection is behind, then Core and then Auth do not answer.
async fn outages(demo: &mut Demo, token: &str, dormant: &str) {
    demo.stack.pause(Part::RelayCore);
    let acme = demo.access(token, "acme-live").await;
    let acme = acme.text("/companyId").unwrap_or_else(|error| panic!("{error:#}"));
    let path = format!("/internal/v1/companies/{dormant}/addons/market");
    let buy = Ask::new(Method::PUT, &path).body(json!({}));
    let bought = internal(demo, Callee::Core, buy).await;
    let position = bought.position.as_deref();
    let ask = || Ask::get("/auth/me/access").company(&acme).from_position(position);
    ok(demo.auth(Some(token), ask()).await);
    demo.stack.pause(Part::Core);
    assert_eq!(words(&demo.auth(Some(token), ask()).await), "503 service_unavailable");
    demo.stack.resume(Part::Core);
    demo.stack.resume(Part::RelayCore);
    demo.stack.kill(Part::Redis).await;
    until("Redis is missed", async || {
        demo.access(token, "acme-live").await;
        let page = metrics(&demo.stack, Part::Auth).await;
        (sum(&page, "kisum_redis_errors_total", "") > 0.0).then_some(())
    })
    .await;
    demo.stack.start_part(Part::Redis).await.unwrap_or_else(|failure| panic!("{failure}"));
    demo.stack.pause(Part::Auth);
    // Nobody has asked about this company for them, so the guard has to ask.
    let answer = demo.business(Backend::Finance, Method::GET, token, "bright-books").await;
    assert_eq!(words(&answer), "503 service_unavailable");
    demo.stack.resume(Part::Auth);
}

/// Whether a line tells of the event with everything that is promised.
fn tells(line: &Value, event: &Event) -> bool {
    let has = |name: &&str| !line[*name].is_null();
    line["event"] == event.name
        && event.fields.iter().all(has)
        && (!event.is_of_a_request || OF_A_REQUEST.iter().all(has))
        && line["service"] == event.by.name()
}

async fn assert_events(demo: &Demo) {
    for event in &EVENTS {
        until(&format!("{} of {} with {:?}", event.name, event.by, event.fields), async || {
            lines(&demo.stack, event.by).iter().any(|line| tells(line, event)).then_some(())
        })
        .await;
    }
}

/// No line of any service holds what nobody may read there, whatever its level was.
fn assert_nothing_secret(demo: &Demo, secret: &[String]) {
    for part in Part::SERVICES {
        let text = printed(&demo.stack, part);
        assert!(text.lines().count() > 1, "{part} has printed nothing");
        for secret in secret {
            assert!(!text.contains(secret.as_str()), "{part} has printed {secret}");
        }
        for line in text.lines() {
            // Every token of a person or a service begins with "eyJ", every hash of a password with "$argon2".
            for trace in ["eyJ", "$argon2", ".example", "Bearer ", "PRIVATE KEY"] {
                assert!(!line.contains(trace), "{part} has printed {trace}: {line}");
            }
        }
    }
}

/// The labels of a sample, less those of histograms.
fn labels(sample: &str) -> Vec<(String, String)> {
    let inner = sample.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(inner, _)| inner);
    let pairs = inner.split("\",").filter_map(|pair| pair.split_once("=\""));
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.trim_end_matches('"').to_owned()));
    pairs.filter(|(name, _)| name != "le" && name != "quantile").collect()
}

fn samples<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let endings = ["", "_bucket", "_sum", "_count"].map(|ending| format!("{name}{ending}"));
    let name_of = |line: &&str| line.split(['{', ' ']).next().unwrap_or_default().to_owned();
    page.lines().filter(|line| !line.starts_with('#') && endings.contains(&name_of(line))).collect()
}

async fn assert_metrics(demo: &Demo) {
    for metric in &METRICS {
        for &part in metric.of {
            let page = until(&format!("{} of {part}", metric.name), async || {
                let page = metrics(&demo.stack, part).await;
                (!samples(&page, metric.name).is_empty()).then_some(page)
            })
            .await;
            assert!(page.contains(&format!("# HELP {} ", metric.name)), "{part}: {} is not described", metric.name);
            for sample in samples(&page, metric.name) {
                let names: BTreeSet<String> = labels(sample).into_iter().map(|(name, _)| name).collect();
                assert_eq!(names, metric.labels.iter().map(|&name| name.to_owned()).collect(), "{sample}");
            }
            let is_histogram = metric.name.ends_with("_seconds") && page.contains(&format!("{}_bucket", metric.name));
            let is_gauge = page.contains(&format!("# TYPE {} gauge", metric.name));
            assert!(is_histogram || is_gauge || !metric.name.ends_with("_seconds"), "{} has no buckets", metric.name);
        }
    }
}

/// Whatever a service measures is described and ours, and has no label that grows with what people do.
async fn assert_labels_are_bounded(demo: &Demo) {
    for part in Part::SERVICES {
        let page = metrics(&demo.stack, part).await;
        let mut seen = BTreeSet::new();
        for sample in page.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let name = sample.split(['{', ' ']).next().unwrap_or_default();
            let plain = ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending));
            let name = plain.filter(|plain| page.contains(&format!("# TYPE {plain} histogram"))).unwrap_or(name);
            assert!(page.contains(&format!("# HELP {name} ")), "{part}: {name} is not described");
            for (label, value) in labels(sample) {
                let digits = value.bytes().filter(u8::is_ascii_digit).count();
                let is_bounded = value.len() <= 80 && digits <= 3 && !value.contains('@');
                assert!(is_bounded, "{part}: the label {label} of {name} is {value}");
            }
            seen.insert(name.to_owned());
        }
        assert!(seen.iter().all(|name| name.starts_with("kisum_")), "{part}: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_promised_event_and_metric_is_there_and_no_line_tells_a_secret() {
    // Everything of our own is printed, the chattiest level included: what must not be seen is seen nowhere.
    let ours = ["api", "guard", "log", "projectors", "domains", "events"].map(|name| format!("kisum_{name}=trace"));
    let filter = format!("info,{}", ours.join(","));
    let mut demo = Demo::start_with(&[("RUST_LOG", &filter)]).await;
    let secret = drive(&mut demo).await;
    for part in Part::SERVICES {
        let url = format!("{}/ready", demo.stack.addresses_with(|at| at.ops(part)));
        reqwest::get(&url).await.unwrap_or_else(|error| panic!("{part}: {error}"));
    }
    assert_events(&demo).await;
    assert_metrics(&demo).await;
    assert_labels_are_bounded(&demo).await;
    assert_nothing_secret(&demo, &secret);
    demo.stack.stop().await;
}

#[test]
fn the_promised_names_are_documented() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/api/operator.md");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for name in EVENTS.iter().map(|event| event.name).chain(METRICS.iter().map(|metric| metric.name)) {
        assert!(text.contains(&format!("`{name}")), "{name} is not in docs/api/operator.md");
    }
}
