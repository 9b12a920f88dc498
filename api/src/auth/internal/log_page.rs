//! `GET /internal/v1/log/{auth|core}`: pages of a log, for who missed events on the bus.
//!
//! Pages of the auth log are read here; those of the core log are asked of its relays and passed on.

use crate::{
    auth::Auth,
    shared::{
        caller::Caller,
        extract::{ApiPath, ApiQuery},
        log_page::{LogPage, LogQuery},
        problem::{Chain, Problem},
        respond::{Success, SuccessBody},
    },
};
use axum::extract::State;
use kisum_events::{Class, Log};
use std::time::Duration;

/// Longest wait for one relay of the core log.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who reads events of every class; all others get over HTTP what NATS gives them, and no more.
const READS_EVERYTHING: [&str; 2] = ["core", "admin"];

/// Reads a page of a log.
#[utoipa::path(get, path = "/internal/v1/log/{log}", tag = "guards",
    params(("log" = String, Path, description = "`auth` or `core`."), LogQuery),
    responses((status = 200, description = "Epoch and events.", body = SuccessBody<LogPage>)))]
pub(super) async fn page(
    State(auth): State<Auth>,
    caller: Caller,
    ApiPath(log): ApiPath<Log>,
    ApiQuery(query): ApiQuery<LogQuery>,
) -> Result<Success<LogPage>, Problem> {
    if !query.is_of(Class::Access) && !READS_EVERYTHING.contains(&caller.service.as_str()) {
        return Err(Problem::forbidden(None, "This service reads events of the class access alone."));
    }
    match log {
        Log::Auth => LogPage::read(auth.log.pool(), log, query).await.map(Success),
        Log::Core => relayed(&auth, query).await.map(Success),
    }
}

async fn relayed(auth: &Auth, query: LogQuery) -> Result<LogPage, Problem> {
    let answer = auth.core_relay.get::<LogPage>("/internal/v1/log", &query.parameters()?, PATIENCE).await;
    answer.map(|answer| answer.data).map_err(|error| {
        tracing::warn!(error = %Chain(&error), "the core log cannot be read");
        Problem::unavailable("The core log cannot be read at the moment.")
    })
}
