//! `GET /internal/v1/log`: the public part of this relay's log, for followers that saw a hole.

use super::RelayState;
use crate::shared::{
    extract::ApiQuery,
    log_page::{LogPage, LogQuery},
    problem::Problem,
    respond::{Success, SuccessBody},
};
use axum::extract::State;

/// Reads a page of this relay's log.
#[utoipa::path(get, path = "/internal/v1/log", tag = "log", params(LogQuery),
    responses((status = 200, description = "Events behind `after`, in order.", body = SuccessBody<LogPage>)))]
pub(super) async fn read_log(
    State(relay): State<RelayState>,
    ApiQuery(query): ApiQuery<LogQuery>,
) -> Result<Success<LogPage>, Problem> {
    LogPage::read(&relay.pool, relay.log, query).await.map(Success)
}
