//! Putting Auth together: configuration, dependencies, routes.
//!
//! It owns what Auth cannot start without (its database and its keys) and what it can (Redis, NATS, Core, relays).

use super::{
    Auth, Lifetimes, Parts,
    access::{Access, ContextCache, Snapshots, keep_warm},
    companies,
    config::AuthConfig,
    credentials,
    factors::{self, Challenges, Passkeys},
    failed_signins::{FailedSignins, write_failed_signins},
    internal, keyring,
    limiter::{Limiter, LoginLimiter, RotationLimiter},
    login, logout, logout_all,
    logs::Logs,
    lookup::LookupKey,
    mail::{self, Post},
    me, my_access, my_companies,
    passwords::Passwords,
    peers::{self, Peer},
    people::ErasureLedger,
    redis::Redis,
    refresh,
    seal::Seal,
    session_list, sessions,
    stragglers::end_stragglers,
    tokens::{AccessTokens, MailedKey, RefreshKey},
    well_known,
};
use crate::shared::{
    ambient::Clock,
    bus,
    caller::CallerCheck,
    config::{ConfigError, Fault},
    database::{self, Connections},
    env::Env,
    health::Readiness,
    problem::Chain,
    server::{self, ServeError, Server},
    telemetry, trust,
};
use kisum_events::{Log, UserId};
use kisum_guard::Memory;
use kisum_log::{EventLog, Opened, Reads, Sealer};
use kisum_projectors::{
    LogPage, LogSource, SourceError,
    auth::{Dependencies, Running},
};
use sqlx::postgres::PgConnectOptions;
use std::{error::Error, io, sync::Arc, time::Duration};
use tokio::sync::watch;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Longest wait for a page of the core log.
const PAGE_PATIENCE: Duration = Duration::from_secs(5);

/// The connections that a process of Auth makes.
pub const fn connections(pool: u32) -> Connections {
    let Opened { appends, reads } = EventLog::CONNECTIONS;
    Connections {
        pool,
        appends,
        // Streams, and what access is resolved from.
        reads: reads * 2,
        projections: kisum_projectors::auth::CONNECTIONS,
        mail: mail::CONNECTIONS,
    }
}

/// Runs Auth until `shutdown` becomes true.
///
/// # Errors
/// [`ServeError`] when the environment is unusable, an address is taken, or the database does not answer at start.
pub async fn run(env: Env, shutdown: watch::Receiver<bool>) -> Result<(), ServeError> {
    let config = AuthConfig::read(&env)?;
    telemetry::start(&config.service);
    let unwritable = |error: io::Error| ConfigError::of("ERASURE_LEDGER", Fault::Unwritable(error.to_string()));
    let ledger = ErasureLedger::open(config.erasure_ledger.clone()).map_err(unwritable)?;
    let clock = Clock::system();
    let pool = database::connect("AUTH_DB_URL", &config.db_url, connections(config.service.db_pool_max)).await?;
    let sealer = Sealer::new(config.data_encryption_keys.expose()).map_err(failed("DATA_ENCRYPTION_KEYS"))?;
    let log =
        EventLog::open(Log::Auth, config.db_url.expose(), pool.clone(), sealer).await.map_err(failed("AUTH_DB_URL"))?;
    refuse_restored(&ledger, &log).await?;
    let peers = Neighbours::new(&config, &clock)?;
    let nats = bus::connect("NATS_URL", &config.nats_url, "auth", bus::Reconnect::SPREAD).await?;
    let dependencies = Dependencies { log: log.clone(), core: peers.core_log(), nats: nats.clone() };
    let mut running = kisum_projectors::auth::spawn(&dependencies, &shutdown);
    let loaded = keyring::establish(&log, &config.private_keys, &clock).await.map_err(failed("the keyring"))?;
    let keys = (config.jwt_issuer.as_str(), config.jwt_audience.as_str());
    let keys = keyring::Keys::new(config.private_keys.clone(), (loaded.version, loaded.state), keys)
        .map_err(failed("the keyring"))?;
    let auth = assemble(&config, &clock, (log.clone(), keys.clone(), ledger), peers, nats.clone(), &running)?;
    let named = auth.access.memory.named();
    running.tasks.spawn(keyring::follow(keys.clone(), log.clone(), named, shutdown.clone()));

    let post = Post {
        log: log.clone(),
        clock: clock.clone(),
        key: auth.mailed_key.clone(),
        transport: config.mail_transport.clone(),
        from: config.mail_from.clone(),
        app_url: config.app_url.clone(),
    };
    let mail = mail::spawn(post, &shutdown, &mut running.tasks);
    running.tasks.spawn(keep_warm(auth.access.clone(), auth.redis.clone(), shutdown.clone()));
    running.tasks.spawn(write_failed_signins(auth.clone(), shutdown.clone()));
    running.tasks.spawn(credentials::erase_unverified(auth.clone(), shutdown.clone()));
    running.tasks.spawn(companies::expire_invitations(auth.clone(), shutdown.clone()));
    running.tasks.spawn(end_stragglers(auth.clone(), shutdown.clone()));
    let service = &config.service;
    let trust_file = service.trust_file.clone().unwrap_or_default();
    let trust = trust::watch_trust(&service.environment, &service.service, &trust_file)
        .await
        .map_err(failed("SERVICE_TRUST"))?;
    let redis = auth.redis.clone();
    let readiness = Readiness::new()
        .require("db", move || database::ping(pool.clone()))
        .require("log", move || head(log.clone()))
        .report("nats", move || bus::ping(nats.clone()))
        .report("redis", move || ping_redis(redis.clone()))
        .report("signing_key", move || std::future::ready(keys.ready()))
        .report("mail", move || std::future::ready(mail.check()));
    let served = Server::new(service, readiness)
        .public(public_routes().with_state(auth.clone()))
        .internal(CallerCheck { trust, clock }, internal::routes().with_state(auth))
        .run(shutdown)
        .await;
    server::after_projections(served, running.tasks).await
}

