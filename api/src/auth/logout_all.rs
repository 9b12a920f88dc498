//! `POST /auth/logout-all`: ending every session of the caller, the one that asks included.
//!
//! It owns the command. What ends, and what becomes of a session that begins at the same moment, is `sessions`'.

use super::{
    Auth, cookie,
    login::append_for,
    person::Person,
    race::{self, Outcome},
    sessions::{self, EndedAlong},
    signed_in,
};
use crate::shared::{
    idempotency::ApiCommand,
    problem::{self, Problem},
    request_label::RequestLabel,
    respond::{NoContent, Receipted},
};
use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, header};
use kisum_domains::user;
use kisum_events::SessionEndCause;
use kisum_log::Receipt;
use serde::Deserialize;
use utoipa::ToSchema;

/// Nothing to say: the caller is who the access token names.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
pub(super) struct LogoutAllBody {}

/// Ends every session of the caller, at once and everywhere.
#[utoipa::path(post, path = "/auth/logout-all", tag = "sessions", request_body = LogoutAllBody,
    security(("bearer" = [])),
    responses((status = 204, description = "All sessions have ended; a cookie is taken away.")))]
pub(super) async fn logout_all(
    State(auth): State<Auth>,
    person: Person,
    label: RequestLabel,
    headers: HeaderMap,
    _command: ApiCommand<LogoutAllBody>,
) -> Result<Response, Problem> {
    let (receipt, ended) = end_all(&auth, person, &label).await?;
    tracing::info!(event = "logout_all", user_id = %person.user, "signed out everywhere");
    if let Some(ended) = ended {
        ended.note(&auth);
    }
    let mut response = Receipted::new(NoContent, &receipt).into_response();
    if cookie::is_sent(&headers)
        && let Some(cookie) = cookie::clear()
    {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

async fn end_all(auth: &Auth, person: Person, label: &RequestLabel) -> Result<(Receipt, Option<EndedAlong>), Problem> {
    for attempt in 0..race::ATTEMPTS_MAX {
        let loaded = signed_in::load_user(auth, person.user).await?;
        let events = user::end_sessions(&loaded.state).map_err(|error| problem::of_defect(&error))?;
        let mut append = append_for(person.actor(), label);
        append.write(&loaded, events).map_err(problem::of_append)?;
        let mut ended = None;
        if sessions::may_end_along(attempt) {
            let cause = SessionEndCause::LogoutAll;
            ended = Some(sessions::end_all(auth, person.user, None, cause, &mut append).await?);
        }
        if let Outcome::Done(receipt) = race::settle(auth.append(append).await)? {
            return Ok((receipt, ended));
        }
    }
    Err(race::lost())
}
