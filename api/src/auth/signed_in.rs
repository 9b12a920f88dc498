//! What login and refresh answer: a new access token, and the refresh token the way the client wants it.

use super::{
    Auth, cookie,
    lookup::Email,
    tokens::{IssueError, RefreshToken},
};
use crate::shared::{
    problem::{self, Problem},
    respond::Success,
};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use kisum_domains::{Session, User};
use kisum_events::{SessionId, Timestamp, UserId};
use kisum_log::Loaded;
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// The tokens of a client that has signed in or refreshed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SignedIn {
    /// A signed JWT (RFC 9068), for `Authorization: Bearer`.
    access_token: String,
    /// Seconds until it expires.
    expires_in: u64,
    /// Always `Bearer`.
    token_type: &'static str,
    /// The next refresh token; absent where it went into the cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// Who signed in.
    user: UserView,
}

/// What the limits know a person's account by: their address as it is looked up, so that whoever names it at sign-in and
/// whoever is signed in are counted together.
pub(super) fn account(auth: &Auth, id: UserId, user: &User) -> String {
    let email = user.email.get().and_then(|text| Email::parse(text));
    email.map_or_else(|| id.to_string(), |email| auth.lookup.email(&email))
}

/// A person as they see themselves.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserView {
    /// Their id.
    id: uuid::Uuid,
    /// Their address.
    email: String,
    /// Their display name.
    name: String,
    /// Whether the address was shown to be theirs.
    email_verified: bool,
}

impl UserView {
    /// A person by id and state. Erased parts are empty.
    pub(super) fn new(id: UserId, state: &User) -> Self {
        Self {
            id: id.uuid(),
            email: state.email.get().cloned().unwrap_or_default(),
            name: state.name.get().cloned().unwrap_or_default(),
            email_verified: state.email_verified,
        }
    }
}

/// How the refresh token goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// In the cookie that scripts cannot read.
    Cookie,
    /// In the body.
    Body,
}

/// Makes the answer.
///
/// # Errors
/// 500 when a token cannot be made.
pub(super) fn respond(
    auth: &Auth,
    user: (UserId, &User),
    session: (SessionId, &Session),
    token: &RefreshToken,
    way: Way,
) -> Result<Response, Problem> {
    let now = auth.clock.now();
    let ends_at = session.1.ends_at().unwrap_or(now);
    let (access_token, lives) = issue(auth, user.0, session)?;
    let body = SignedIn {
        access_token,
        expires_in: lives.as_secs(),
        token_type: "Bearer",
        refresh_token: (way == Way::Body).then(|| token.reveal()),
        user: UserView::new(user.0, user.1),
    };
    let mut response = Success(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if way == Way::Cookie
        && let Some(cookie) = cookie::give(token, ends_at.since(now))
    {
        headers.insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Issues an access token of a session, and says how long it lives.
///
/// # Errors
/// 503 while there is no key to sign with, 500 when it cannot be made.
pub(super) fn issue(auth: &Auth, user: UserId, session: (SessionId, &Session)) -> Result<(String, Duration), Problem> {
    let now = auth.clock.now();
    let ends_at = session.1.ends_at().unwrap_or(now);
    let assurance = session.1.assurance(started_at(session.0));
    let issued = auth.access_tokens.issue(user, session.0, (assurance, ends_at), now);
    issued.map_err(IssueError::into_problem)
}

/// When a session started, which is when its person proved who they are: its id is a UUIDv7 drawn at that moment. An id
/// of another kind says nothing, and "long ago" is the answer that gives nothing away.
pub(super) fn started_at(session: SessionId) -> Timestamp {
    let (seconds, nanos) = session.uuid().get_timestamp().map_or((0, 0), |at| at.to_unix());
    let micros = seconds.saturating_mul(1_000_000).saturating_add(u64::from(nanos) / 1000);
    Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

/// Loads a person.
///
/// # Errors
/// 503 when the log cannot be read.
pub(super) async fn load_user(auth: &Auth, user: UserId) -> Result<Loaded<User>, Problem> {
    auth.log.load(&kisum_events::StreamName::user(user)).await.map_err(problem::of_load)
}

/// A new access token of a session that goes on.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FreshToken {
    /// A signed JWT (RFC 9068), for `Authorization: Bearer`.
    access_token: String,
    /// Seconds until it expires.
    expires_in: u64,
    /// Always `Bearer`.
    token_type: &'static str,
}

/// Makes the answer of a command after which the session goes on with a new access token.
///
/// # Errors
/// 500 when a token cannot be made.
pub(super) fn fresh_token(auth: &Auth, user: UserId, session: (SessionId, &Session)) -> Result<Response, Problem> {
    let (access_token, lives) = issue(auth, user, session)?;
    let body = FreshToken { access_token, expires_in: lives.as_secs(), token_type: "Bearer" };
    let mut response = Success(body).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
