//! `POST /auth/logout`: ending the session that the request belongs to.
//!
//! The session is named by the refresh token, in cookie or body, or else by the access token. Signing out twice is
//! signing out once, so a token that is good for nothing any more is answered like one that was.

use super::{
    Auth, cookie, person,
    refresh::RefreshBody,
    sessions::{End, end_session},
    tokens::RefreshToken,
};
use crate::shared::{
    idempotency::ApiCommand,
    observe,
    problem::{self, Problem},
    request_label::RequestLabel,
    respond::NoContent,
};
use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, StatusCode, header};
use kisum_domains::session::Session;
use kisum_events::{Actor, SessionEndCause, SessionId, StreamName, UserId};

/// Ends the session of the refresh token or, without one, of the access token.
#[utoipa::path(post, path = "/auth/logout", tag = "sign-in", request_body = RefreshBody,
    responses((status = 204, description = "The session has ended; a cookie is taken away.")))]
pub(super) async fn logout(
    State(auth): State<Auth>,
    label: RequestLabel,
    headers: HeaderMap,
    command: ApiCommand<RefreshBody>,
) -> Result<Response, Problem> {
    let named = match cookie::presented(&headers, command.body.into_token(), &auth.origins) {
        Ok(Some(presented)) => of_refresh_token(&auth, &presented.token).await?,
        Ok(None) => {
            let person = person::of_headers(&auth, &headers).await?;
            Some((person.session, person.user))
        }
        // What is no refresh token names no session; a browser should lose it all the same.
        Err(problem) if problem.status == StatusCode::UNAUTHORIZED => None,
        Err(problem) => return Err(problem),
    };
    let mut response = match named {
        None => NoContent.into_response(),
        Some((session, user)) => end(&auth, session, user, &label).await?,
    };
    if cookie::is_sent(&headers)
        && let Some(cookie) = cookie::clear()
    {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The session that a refresh token belongs to: the token has to be its current one or the successor has to be, since
/// whoever knows only a session's id must not be able to end it.
async fn of_refresh_token(auth: &Auth, token: &RefreshToken) -> Result<Option<(SessionId, UserId)>, Problem> {
    let stream = StreamName::session(token.session);
    let session = auth.log.load::<Session>(&stream).await.map_err(problem::of_load)?.state;
    let successor = auth.refresh_key.successor(token);
    let current = session.token_hash.get();
    let belongs =
        current == Some(&token.hash()) || (current.is_some() && current == successor.map(|it| it.hash()).as_ref());
    Ok(session.user_id.filter(|_| belongs).map(|user| (token.session, user)))
}

async fn end(auth: &Auth, session: SessionId, user: UserId, label: &RequestLabel) -> Result<Response, Problem> {
    let end = End { id: session, whose: Some(user), cause: SessionEndCause::Logout };
    match end_session(auth, &end, Actor::User(user), label).await {
        Ok(response) => {
            observe::note_person(user, session, None);
            tracing::info!(event = "logout", user_id = %user, session_id = %session, "signed out");
            Ok(response)
        }
        Err(problem) if problem.status == StatusCode::NOT_FOUND => Ok(NoContent.into_response()),
        Err(problem) => Err(problem),
    }
}
