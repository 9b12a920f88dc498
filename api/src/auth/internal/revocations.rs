//! `GET /internal/v1/revocations`: the sessions that ended while tokens of theirs may be alive, for a guard that
//! starts cold.

use crate::{
    auth::Auth,
    shared::{
        extract::ApiQuery,
        problem::{self, Problem},
        respond::{Success, SuccessBody},
    },
};
use axum::extract::State;
use kisum_guard::Revocations;
use serde::Deserialize;
use utoipa::IntoParams;

/// Which ends.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RevocationsQuery {
    /// Ends behind this position.
    #[serde(default)]
    after: u64,
}

/// Lists ended sessions whose tokens may be alive.
#[utoipa::path(get, path = "/internal/v1/revocations", tag = "guards", params(RevocationsQuery),
    responses((status = 200, description = "Sessions, complete up to `position`.",
        body = SuccessBody<serde_json::Value>)))]
pub(super) async fn revocations(
    State(auth): State<Auth>,
    ApiQuery(query): ApiQuery<RevocationsQuery>,
) -> Result<Success<Revocations>, Problem> {
    auth.logs.revocations(query.after).await.map(Success).map_err(problem::of_load)
}
