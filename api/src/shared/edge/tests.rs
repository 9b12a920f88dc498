//! The layers of a listener, through a router with a few routes of its own.

use super::*;
use crate::shared::{extract::ApiJson, respond::Success};
use axum::{
    body::{Body, to_bytes},
    routing::{get, post},
};
use http::{Request as HttpRequest, StatusCode};
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::Notify;
use tower::ServiceExt as _;

fn routes() -> Router {
    Router::new()
        .route("/hello", get(async || Success("hello")))
        .route("/echo", post(async |ApiJson(body): ApiJson<Value>| Success(body)))
        .route("/panic", get(async || -> &'static str { panic!("a defect") }))
        .route("/never", get(async || -> &'static str { std::future::pending().await }))
}

fn edge() -> Edge {
    let cors_origins = vec![HeaderValue::from_static("https://app.example")];
    Edge { cors_origins, ..Edge::default() }
}

fn request(method: &str, path: &str) -> http::request::Builder {
    HttpRequest::builder().method(method).uri(path)
}

async fn send(router: &Router, request: HttpRequest<Body>) -> (StatusCode, HeaderMap, Value) {
    let response = router.clone().oneshot(request).await.unwrap_or_else(|e| match e {});
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
    (parts.status, parts.headers, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

async fn ask(method: &str, path: &str) -> (StatusCode, HeaderMap, Value) {
    let request = request(method, path).body(Body::empty()).unwrap_or_else(|e| panic!("{e}"));
    send(&edge().around(routes()), request).await
}

fn assert_problem(answer: &(StatusCode, HeaderMap, Value), status: u16, code: &str) {
    let (got, headers, body) = answer;
    assert_eq!((got.as_u16(), body["error"]["code"].as_str()), (status, Some(code)), "{body}");
    assert_eq!(headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes), Some(&b"application/problem+json"[..]));
    assert_eq!((body["status"].as_u64(), body["success"].as_bool()), (Some(u64::from(status)), Some(false)));
    assert!(headers.contains_key("x-request-id"));
    assert!(headers.contains_key(header::X_CONTENT_TYPE_OPTIONS));
}

#[tokio::test]
async fn a_success_stands_in_the_envelope_under_the_security_headers() {
    let (status, headers, body) = ask("GET", "/hello").await;
    assert_eq!((status.as_u16(), body), (200, serde_json::json!({"success": true, "data": "hello"})));
    for (name, value) in SECURE_HEADERS {
        assert_eq!(headers.get(&name).map(HeaderValue::as_bytes), Some(value.as_bytes()), "{name}");
    }
}

#[tokio::test]
async fn a_good_label_comes_back_and_a_bad_one_is_replaced() {
    for (label, kept) in [("web-7", true), ("two words", false)] {
        let request = request("GET", "/hello").header("x-request-id", label).body(Body::empty());
        let (_, headers, _) = send(&edge().around(routes()), request.unwrap_or_else(|e| panic!("{e}"))).await;
        let back = headers.get("x-request-id").and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert_eq!(back == label, kept, "{back}");
        assert!(!back.is_empty());
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    assert_problem(&ask("GET", "/nowhere").await, 404, "not_found");
    let wrong_method = ask("DELETE", "/hello").await;
    assert_problem(&wrong_method, 405, "method_not_allowed");
    assert_eq!(wrong_method.1.get(header::ALLOW).map(HeaderValue::as_bytes), Some(&b"GET,HEAD"[..]));
}

#[tokio::test]
async fn a_panic_is_a_problem_that_says_nothing() {
    let answer = ask("GET", "/panic").await;
    assert_problem(&answer, 500, "internal_error");
    assert!(!answer.2.to_string().contains("defect"));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_or_not_it_says_its_length() {
    let json = || request("POST", "/echo").header(header::CONTENT_TYPE, "application/json");
    let large = format!("\"{}\"", "a".repeat(64 * 1024));
    let said = json().header(header::CONTENT_LENGTH, large.len()).body(Body::from(large.clone()));
    let said = said.unwrap_or_else(|e| panic!("{e}"));
    assert_problem(&send(&edge().around(routes()), said).await, 413, "too_large");

    let chunks = futures_util::stream::iter(vec![Ok::<_, std::io::Error>(large.clone()), Ok(large)]);
    let streamed = json().body(Body::from_stream(chunks)).unwrap_or_else(|e| panic!("{e}"));
    assert_problem(&send(&edge().around(routes()), streamed).await, 413, "too_large");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_is_a_408() {
    assert_problem(&ask("GET", "/never").await, 408, "request_timeout");
}

#[tokio::test]
async fn headers_over_the_limit_are_a_431() {
    let long = request("GET", "/hello").header("x-long", "a".repeat(20_000)).body(Body::empty());
    let answer = send(&edge().around(routes()), long.unwrap_or_else(|e| panic!("{e}"))).await;
    assert_problem(&answer, 431, "headers_too_large");
    let mut many = request("GET", "/hello");
    for number in 0..100 {
        many = many.header(format!("x-{number}"), "1");
    }
    let answer = send(&edge().around(routes()), many.body(Body::empty()).unwrap_or_else(|e| panic!("{e}"))).await;
    assert_problem(&answer, 431, "headers_too_large");
}

#[tokio::test]
async fn more_requests_than_allowed_are_told_to_come_back() {
    let (started, proceed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (note, wait) = (Arc::clone(&started), Arc::clone(&proceed));
    let slow = get(move || {
        let (note, wait) = (Arc::clone(&note), Arc::clone(&wait));
        async move {
            note.notify_one();
            wait.notified().await;
            Success("done")
        }
    });
    let mut edge = edge();
    edge.limits.requests_max = 1;
    let router = edge.around(Router::new().route("/slow", slow));
    let ask = || request("GET", "/slow").body(Body::empty()).unwrap_or_else(|e| panic!("{e}"));
    let first = tokio::spawn({
        let (router, request) = (router.clone(), ask());
        async move { send(&router, request).await }
    });
    started.notified().await;

    let second = send(&router, ask()).await;
    assert_problem(&second, 503, "service_unavailable");
    assert_eq!(second.1.get(header::RETRY_AFTER).map(HeaderValue::as_bytes), Some(&b"1"[..]));

    proceed.notify_one();
    let (status, ..) = first.await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn only_an_allowed_origin_may_call_with_credentials() {
    for (origin, allowed) in [("https://app.example", true), ("https://evil.example", false)] {
        let preflight = request("OPTIONS", "/echo")
            .header(header::ORIGIN, origin)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "x-org,content-type")
            .body(Body::empty());
        let (_, headers, _) = send(&edge().around(routes()), preflight.unwrap_or_else(|e| panic!("{e}"))).await;
        let back = headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).map(HeaderValue::as_bytes);
        assert_eq!(back == Some(origin.as_bytes()), allowed, "{origin}");
        assert_ne!(back, Some(&b"*"[..]));
    }
}
