//! `GET /internal/v1/log/{auth|core}`: pages of a log, for who missed events on the bus.
//!
//! Pages of the core log are asked of its relays and passed on.

use crate::{
    auth::Auth,
    shared::{
        caller::Caller,
        extract::{ApiPath, ApiQuery},
        log_page::{LogPage, LogQuery},
        problem::Problem,
        respond::{Success, SuccessBody},
    },
};
use axum::extract::State;
use kisum_events::{Class, Log};

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
    auth.logs.page(log, query).await.map(Success)
}
