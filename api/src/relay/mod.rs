//! `kisum serve relay --log …`: carries one log to JetStream and answers for its head and its public events.
//!
//! It owns the process around `kisum_log::relay`, apart from the API, so that a deploy of Auth or Core costs no proof
//! and what is committed stays readable. It refuses to read anything sealed: its database role cannot.

mod config;
mod heads;
mod read_log;

use crate::shared::{
    ambient::Clock,
    bus,
    caller::CallerCheck,
    database::{self, Connections},
    env::Env,
    health::Readiness,
    server::{ServeError, Server},
    telemetry, trust,
};
use config::RelayServiceConfig;
use kisum_events::Log;
use kisum_log::relay::{HeadService, RelayConfig};
use sqlx::PgPool;
use tokio::sync::watch;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What the relay's routes work on.
#[derive(Clone)]
struct RelayState {
    log: Log,
    pool: PgPool,
    heads: HeadService,
}

/// Runs a relay until `shutdown` becomes true.
///
/// # Errors
/// [`ServeError`] when it cannot start, or when it must not go on because the stream is not this log.
pub async fn run(env: Env, log: Log, shutdown: watch::Receiver<bool>) -> Result<(), ServeError> {
    let config = RelayServiceConfig::read(&env, log)?;
    telemetry::start(&config.service);
    let pool =
        database::connect(config.db_variable, &config.db_url, Connections::pool(config.service.db_pool_max)).await?;
    let nats = bus::connect("NATS_URL", &config.nats_url, &config.service.service, bus::Reconnect::AT_ONCE).await?;
    let head_user = format!("{}-head", config.service.service);
    let head_nats = bus::connect("NATS_HEAD_URL", &config.nats_head_url, &head_user, bus::Reconnect::AT_ONCE).await?;
    let trusted = trust::watch_trust(&config.service.environment, &config.service.service, &config.trust_file)
        .await
        .map_err(|error| ServeError::dependency("SERVICE_TRUST")(Box::new(error)))?;

    let heads = HeadService::start(pool.clone());
    let state = RelayState { log, pool: pool.clone(), heads: heads.clone() };
    let (ping, bus_state) = (pool.clone(), nats.clone());
    let readiness = Readiness::new()
        .require("db", move || database::ping(ping.clone()))
        .require("nats", move || bus::ping(bus_state.clone()));
    let check = CallerCheck { trust: trusted, clock: Clock::system() };
    let server = Server::new(&config.service, readiness).internal(check, internal_routes(state));

    let relay = kisum_log::relay::run(RelayConfig { log, pool, nats, replicas: config.replicas }, shutdown.clone());
    let answering = heads.answer_on(head_nats, log, shutdown.clone());
    let serving = server.run(shutdown);
    tokio::pin!(serving);
    tokio::select! {
        served = &mut serving => served,
        halted = relay => match halted {
            // Told to stop: let the listener finish what it has in work.
            Ok(()) => serving.await,
            Err(halted) => Err(ServeError::Halted { name: "the relay", source: Box::new(halted) }),
        },
        refused = async { match answering.await { Ok(()) => std::future::pending().await, Err(error) => error } } => {
            Err(ServeError::dependency("NATS_HEAD_URL")(Box::new(refused)))
        }
    }
}

fn internal_routes(state: RelayState) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(heads::head)).routes(routes!(read_log::read_log)).with_state(state)
}
