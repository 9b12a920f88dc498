//! `GET /internal/v1/heads`: where both logs end, for guards that cannot ask over the bus.

use crate::{
    auth::Auth,
    shared::{
        extract::ApiQuery,
        problem::Problem,
        respond::{Success, SuccessBody},
    },
};
use axum::extract::State;
use kisum_events::Heads;
use serde::Deserialize;
use utoipa::IntoParams;

/// How fresh the heads have to be.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HeadsQuery {
    /// Read after this request arrived, for routes that bear no staleness.
    #[serde(default)]
    fresh: bool,
}

/// Says where both logs end, and how old that knowledge is.
#[utoipa::path(get, path = "/internal/v1/heads", tag = "guards", params(HeadsQuery),
    responses((status = 200, description = "Each log's head; null where nobody who knows it answered.",
        body = SuccessBody<serde_json::Value>)))]
pub(super) async fn heads(
    State(auth): State<Auth>,
    ApiQuery(query): ApiQuery<HeadsQuery>,
) -> Result<Success<Heads>, Problem> {
    let heads = auth.logs.heads(query.fresh).await;
    if heads.auth.is_none() && heads.core.is_none() {
        return Err(Problem::unavailable("No log's head can be read."));
    }
    Ok(Success(heads))
}
