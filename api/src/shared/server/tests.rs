//! A whole service without a socket: which routes stand on which listener, and behind what.

use super::*;
use crate::shared::{ambient::Clock, caller::Caller, config::Reader, env::Env, respond::Success, service_config};
use axum::body::{Body, to_bytes};
use http::Request;
use kisum_guard::ServiceTrust;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tower::ServiceExt as _;
use utoipa_axum::routes;

/// Says hello.
#[utoipa::path(get, path = "/api/hello", responses((status = 200, body = String)))]
async fn hello() -> Success<&'static str> {
    Success("hello")
}

/// Says who called.
#[utoipa::path(get, path = "/internal/v1/secret", responses((status = 200, body = String)))]
async fn secret(caller: Caller) -> Success<String> {
    Success(caller.service)
}

fn server(readiness: Readiness) -> Server {
    let env: Env = [
        ("ENVIRONMENT", "local"),
        ("LISTEN_ADDR", "127.0.0.1:0"),
        ("OPS_LISTEN_ADDR", "127.0.0.1:0"),
        ("SERVICE_PRIVATE_KEY", service_config::tests::SAMPLE_KEY),
    ]
    .into_iter()
    .collect();
    let shape = service_config::ServiceShape {
        name: "test",
        listeners: service_config::Listeners::PublicAndInternal,
        is_called: false,
    };
    let mut reader = Reader::new(&env);
    let config = ServiceConfig::read(&mut reader, shape);
    let config = reader.build(|| config).unwrap_or_else(|e| panic!("{e}"));
    let trust = ServiceTrust::from_json("local", "test", r#"{"services":{}}"#).unwrap_or_else(|e| panic!("{e}"));
    Server::new(&config, readiness)
        .public(OpenApiRouter::new().routes(routes!(hello)))
        .internal(CallerCheck { trust, clock: Clock::system() }, OpenApiRouter::new().routes(routes!(secret)))
}

async fn get(router: &Router, path: &str) -> (u16, String) {
    let request = Request::builder().uri(path).body(Body::empty()).unwrap_or_else(|e| panic!("{e}"));
    let response = router.clone().oneshot(request).await.unwrap_or_else(|e| match e {});
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
    (status, String::from_utf8_lossy(&bytes).into_owned())
}

fn public(server: &Server) -> Surface {
    server.public_surface().unwrap_or_else(|| panic!("there is a public listener"))
}

#[tokio::test]
async fn internal_routes_and_metrics_are_not_on_the_public_listener() {
    let server = server(Readiness::new());
    let (public, internal) = (public(&server).router, server.internal_surface().router);
    for path in ["/internal/v1/secret", "/metrics"] {
        assert_eq!(get(&public, path).await.0, 404, "{path}");
    }
    assert_eq!(get(&internal, "/metrics").await.0, 200);
    assert_eq!(get(&internal, "/api/hello").await.0, 404);
    assert_eq!(get(&public, "/api/hello").await.0, 200);
}

#[tokio::test]
async fn an_internal_route_without_a_service_token_is_a_401_and_operations_need_none() {
    let internal = server(Readiness::new()).internal_surface().router;
    let (status, body) = get(&internal, "/internal/v1/secret").await;
    assert!(status == 401 && body.contains("\"unauthorized\""), "{status} {body}");
    for path in ["/health", "/ready", "/openapi.json", "/docs"] {
        assert_eq!(get(&internal, path).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn the_page_of_documents_lists_the_operations() {
    let (_, page) = get(&public(&server(Readiness::new())).router, "/docs").await;
    assert!(page.contains("/api/hello") && page.contains("Says hello."), "{page}");
}

#[tokio::test]
async fn readiness_names_each_dependency_and_is_503_without_a_required_one() {
    let up = Arc::new(AtomicBool::new(false));
    let state = Arc::clone(&up);
    let readiness = Readiness::new()
        .require("db", move || {
            let up = state.load(Ordering::SeqCst);
            async move { if up { Ok(()) } else { Err("the database does not answer".to_owned()) } }
        })
        .report("cache", || async { Err("the cache does not answer".to_owned()) });
    let down = public(&server(readiness.clone())).router;
    let (status, body) = get(&down, "/ready").await;
    let body: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((status, body["error"]["code"].as_str()), (503, Some("service_unavailable")));
    assert_eq!(
        body["data"]["dependencies"][0],
        serde_json::json!({
            "name": "db", "state": "down", "required": true, "detail": "the database does not answer"
        })
    );
    assert_eq!(get(&down, "/health").await.0, 200);
}

#[tokio::test]
async fn a_missing_dependency_that_is_not_required_leaves_the_service_ready() {
    let readiness = Readiness::new().report("cache", || async { Err("gone".to_owned()) });
    let (status, body) = get(&public(&server(readiness)).router, "/ready").await;
    assert!(status == 200 && body.contains("\"down\""), "{status} {body}");
}

#[tokio::test]
async fn every_mounted_route_stands_in_the_document() {
    let server = server(Readiness::new());
    assert_documented(&public(&server));
    assert_documented(&server.internal_surface());
}

#[tokio::test]
async fn a_request_is_measured_under_its_route_and_never_under_what_was_typed() {
    let router = public(&server(Readiness::new())).router;
    telemetry::metrics();
    get(&router, "/api/hello").await;
    get(&router, "/api/typed-by-a-stranger").await;
    let metrics = telemetry::metrics().render();
    let count = "kisum_http_request_duration_seconds_count";
    assert!(metrics.contains(&format!("{count}{{route=\"/api/hello\",method=\"GET\",status=\"200\"}}")), "{metrics}");
    assert!(metrics.contains("route=\"unmatched\"") && !metrics.contains("typed-by-a-stranger"), "{metrics}");
}

/// Holds a listener's routes against its document: every route stands there, every operation says what it does and
/// that it may answer a problem, and everything it refers to is there.
pub(crate) fn assert_documented(surface: &Surface) {
    // These describe the service and the document, not the contract.
    let undocumented = ["/metrics", "/openapi.json", "/docs"];
    let documented: BTreeSet<&String> = surface.document.paths.paths.keys().collect();
    let missing: Vec<String> = mounted(&surface.router)
        .into_iter()
        .filter(|path| !documented.contains(path) && !undocumented.contains(&path.as_str()))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
    for (path, item) in &surface.document.paths.paths {
        for (method, operation) in openapi::operations(item) {
            assert!(operation.responses.responses.contains_key("default"), "{method} {path}");
            assert!(operation.summary.is_some(), "{method} {path} says nothing of itself");
        }
    }
    let json = serde_json::to_value(&surface.document).unwrap_or_else(|e| panic!("{e}"));
    for reference in references(&json) {
        let pointer = reference.trim_start_matches('#');
        assert!(json.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for scheme in security_schemes(&json) {
        let pointer = format!("/components/securitySchemes/{scheme}");
        assert!(json.pointer(&pointer).is_some(), "the scheme {scheme} is not described");
    }
}

/// Every `$ref` of a document.
fn references(json: &Value) -> Vec<&str> {
    match json {
        Value::Object(members) => {
            let own = members.get("$ref").and_then(Value::as_str);
            own.into_iter().chain(members.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// Every security scheme that an operation names.
fn security_schemes(json: &Value) -> BTreeSet<&String> {
    let items = json["paths"].as_object().into_iter().flat_map(|paths| paths.values());
    let operations = items.filter_map(Value::as_object).flat_map(|item| item.values());
    let required = operations.filter_map(|operation| operation["security"].as_array()).flatten();
    required.filter_map(Value::as_object).flat_map(|scheme| scheme.keys()).collect()
}

/// The paths that a router knows. It has no list to ask for, so its debug form is read; should that form change, the
/// check that some path was found fails.
fn mounted(router: &Router) -> BTreeSet<String> {
    let text = format!("{router:?}");
    let found: BTreeSet<String> = text
        .split('"')
        .filter(|part| part.starts_with('/') && !part.contains(' '))
        // The fallback's own two routes.
        .filter(|part| *part != "/" && !part.contains("__private"))
        .map(str::to_owned)
        .collect();
    assert!(found.contains("/health"), "the router's debug form is another one: {text}");
    found
}
