//! `GET /internal/v1/log/{auth|core}`: pages of a log, for who missed events on the bus.
//!
//! Pages of the auth log are read here; those of the core log are asked of its relays and passed on. Payloads are the
//! public ones: sealed parts never leave Postgres.

use crate::{
    auth::Auth,
    shared::{
        extract::{ApiPath, ApiQuery},
        problem::{self, Chain, Problem},
        respond::{Success, SuccessBody},
    },
};
use axum::extract::State;
use kisum_events::{Class, Envelope, Log, Position};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::IntoParams;

/// Events on one page, at most and when nobody says.
const PAGE_MAX: u32 = 1000;
const PAGE_USUAL: u32 = 500;
/// Longest wait for one relay of the core log.
const PATIENCE: Duration = Duration::from_secs(1);

/// Which page.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Events behind this position.
    #[serde(default)]
    after: u64,
    /// At most this many, 1 to 1000; 500 when absent.
    limit: Option<u32>,
    /// Only events of this class, `access` or `info`.
    #[param(value_type = Option<String>)]
    class: Option<Class>,
}

/// A page of a log.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Page {
    /// The log's epoch now.
    epoch: u32,
    /// Events in order of position.
    events: Vec<Envelope>,
}

/// Reads a page of a log.
#[utoipa::path(get, path = "/internal/v1/log/{log}", tag = "guards",
    params(("log" = String, Path, description = "`auth` or `core`."), PageQuery),
    responses((status = 200, description = "Epoch and events.", body = SuccessBody<serde_json::Value>)))]
pub(super) async fn page(
    State(auth): State<Auth>,
    ApiPath(log): ApiPath<Log>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Success<Page>, Problem> {
    let limit = query.limit.unwrap_or(PAGE_USUAL);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::validation(format!("The parameter limit is not from 1 to {PAGE_MAX}.")));
    }
    match log {
        Log::Auth => own(&auth, query.after, limit, query.class).await.map(Success),
        Log::Core => relayed(&auth, query.after, limit, query.class).await.map(Success),
    }
}

async fn own(auth: &Auth, after: Position, limit: u32, class: Option<Class>) -> Result<Page, Problem> {
    let mut conn = auth.log.pool().acquire().await.map_err(problem::of_query)?;
    // The epoch is read first: events of a newer one say so themselves, and the reader starts cold.
    let head = kisum_log::read_head(&mut conn).await.map_err(problem::of_load)?;
    let read = kisum_log::read(&mut conn, Log::Auth, after, i64::from(limit), class).await;
    Ok(Page { epoch: head.epoch, events: read.map_err(problem::of_load)? })
}

async fn relayed(auth: &Auth, after: Position, limit: u32, class: Option<Class>) -> Result<Page, Problem> {
    let mut query = vec![("after", after.to_string()), ("limit", limit.to_string())];
    query.extend(class.map(|class| ("class", class.name().to_owned())));
    let answer = auth.core_relay.get::<Page>("/internal/v1/log", &query, PATIENCE).await;
    answer.map(|answer| answer.data).map_err(|error| {
        tracing::warn!(error = %Chain(&error), "the core log cannot be read");
        Problem::unavailable("The core log cannot be read at the moment.")
    })
}
