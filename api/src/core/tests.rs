//! Core's listener without a database: what stands on it, and that nothing answers a stranger.

use super::*;
use crate::shared::{
    config::Reader,
    openapi,
    server::{Surface, tests::assert_documented},
    service_config::{Listeners, ServiceConfig, ServiceShape, tests::SAMPLE_KEY},
};
use axum::body::Body;
use http::Request;
use kisum_guard::ServiceTrust;
use sqlx::postgres::PgPoolOptions;
use tower::ServiceExt as _;

const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/none";

async fn surface() -> Surface {
    let pool = PgPoolOptions::new().connect_lazy(NOWHERE).unwrap_or_else(|e| panic!("{e}"));
    let keys = format!("k1:{}=", "A".repeat(43));
    let sealer = Sealer::new(&keys).unwrap_or_else(|e| panic!("{e}"));
    let log = EventLog::open(Log::Core, NOWHERE, pool, sealer).await.unwrap_or_else(|e| panic!("{e}"));
    let clock = Clock::system();
    let actors = Actors::new(None, &clock).unwrap_or_else(|e| panic!("{e}"));
    let env: Env = [("ENVIRONMENT", "local"), ("OPS_LISTEN_ADDR", "127.0.0.1:0"), ("SERVICE_PRIVATE_KEY", SAMPLE_KEY)]
        .into_iter()
        .collect();
    let shape = ServiceShape { name: "core", listeners: Listeners::InternalOnly, is_called: false };
    let mut reader = Reader::new(&env);
    let config = ServiceConfig::read(&mut reader, shape);
    let config = reader.build(|| config).unwrap_or_else(|e| panic!("{e}"));
    let trust = ServiceTrust::from_json("local", "core", r#"{"services":{}}"#).unwrap_or_else(|e| panic!("{e}"));
    let routes = routes(Core { log, clock: clock.clone(), actors });
    Server::new(&config, Readiness::new()).internal(CallerCheck { trust, clock }, routes).internal_surface()
}

#[tokio::test]
async fn every_route_of_core_stands_in_its_document() {
    assert_documented(&surface().await);
}

#[tokio::test]
async fn no_internal_operation_answers_without_a_service_token() {
    let surface = surface().await;
    let mut asked = 0;
    for (path, item) in surface.document.paths.paths.iter().filter(|(path, _)| path.starts_with("/internal/")) {
        for (method, _) in openapi::operations(item) {
            let path = path.replace("{id}", "018f3a5c-0000-7000-8000-000000000001").replace("{addon}", "finance");
            for bearer in [None, Some("Bearer nonsense"), Some("Bearer eyJhbGciOiJub25lIn0.e30.")] {
                let mut request = Request::builder().method(method).uri(&path);
                if let Some(bearer) = bearer {
                    request = request.header("authorization", bearer);
                }
                let request = request.body(Body::empty()).unwrap_or_else(|e| panic!("{e}"));
                let response = surface.router.clone().oneshot(request).await.unwrap_or_else(|e| match e {});
                assert_eq!(response.status().as_u16(), 401, "{method} {path} {bearer:?}");
                asked += 1;
            }
        }
    }
    assert_eq!(asked, 24, "eight operations, three ways");
}

#[test]
fn a_service_can_run_as_a_task() {
    fn is_send<F: Send>(_: fn(Env, watch::Receiver<bool>) -> F) {}
    is_send(run);
    is_send(crate::basic::run);
    is_send(crate::finance::run);
}
