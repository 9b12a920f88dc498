//! Business backends: each its own database and listener pair, all behind the same guard.
//!
//! It owns what they share: configuration, start, readiness, lists, creation, and the note of whose request it is. It refuses to decide
//! about access: a route asks for a `Permit`, and the company comes from it alone.

pub mod basic;
mod commands;
mod config;
pub mod finance;
mod records;
mod text;

use crate::shared::{
    ambient::Clock,
    database::{self, Connections},
    env::Env,
    health::Readiness,
    observe,
    server::{ServeError, Server},
    service_config::ServiceConfig,
    telemetry,
};
use axum::extract::FromRef;
use config::{BackendConfig, BackendShape};
use kisum_guard::{Guard, GuardConfig, Permission, Permit};
use sqlx::PgPool;
use tokio::sync::watch;
use utoipa_axum::router::OpenApiRouter;

/// What a backend's routes share.
#[derive(Clone)]
pub(crate) struct Backend {
    pub(crate) guard: Guard,
    pub(crate) pool: PgPool,
    pub(crate) clock: Clock,
}

impl FromRef<Backend> for Guard {
    fn from_ref(backend: &Backend) -> Self {
        backend.guard.clone()
    }
}

/// Notes whose request it is, from the permit.
fn note<P: Permission>(permit: &Permit<P>) {
    observe::note_person(permit.user_id(), permit.session_id(), Some(permit.company_id()));
}

/// Runs a backend until `shutdown` becomes true.
async fn run(
    env: Env,
    shape: BackendShape,
    routes: fn(Backend) -> OpenApiRouter,
    shutdown: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let config = BackendConfig::read(&env, shape)?;
    telemetry::start(&config.service);
    let clock = Clock::system();
    let pool =
        database::connect(shape.db_variable, &config.db_url, Connections::pool(config.service.db_pool_max)).await?;
    let guard = start_guard(&config, clock.clone()).await?;
    let readiness = readiness(&pool, &guard);
    let backend = Backend { guard, pool, clock };
    Server::new(&config.service, readiness).public(routes(backend)).run(shutdown).await
}

async fn start_guard(config: &BackendConfig, clock: Clock) -> Result<Guard, ServeError> {
    let ServiceConfig { environment, service, .. } = &config.service;
    let signer =
        config.service.signer().map_err(|error| ServeError::dependency("SERVICE_PRIVATE_KEY")(error.into()))?;
    let guard = GuardConfig {
        service: service.clone(),
        environment: environment.name().to_owned(),
        auth_url: config.auth_url.clone(),
        auth_internal_url: config.auth_internal_url.clone(),
        nats_url: config.nats_url.expose().to_owned(),
        signer,
        issuer: config.issuer.clone(),
        audience: config.audience.clone(),
        fetch_timeout: GuardConfig::FETCH_TIMEOUT,
        contexts_max: GuardConfig::CONTEXTS_MAX,
    };
    Guard::start(guard, clock).await.map_err(|error| ServeError::dependency("the guard")(error.into()))
}

/// The database, the guard, and what the guard rests on by name.
fn readiness(pool: &PgPool, guard: &Guard) -> Readiness {
    let pool = pool.clone();
    let part = |guard: &Guard, holds: fn(&Guard) -> bool, otherwise: &'static str| {
        let guard = guard.clone();
        move || std::future::ready(if holds(&guard) { Ok(()) } else { Err(otherwise.to_owned()) })
    };
    Readiness::new()
        .require("db", move || database::ping(pool.clone()))
        .require("guard", part(guard, |guard| guard.ready().is_ready(), "access cannot be proven"))
        .report("guard.jwks", part(guard, |guard| guard.ready().jwks, "no keys are held to check tokens with"))
        .report("guard.auth", part(guard, |guard| guard.ready().auth, "Auth did not answer when it was last asked"))
        .report("guard.nats", part(guard, |guard| guard.ready().nats, "the bus is not connected"))
        .report("guard.auth_lease", part(guard, |guard| guard.ready().auth_lease, "the auth log is not followed"))
        .report("guard.core_lease", part(guard, |guard| guard.ready().core_lease, "the core log is not followed"))
}

#[cfg(test)]
mod tests;