/// Refuses to serve from a database in which somebody whom the ledger knows to be erased has a key again: it was restored, and
/// the list was not applied (`security.md` 13).
async fn refuse_restored(ledger: &ErasureLedger, log: &EventLog) -> Result<(), ServeError> {
    let unreadable = |error: io::Error| ConfigError::of("ERASURE_LEDGER", Fault::Unreadable(error.to_string()));
    let erased = ledger.erased().map_err(unreadable)?;
    let erased: Vec<_> = erased.into_iter().map(UserId::uuid).collect();
    let found = sqlx::query_scalar!(r#"select count(*) as "count!" from person_key where person = any($1)"#, &erased);
    let found = found.fetch_one(log.pool()).await.map_err(failed("AUTH_DB_URL"))?;
    if found == 0 {
        return Ok(());
    }
    let what = format!(
        "the database has keys of {found} persons who were erased: it was restored; see docs/runbooks/erasure.md"
    );
    Err(ServeError::Halted { name: "ERASURE_LEDGER", source: what.into() })
}

fn assemble(
    config: &AuthConfig,
    clock: &Clock,
    (log, keys, ledger): (EventLog, keyring::Keys, ErasureLedger),
    peers: Neighbours,
    nats: async_nats::Client,
    running: &Running,
) -> Result<Auth, ServeError> {
    let redis = Redis::open(config.redis_url.expose(), clock.clone()).map_err(failed("REDIS_URL"))?;
    let seal = Seal::new(&config.cache_mac_key);
    // Auth checks its own tokens by the key set that it publishes.
    let verifier = keys.verifier().clone();
    let (issuer, audience) = (config.jwt_issuer.clone(), config.jwt_audience.clone());
    let access_tokens = AccessTokens::new(issuer, audience, config.access_ttl, keys.clone());
    let (auth_relay, core_relay) = (peers.auth_relay, peers.core_relay);
    let core = peers.core.clone();
    let logs = Logs { own: log.clone(), auth_relay, core_relay, clock: clock.clone() };
    let source = Arc::new(logs.clone());
    let memory = Memory::start(nats, source, verifier.clone(), clock.clone(), config.contexts_max);
    let db: PgConnectOptions = config.db_url.expose().parse().map_err(failed("AUTH_DB_URL"))?;
    let access = Access {
        memory,
        snapshots: Reads::start(Snapshots::default(), &db, "access"),
        log: log.clone(),
        cache: ContextCache::new(redis.clone(), seal.clone()),
        entitlements: running.entitlements.clone(),
        core: peers.core,
        clock: clock.clone(),
    };
    let limits = Limiter::new(redis.clone(), seal.clone(), clock.clone());
    Ok(Auth(Arc::new(Parts {
        clock: clock.clone(),
        access,
        passwords: Passwords::start().map_err(failed("the password pool"))?,
        limiter: LoginLimiter::new(limits.clone()),
        rotations: RotationLimiter::new(limits.clone(), config.rotations_max),
        lookup: LookupKey::new(&config.lookup_key),
        verifier,
        keys,
        access_tokens,
        refresh_key: RefreshKey::new(&config.refresh_key),
        redis,
        seal,
        lifetimes: Lifetimes {
            access: config.access_ttl,
            idle: config.idle_ttl,
            absolute: config.absolute_ttl,
            key_set: config.key_set_ttl,
        },
        origins: config.service.cors_origins.clone(),
        logs,
        entitlements: running.entitlements.clone(),
        catalog: running.catalog.clone(),
        audit: running.audit.clone(),
        member_list: running.member_list.clone(),
        session_list: running.session_list.clone(),
        invitation_list: running.invitation_list.clone(),
        limits: limits.clone(),
        mailed_key: MailedKey::new(&config.refresh_key),
        challenges: Challenges::new(log.pool().clone(), limits, clock.clone()),
        passkeys: Passkeys::new(&config.webauthn_rp_id, &config.service.cors_origins)
            .map_err(failed("WEBAUTHN_RP_ID"))?,
        core,
        self_service_billing: config.self_service_billing,
        ledger,
        failed_signins: FailedSignins::default(),
        log,
    })))
}

/// The services that Auth asks.
struct Neighbours {
    core: Peer,
    auth_relay: Peer,
    core_relay: Peer,
    core_log_urls: Vec<String>,
}

impl Neighbours {
    fn new(config: &AuthConfig, clock: &Clock) -> Result<Self, ServeError> {
        let service = &config.service;
        let signer = service.signer().map_err(failed("SERVICE_PRIVATE_KEY"))?;
        let http = peers::client().map_err(failed("the HTTP client"))?;
        let peer = |callee, bases| Peer::new(callee, bases, http.clone(), signer.clone(), clock.clone());
        Ok(Self {
            core: peer("core", vec![config.core_internal_url.clone()]),
            auth_relay: peer("relay-auth", config.auth_log_urls.clone()),
            core_relay: peer("relay-core", config.core_log_urls.clone()),
            core_log_urls: config.core_log_urls.clone(),
        })
    }

    /// The core log as its relays serve it, for the projections of it.
    fn core_log(&self) -> LogSource {
        let relay = self.core_relay.clone();
        LogSource::new(self.core_log_urls.clone(), move |base, after, limit| {
            let (relay, base) = (relay.clone(), base.to_owned());
            async move {
                let query = [("after", after.to_string()), ("limit", limit.to_string())];
                let answer = relay.get_from::<LogPage>(&base, "/internal/v1/log", &query, PAGE_PATIENCE).await;
                answer.map(|answer| answer.data).map_err(|error| SourceError::Unavailable(Chain(&error).to_string()))
            }
        })
    }
}

fn public_routes() -> OpenApiRouter<Auth> {
    OpenApiRouter::new()
        .routes(routes!(login::login))
        .routes(routes!(refresh::refresh))
        .routes(routes!(logout::logout))
        .routes(routes!(logout_all::logout_all))
        .routes(routes!(me::me))
        .routes(routes!(my_companies::my_companies))
        .routes(routes!(my_access::my_access))
        .routes(routes!(session_list::list_own))
        .routes(routes!(sessions::end_own))
        .routes(routes!(well_known::jwks))
        .routes(routes!(well_known::openid_configuration))
        .merge(credentials::routes())
        .merge(companies::routes())
        .merge(factors::routes())
}

async fn head(log: EventLog) -> Result<(), String> {
    log.head().await.map(|_| ()).map_err(|_| "the log's head cannot be read".to_owned())
}

async fn ping_redis(redis: Redis) -> Result<(), String> {
    if redis.is_up().await { Ok(()) } else { Err("Redis does not answer".to_owned()) }
}

/// Names what Auth could not start with.
fn failed<E: Error + Send + Sync + 'static>(name: &'static str) -> impl Fn(E) -> ServeError {
    move |error| ServeError::dependency(name)(Box::new(error))
}
