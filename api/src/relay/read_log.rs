//! `GET /internal/v1/log`: the public part of this relay's log, for followers that saw a hole.

use super::RelayState;
use crate::shared::{
    extract::ApiQuery,
    problem::{self, Problem},
    respond::{Success, SuccessBody},
};
use axum::extract::State;
use kisum_events::{Class, Envelope, Position};
use kisum_log::{read, read_head};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

/// Events in one answer when nobody says, and at most.
const LIMIT: (i64, i64) = (500, 2000);

/// What to read.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct LogQuery {
    /// Events behind this position.
    #[serde(default)]
    after: Position,
    /// At most this many, 1 to 2000; 500 when absent.
    limit: Option<i64>,
    /// `access` or `info` alone; both when absent.
    #[param(value_type = Option<String>)]
    class: Option<Class>,
}

/// A piece of the log.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogPage {
    /// The log's current epoch.
    epoch: u32,
    /// Where the log ended when this was read: nothing up to here is missing but what `limit` cut off.
    position: Position,
    /// The events in order.
    events: Vec<Envelope>,
}

/// The public part of this relay's log, in order.
#[utoipa::path(get, path = "/internal/v1/log", tag = "log", params(LogQuery),
    responses((status = 200, description = "Events behind `after`, in order.", body = SuccessBody<Object>)))]
pub(super) async fn read_log(
    State(relay): State<RelayState>,
    ApiQuery(query): ApiQuery<LogQuery>,
) -> Result<Success<LogPage>, Problem> {
    let limit = query.limit.unwrap_or(LIMIT.0);
    if !(1..=LIMIT.1).contains(&limit) {
        return Err(Problem::validation("limit must be 1 to 2000"));
    }
    let mut conn = relay.pool.acquire().await.map_err(problem::of_query)?;
    // The head first: what is read afterwards reaches at least as far.
    let head = read_head(&mut conn).await.map_err(problem::of_load)?;
    let events = read(&mut conn, relay.log, query.after, limit, query.class).await.map_err(problem::of_load)?;
    Ok(Success(LogPage { epoch: head.epoch, position: head.position, events }))
}
