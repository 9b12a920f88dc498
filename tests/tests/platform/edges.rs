//! Malformed input of every kind: a problem with the contract's code, and nothing written.

use kisum_tests::demo::{self, Visitor};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

/// Status, code and reason of an answer that must be a problem in the contract's form.
async fn problem(request: RequestBuilder) -> String {
    let answer = request.send().await.unwrap_or_else(|error| panic!("{error}"));
    let status = answer.status().as_u16();
    let header = |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let (content_type, label) = (header("content-type"), header("x-request-id"));
    let body: Value = answer.json().await.unwrap_or_default();
    assert_eq!(content_type, "application/problem+json", "{status} {body}");
    assert!(!label.is_empty(), "every answer carries its request's label");
    assert_eq!(body["success"], Value::Bool(false), "{body}");
    assert_eq!(body["status"], status, "{body}");
    let code = body["error"]["code"].as_str().unwrap_or_default();
    let reason = body["error"]["reason"].as_str().map(|reason| format!(" {reason}")).unwrap_or_default();
    format!("{status} {code}{reason}")
}

struct Edge {
    demo: Visitor,
    http: Client,
    token: String,
}

impl Edge {
    async fn start() -> Self {
        let demo = demo::shared().await;
        let token = demo.sign_in("superadmin@acme-live.example").await.access;
        Edge { demo, http: Client::new(), token }
    }

    fn bills(&self, method: Method) -> RequestBuilder {
        let url = format!("{}/api/bills", self.demo.platform.addresses().finance);
        self.http.request(method, url).bearer_auth(&self.token)
    }

    async fn count(&self) -> usize {
        let answer = self.bills(Method::GET).query(&[("limit", "200")]).header("x-org", "acme-live").send().await;
        let body: Value = answer.unwrap_or_else(|error| panic!("{error}")).json().await.unwrap_or_default();
        body.pointer("/data/items").and_then(Value::as_array).map_or(0, Vec::len)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_broken_x_org_is_a_validation_error() {
    let edge = Edge::start().await;
    assert_eq!(problem(edge.bills(Method::GET)).await, "400 validation_error");
    for bad in ["", "A", "Acme Live", "acme_live", "../acme-live", "acme-live,bright-books", &"a".repeat(64)] {
        assert_eq!(problem(edge.bills(Method::GET).header("x-org", bad)).await, "400 validation_error", "{bad}");
    }
    let twice = edge.bills(Method::GET).header("x-org", "acme-live").header("x-org", "bright-books");
    assert_eq!(problem(twice).await, "400 validation_error");
    let query = edge.bills(Method::GET).query(&[("org", "acme-live"), ("x-org", "acme-live")]);
    assert_eq!(problem(query).await, "400 validation_error", "no query parameter selects the company");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_body_is_refused_and_nothing_is_written() {
    let edge = Edge::start().await;
    let before = edge.count().await;
    let post = || edge.bills(Method::POST).header("x-org", "acme-live");
    let json = |body: &str| post().header("content-type", "application/json").body(body.to_owned());
    for bad in [
        "",
        "{",
        "[]",
        "null",
        "42",
        r#"{"number":"B-1"}"#,
        r#"{"number":1,"amountCents":1,"currency":"EUR"}"#,
        r#"{"number":"B-1","amountCents":"1","currency":"EUR"}"#,
        r#"{"number":"B-1","amountCents":1.5,"currency":"EUR"}"#,
        r#"{"number":"B-1","amountCents":99999999999999999999,"currency":"EUR"}"#,
        r#"{"number":"B-1","amountCents":1,"currency":"EUR","companyId":"00000000-0000-0000-0000-000000000000"}"#,
        "{\"number\":\"B\u{0}1\",\"amountCents\":1,\"currency\":\"EUR\"}",
        r#"{"number":"B\u00001","amountCents":1,"currency":"EUR"}"#,
    ] {
        assert_eq!(problem(json(bad)).await, "400 validation_error", "{bad}");
    }
    let good = r#"{"number":"B-1","amountCents":1,"currency":"EUR"}"#;
    let text = post().header("content-type", "text/plain").body(good);
    assert_eq!(problem(text).await, "415 unsupported_media_type");
    let large = format!(r#"{{"number":"{}","amountCents":1,"currency":"EUR"}}"#, "x".repeat(200_000));
    assert_eq!(problem(json(&large)).await, "413 too_large");
    assert_eq!(edge.count().await, before, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_routes_and_methods_are_problems_too() {
    let edge = Edge::start().await;
    let addresses = edge.demo.platform.addresses();
    for base in [&addresses.auth, &addresses.basic, &addresses.finance] {
        assert_eq!(problem(edge.http.get(format!("{base}/no/such/route"))).await, "404 not_found");
        for internal in ["/metrics", "/internal/v1/heads", "/internal/v1/access-context", "/internal/v1/users"] {
            let hidden = edge.http.post(format!("{base}{internal}")).bearer_auth(&edge.token);
            assert_eq!(problem(hidden).await, "404 not_found", "{base}{internal} is not public");
        }
    }
    assert_eq!(problem(edge.bills(Method::DELETE).header("x-org", "acme-live")).await, "405 method_not_allowed");
}

/// security 14, 15
#[tokio::test(flavor = "multi_thread")]
async fn internal_routes_want_a_service_token_and_take_no_person_s() {
    let edge = Edge::start().await;
    let addresses = edge.demo.platform.addresses();
    let company = "00000000-0000-7000-8000-000000000000";
    for url in [
        format!("{}/internal/v1/heads", addresses.auth_internal),
        format!("{}/internal/v1/log/auth", addresses.auth_internal),
        format!("{}/internal/v1/revocations", addresses.auth_internal),
        format!("{}/internal/v1/companies/{company}/entitlements", addresses.core_internal),
        format!("{}/internal/v1/modules", addresses.core_internal),
    ] {
        assert_eq!(problem(edge.http.get(&url)).await, "401 unauthorized", "{url}");
        assert_eq!(problem(edge.http.get(&url).bearer_auth(&edge.token)).await, "401 unauthorized", "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_label_is_kept_when_it_is_one_and_replaced_when_not() {
    let edge = Edge::start().await;
    let url = format!("{}/health", edge.demo.platform.addresses().auth);
    for (sent, kept) in [("abc-1.2_3", true), ("no spaces", false), (&*"x".repeat(65), false)] {
        let answer = edge.http.get(&url).header("x-request-id", sent).send().await.unwrap_or_else(|e| panic!("{e}"));
        let label = answer.headers().get("x-request-id").and_then(|v| v.to_str().ok()).unwrap_or_default();
        assert_eq!(label == sent, kept, "{sent} became {label}");
        assert!(!label.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_read_only_by_who_may_write() {
    let edge = Edge::start().await;
    let user = edge.demo.sign_in("user@acme-live.example").await;
    let request = edge.http.post(format!("{}/api/bills", edge.demo.platform.addresses().finance));
    let request = request.bearer_auth(user.access).header("x-org", "acme-live").body("{ this is not json");
    assert_eq!(problem(request).await, "403 forbidden missing_permission", "the permit is checked before the body");
}
