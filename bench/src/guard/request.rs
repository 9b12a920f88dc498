//! A guarded route beside a bare one, in the same process and under the same load: real tokens, real Auth, real NATS,
//! and everything that a decision needs already in the guard's memory.

use crate::{
    load::{self, BARE},
    platform::{Running, told},
    report::Line,
};
use anyhow::{Context as _, ensure};
use axum::{Json, Router, extract::FromRef, routing::get};
use kisum::local::Part;
use kisum_guard::{Clock, Guard, GuardConfig, Permit, ServiceSigner};
use serde_json::Value;
use std::{sync::Arc, time::Duration};

/// Connections of the load.
pub(super) const CONNECTIONS: usize = 32;
const COMPANY: &str = "acme-live";
const GUARDED: &str = "/guarded";
/// Those who ask, in turn: all may read bills.
const PEOPLE: [&str; 5] = [
    "superadmin@acme-live.example",
    "admin@acme-live.example",
    "manager@acme-live.example",
    "user@acme-live.example",
    "agent@agency.example",
];
const REFERENCE: &str = "reference: bare axum JSON route";
/// How long the guard may take to follow both logs.
const READY_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

kisum_guard::permissions! {
    /// Reads bills.
    ReadBills = "finance.bills.read";
}

/// What the route works on.
#[derive(Clone)]
struct Backend(Guard);

impl FromRef<Backend> for Guard {
    fn from_ref(backend: &Backend) -> Self {
        backend.0.clone()
    }
}

async fn guarded(permit: Permit<ReadBills>) -> Json<Value> {
    // A handler cannot do without it.
    std::hint::black_box(permit.company_id());
    Json(load::document())
}

/// A guard in this process, configured as Finance's.
async fn guard(running: &Running) -> anyhow::Result<Guard> {
    let variables = running.stack.environment(Part::Finance).map_err(told)?;
    let value = |name: &str| variables.get(name).cloned().with_context(|| format!("Finance has no {name}"));
    let key = value("SERVICE_PRIVATE_KEY")?;
    let key = std::fs::read_to_string(key.trim_start_matches("file:"))?;
    let (environment, service) = (value("ENVIRONMENT")?, value("SERVICE_NAME")?);
    let config = GuardConfig {
        signer: ServiceSigner::new(&environment, &service, &key)?,
        environment,
        service,
        auth_url: value("AUTH_URL")?,
        auth_internal_url: value("AUTH_INTERNAL_URL")?,
        nats_url: value("NATS_URL")?,
        issuer: value("JWT_ISSUER")?,
        audience: value("JWT_AUDIENCE")?,
        fetch_timeout: GuardConfig::FETCH_TIMEOUT,
        contexts_max: GuardConfig::CONTEXTS_MAX,
    };
    let guard = Guard::start(config, Clock::system()).await?;
    let ready = async {
        while !guard.ready().is_ready() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(READY_MAX, ready).await.context("the guard does not follow both logs")?;
    Ok(guard)
}

/// The same people ask both routes, with the same headers.
pub(super) async fn measure(running: &Running, rounds: usize, span: Duration) -> anyhow::Result<Vec<Line>> {
    // As in a service: figures are counted.
    kisum_api::shared::telemetry::metrics();
    let backend = Backend(guard(running).await?);
    let routes = Router::new().route(GUARDED, get(guarded)).with_state(backend);
    let address = load::serve(routes.merge(load::bare())).await?;
    let (mut asks_bare, mut asks_guarded) = (Vec::new(), Vec::new());
    for email in PEOPLE {
        let authorization = format!("Bearer {}", running.sign_in(email).await?);
        let headers = [("authorization", authorization.as_str()), ("x-org", COMPANY), ("accept", "application/json")];
        asks_bare.push(load::request("GET", BARE, &headers));
        asks_guarded.push(load::request("GET", GUARDED, &headers));
    }
    assert_guarded(address).await?;
    let mut turns = [
        (Line::new(REFERENCE, None), Arc::<[_]>::from(asks_bare), Vec::new()),
        (Line::new("guarded route, context in memory", Some((REFERENCE, 0.85))), Arc::from(asks_guarded), Vec::new()),
    ];
    // The memory is filled, and everything else has been walked through once.
    for (_, requests, _) in &turns {
        load::run(address, requests, CONNECTIONS, span / 4).await?;
    }
    for round in 0..rounds {
        for (line, requests, latencies) in &mut turns {
            let (rate, mut took) = load::run(address, requests, CONNECTIONS, span).await?;
            eprintln!("round {} of {rounds}: {} {rate:.0}/s", round + 1, line.name);
            line.rates.push(rate);
            latencies.append(&mut took);
        }
    }
    Ok(turns
        .map(|(mut line, _, mut took)| {
            line.set_latencies(&mut took);
            line
        })
        .into())
}

/// Nobody comes in without a token: what is measured is a guard.
async fn assert_guarded(address: std::net::SocketAddr) -> anyhow::Result<()> {
    let mut connection = load::Connection::open(address).await?;
    let status = connection.ask(&load::request("GET", GUARDED, &[("x-org", COMPANY)])).await?;
    ensure!(status == 401, "without a token the guarded route answers {status}");
    Ok(())
}
