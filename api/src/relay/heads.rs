//! `GET /internal/v1/heads`: the head of this relay's log, proven by a commit on the primary.

use super::RelayState;
use crate::shared::{
    extract::ApiQuery,
    problem::{Chain, Problem},
    respond::{Success, SuccessBody},
};
use axum::extract::State;
use kisum_events::{Head, Heads, Log};
use serde::Deserialize;
use utoipa::IntoParams;

/// How fresh the answer must be.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HeadQuery {
    /// Whether the head must be read after this request arrived.
    fresh: bool,
}

/// The head of this relay's log; the other log is null.
#[utoipa::path(get, path = "/internal/v1/heads", tag = "log", params(HeadQuery),
    responses((status = 200, description = "The head, and its age in ms.", body = SuccessBody<serde_json::Value>)))]
pub(super) async fn head(
    State(relay): State<RelayState>,
    ApiQuery(query): ApiQuery<HeadQuery>,
) -> Result<Success<Heads>, Problem> {
    let head = relay.heads.head(query.fresh).await.map_err(|error| {
        tracing::warn!(error = %Chain(&error), "the head cannot be proven");
        Problem::unavailable("The head of the log cannot be proven.")
    })?;
    Ok(Success(heads(relay.log, head)))
}

fn heads(log: Log, head: Head) -> Heads {
    match log {
        Log::Auth => Heads { auth: Some(head), core: None },
        Log::Core => Heads { auth: None, core: Some(head) },
    }
}
