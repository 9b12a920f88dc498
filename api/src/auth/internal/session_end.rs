//! `DELETE /internal/v1/sessions/{id}`: ending anybody's session from outside.

use crate::{
    auth::{
        Auth,
        sessions::{End, end_session},
    },
    shared::{caller::Caller, extract::ApiPath, problem::Problem, request_label::RequestLabel},
};
use axum::{extract::State, response::Response};
use kisum_events::{Actor, SessionEndCause, SessionId};
use uuid::Uuid;

/// Ends a session, at once and everywhere.
#[utoipa::path(delete, path = "/internal/v1/sessions/{id}", tag = "administration",
    params(("id" = Uuid, Path, description = "The session.")),
    responses((status = 204, description = "It has ended.")))]
pub(super) async fn end(
    State(auth): State<Auth>,
    caller: Caller,
    label: RequestLabel,
    ApiPath(id): ApiPath<Uuid>,
) -> Result<Response, Problem> {
    let end = End { id: SessionId::new(id), whose: None, cause: SessionEndCause::Revoked };
    end_session(&auth, &end, Actor::Service(caller.service), &label).await
}
