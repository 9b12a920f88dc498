//! The backends' listeners without any server around: what stands on them, and that access is decided before a body is
//! read.

use super::*;
use crate::{
    core,
    shared::{
        openapi,
        server::{Surface, tests::assert_documented},
    },
};
use axum::body::{Body, to_bytes};
use http::Request;
use sqlx::postgres::PgPoolOptions;
use std::collections::BTreeSet;
use tower::ServiceExt as _;

const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/none";
const NOBODY: &str = "http://127.0.0.1:1";

/// An Ed25519 key that exists for this test alone.
fn private_key() -> String {
    let key = aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap_or_else(|e| panic!("{e}"));
    let der = key.to_pkcs8().unwrap_or_else(|e| panic!("{e}"));
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der.as_ref());
    format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n")
}

async fn surface(name: &'static str, routes: fn(Backend) -> OpenApiRouter) -> Surface {
    let shape = BackendShape { name, db_variable: "DB_URL" };
    let env: Env = [
        ("ENVIRONMENT", "local"),
        ("LISTEN_ADDR", "127.0.0.1:0"),
        ("OPS_LISTEN_ADDR", "127.0.0.1:0"),
        ("DB_URL", NOWHERE),
        ("NATS_URL", "nats://127.0.0.1:1"),
        ("AUTH_URL", NOBODY),
        ("AUTH_INTERNAL_URL", NOBODY),
        ("JWT_ISSUER", NOBODY),
        ("JWT_AUDIENCE", "kisum"),
    ]
    .into_iter()
    .collect();
    let env = env.with("SERVICE_PRIVATE_KEY", private_key());
    let config = BackendConfig::read(&env, shape).unwrap_or_else(|e| panic!("{e}"));
    let guard = start_guard(&config, Clock::system()).await.unwrap_or_else(|e| panic!("{e}"));
    let pool = PgPoolOptions::new().connect_lazy(NOWHERE).unwrap_or_else(|e| panic!("{e}"));
    let backend = Backend { guard, pool, clock: Clock::system() };
    let server = Server::new(&config.service, Readiness::new()).public(routes(backend));
    server.public_surface().unwrap_or_else(|| panic!("a backend has a public listener"))
}

#[tokio::test]
async fn every_route_of_a_backend_stands_in_its_document_and_answers_no_stranger() {
    for surface in [surface("basic", basic::routes).await, surface("finance", finance::routes).await] {
        assert_documented(&surface);
        let mut asked = 0;
        for (path, item) in surface.document.paths.paths.iter().filter(|(path, _)| path.starts_with("/api/")) {
            for (method, _) in openapi::operations(item) {
                // No content type and no JSON: were the body looked at first, this would be 415 or 400.
                let request = Request::builder().method(method).uri(path).header("x-org", "acme-live");
                let request = request.body(Body::from("{")).unwrap_or_else(|e| panic!("{e}"));
                let response = surface.router.clone().oneshot(request).await.unwrap_or_else(|e| match e {});
                let status = response.status().as_u16();
                let body = to_bytes(response.into_body(), 1 << 16).await.unwrap_or_else(|e| panic!("{e}"));
                assert_eq!(status, 401, "{method} {path}: {}", String::from_utf8_lossy(&body));
                asked += 1;
            }
        }
        assert_eq!(asked, 2);
    }
}

#[test]
fn every_permission_named_in_code_is_in_the_catalog() {
    let catalog: BTreeSet<String> = core::permission_keys().into_iter().collect();
    for key in basic::PERMISSIONS.iter().chain(finance::PERMISSIONS) {
        assert!(catalog.contains(*key), "{key} is not in catalog.json");
    }
}
