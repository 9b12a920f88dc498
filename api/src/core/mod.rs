//! Core: what is sold and who bought it. One internal listener; companies never call it directly.
//!
//! It owns the catalog's data, the commands on subscriptions and the answer about entitlements. It refuses to know
//! people and memberships: it is told which company, and never asks who may do what in it.

mod actor;
mod catalog;
mod config;
mod entitlements;
mod offer;
mod purchase;
mod seed;
mod subscription;

#[cfg(test)]
pub(crate) use seed::permission_keys;

use crate::shared::{
    ambient::Clock,
    caller::CallerCheck,
    database::{self, Connections},
    env::Env,
    health::Readiness,
    server::{self, ServeError, Server},
    telemetry, trust,
};
use actor::Actors;
use config::CoreConfig;
use kisum_events::Log;
use kisum_log::{EventLog, Opened, Sealer};
use tokio::sync::watch;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What Core's routes share.
#[derive(Clone)]
pub(crate) struct Core {
    log: EventLog,
    clock: Clock,
    actors: Actors,
}

/// The connections that a process of Core makes.
pub const fn connections(pool: u32) -> Connections {
    let Opened { appends, reads } = EventLog::CONNECTIONS;
    Connections { pool, appends, reads, projections: kisum_projectors::core::CONNECTIONS, mail: 0 }
}

/// Runs Core until `shutdown` becomes true.
///
/// # Errors
/// [`ServeError`] when the environment is unusable, an address is taken, or the database does not answer at start.
pub async fn run(env: Env, shutdown: watch::Receiver<bool>) -> Result<(), ServeError> {
    let config = CoreConfig::read(&env)?;
    telemetry::start(&config.service);
    let clock = Clock::system();
    let pool = database::connect("CORE_DB_URL", &config.db_url, connections(config.service.db_pool_max)).await?;
    let sealer = Sealer::new(config.data_keys.expose())
        .map_err(|error| ServeError::dependency("DATA_ENCRYPTION_KEYS")(error.into()))?;
    let log = EventLog::open(Log::Core, config.db_url.expose(), pool.clone(), sealer)
        .await
        .map_err(|error| ServeError::dependency("CORE_DB_URL")(error.into()))?;
    seed::append_missing(&log).await.map_err(|error| ServeError::dependency("the catalog")(error.into()))?;

    let projections = kisum_projectors::core::spawn(&log, &shutdown);
    let actors = Actors::new(config.tokens.as_ref(), &clock)
        .map_err(|error| ServeError::dependency("AUTH_URL")(error.into()))?;
    let core = Core { log: log.clone(), clock: clock.clone(), actors };
    let trust = trust::watch_trust(&config.service.environment, &config.service.service, &config.trust_file)
        .await
        .map_err(|error| ServeError::dependency("SERVICE_TRUST")(error.into()))?;
    let readiness =
        Readiness::new().require("db", move || database::ping(pool.clone())).require("log", move || head(log.clone()));
    let served = Server::new(&config.service, readiness)
        .internal(CallerCheck { trust, clock }, routes(core))
        .run(shutdown)
        .await;
    server::after_projections(served, projections.tasks).await
}

async fn head(log: EventLog) -> Result<(), String> {
    log.head().await.map(|_| ()).map_err(|_| "the log's head cannot be read".to_owned())
}

/// Core's routes, all internal.
pub(crate) fn routes(core: Core) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(subscription::put_subscription, subscription::delete_subscription))
        .routes(routes!(subscription::put_addon, subscription::delete_addon))
        .routes(routes!(entitlements::get_entitlements))
        .routes(routes!(catalog::list_modules))
        .routes(routes!(catalog::list_packages))
        .routes(routes!(catalog::list_addons))
        .with_state(core)
}

#[cfg(test)]
mod tests;
