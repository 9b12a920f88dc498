//! What a command about projections needs to reach: the databases they live in, and the logs they fold.
//!
//! A log is read in its own database; a projection of a log that lives elsewhere may also read the log's owners' route,
//! as its service does. It owns which of them, by the variables that are set.

use crate::{ambient, local::databases::Database, log::connect, usage::Usage};
use anyhow::{Context as _, Result};
use kisum_events::Log;
use kisum_guard::ServiceSigner;
use kisum_log::{Pages, read, read_head};
use kisum_projectors::{LogPage, LogSource, Registered, SourceError};
use serde::Deserialize;
use sqlx::PgPool;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

/// The log routes of the core log's relays, separated by commas, as in Auth's environment.
const CORE_LOG_URLS: &str = "CORE_LOG_URLS";
/// Longest wait for a page.
const PAGE_PATIENCE: Duration = Duration::from_secs(5);

/// Where everything is.
pub(super) struct Reach {
    databases: BTreeMap<Log, PgPool>,
    /// The core log's route, where it is read instead of its database.
    core_route: Option<LogSource>,
}

impl Reach {
    /// Connects to what these projections need, and to nothing else.
    pub(super) async fn of(wanted: &[Registered]) -> Result<Self> {
        let needs_core_log = wanted.iter().any(|one| one.log == Log::Core && one.database != Log::Core);
        let mut reach =
            Self { databases: BTreeMap::new(), core_route: if needs_core_log { core_route()? } else { None } };
        if let Some(route) = &reach.core_route {
            route.page(0, 1).await.context("the log routes of CORE_LOG_URLS")?;
        }
        for one in wanted {
            reach.connect(one.database).await?;
            if one.log != one.database && reach.core_route.is_none() {
                reach.connect(one.log).await?;
            }
        }
        Ok(reach)
    }

    async fn connect(&mut self, log: Log) -> Result<()> {
        if let Entry::Vacant(missing) = self.databases.entry(log) {
            let database = match log {
                Log::Auth => Database::Auth,
                Log::Core => Database::Core,
            };
            missing.insert(connect(log, None, database.url_variable(), "kisum-projections").await?);
        }
        Ok(())
    }

    /// The database that holds a projection's tables.
    pub(super) fn database(&self, one: &Registered) -> Result<&PgPool> {
        self.databases.get(&one.database).with_context(|| format!("the {} database is not connected", one.database))
    }

    /// The pages of the log that a projection folds.
    pub(super) fn log(&self, one: &Registered) -> Result<Pages> {
        match self.route(one) {
            Some(route) => Ok(route.clone().into()),
            None => Ok(self.log_database(one)?.clone().into()),
        }
    }

    /// The next event behind a place of the log that a projection folds, and where that log ends.
    pub(super) async fn page(&self, one: &Registered, after: u64) -> Result<LogPage> {
        if let Some(route) = self.route(one) {
            return Ok(route.page(after, 1).await?);
        }
        let page = async {
            let mut conn = self.log_database(one)?.acquire().await?;
            let head = read_head(&mut conn).await?;
            let events = read(&mut conn, one.log, after, 1, None).await?;
            Ok::<_, anyhow::Error>(LogPage { epoch: head.epoch, position: Some(head.position), events })
        };
        page.await.with_context(|| format!("the {} log", one.log))
    }

    /// The owners' route, for a projection that does not live beside its log.
    fn route(&self, one: &Registered) -> Option<&LogSource> {
        self.core_route.as_ref().filter(|_| one.log != one.database)
    }

    fn log_database(&self, one: &Registered) -> Result<&PgPool> {
        self.databases.get(&one.log).with_context(|| format!("the {} log's database is not connected", one.log))
    }
}

#[derive(Deserialize)]
struct Success {
    data: LogPage,
}

/// The route, where its addresses and a key to sign with are set. Auth's own environment has both.
fn core_route() -> Result<Option<LogSource>> {
    let Some(urls) = ambient::variable(CORE_LOG_URLS) else { return Ok(None) };
    let urls: Vec<String> = urls.split(',').map(|url| url.trim().trim_end_matches('/').to_owned()).collect();
    let Some(signer) = signer()? else { return Ok(None) };
    let http = reqwest::Client::builder()
        .timeout(PAGE_PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()?;
    Ok(Some(LogSource::new(urls, move |base, after, limit| {
        let token = signer.token("relay-core", "GET", "/internal/v1/log", ambient::now());
        let request = http.get(format!("{base}/internal/v1/log")).bearer_auth(token);
        let request = request.query(&[("after", after.to_string()), ("limit", limit.to_string())]);
        async move {
            let unavailable = |error: reqwest::Error| SourceError::Unavailable(error.to_string());
            let answer = request.send().await.and_then(reqwest::Response::error_for_status).map_err(unavailable)?;
            let body = answer.bytes().await.map_err(unavailable)?;
            let page: Result<Success, _> = serde_json::from_slice(&body);
            page.map(|page| page.data).map_err(|error| SourceError::Malformed(error.to_string()))
        }
    })))
}

/// Signs as the service whose environment this is, or as `admin`; both may read the core log.
fn signer() -> Result<Option<ServiceSigner>> {
    let environment = ambient::variable("ENVIRONMENT").unwrap_or_else(|| "local".to_owned());
    let service = ambient::variable("SERVICE_NAME").zip(ambient::variable("SERVICE_PRIVATE_KEY"));
    let admin = || ambient::variable("ADMIN_PRIVATE_KEY").map(|key| ("admin".to_owned(), key));
    let Some((name, key)) = service.or_else(admin) else { return Ok(None) };
    let key = match key.strip_prefix("file:") {
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?,
        None => key,
    };
    let signer = ServiceSigner::new(&environment, &name, key.trim());
    let signer = signer.map_err(|error| Usage::new(format!("the private key of {name} cannot be used: {error}")))?;
    Ok(Some(signer))
}
