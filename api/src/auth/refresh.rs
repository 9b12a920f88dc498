//! `POST /auth/refresh`: a refresh token for its successor.
//!
//! It owns the way from a presented token to an answer. The rules (which token is current, which replay is a lost
//! answer, which is a theft) are `kisum_domains::session`'s; that a lost race leads to the same successor follows from
//! deriving it.

use super::{
    Auth, cookie,
    login::append_for,
    race::{self, Outcome},
    sessions,
    signed_in::{self, SignedIn, Way},
    tokens::{IssueError, RefreshToken},
};
use crate::shared::{
    idempotency::ApiCommand,
    observe,
    problem::{self, Problem},
    request_label::RequestLabel,
    respond::SuccessBody,
};
use axum::{extract::State, response::Response};
use http::HeaderMap;
use kisum_domains::{
    User,
    session::{self, Presented, RefreshError, RefreshOutcome, Session},
};
use kisum_events::{Actor, SessionEvent, StreamName, UserId};
use kisum_log::Loaded;
use serde::Deserialize;
use utoipa::ToSchema;

/// What continues a session.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RefreshBody {
    /// The refresh token of a native client; a browser sends the cookie instead.
    refresh_token: Option<String>,
}

impl RefreshBody {
    /// The token, out of the body.
    pub(super) fn into_token(self) -> Option<String> {
        self.refresh_token
    }
}

/// Continues a session: the token is good once, and its successor is answered.
#[utoipa::path(post, path = "/auth/refresh", tag = "sign-in", request_body = RefreshBody,
    responses((status = 200, description = "A new access token, and the next refresh token.",
        body = SuccessBody<SignedIn>)))]
pub(super) async fn refresh(
    State(auth): State<Auth>,
    label: RequestLabel,
    headers: HeaderMap,
    command: ApiCommand<RefreshBody>,
) -> Result<Response, Problem> {
    let answer = answer(&auth, &label, &headers, command.body).await;
    let outcome = match &answer {
        Ok(_) => "succeeded",
        Err(problem) => problem.reason.unwrap_or(problem.code),
    };
    metrics::counter!("kisum_refresh_total", "outcome" => outcome).increment(1);
    if answer.is_err() {
        tracing::info!(event = "refresh.failed", reason = outcome, "no session was continued");
    }
    answer
}

async fn answer(
    auth: &Auth,
    label: &RequestLabel,
    headers: &HeaderMap,
    body: RefreshBody,
) -> Result<Response, Problem> {
    let presented = cookie::presented(headers, body.into_token(), &auth.origins)?
        .ok_or_else(|| Problem::unauthorized("Send the refresh token in its cookie or in the body."))?;
    let way = if presented.by_cookie { Way::Cookie } else { Way::Body };
    auth.access_tokens.can_issue(auth.clock.now()).map_err(IssueError::into_problem)?;
    let continued = rotate(auth, label, &presented.token).await?;
    tracing::info!(event = "refresh.succeeded", user_id = %continued.user.0, replayed = continued.replayed, "continued");
    let session = (presented.token.session, &continued.session);
    signed_in::respond(auth, (continued.user.0, &continued.user.1), session, &continued.successor, way)
}

/// A session that goes on.
struct Continued {
    user: (UserId, User),
    session: Session,
    successor: RefreshToken,
    replayed: bool,
}

async fn rotate(auth: &Auth, label: &RequestLabel, token: &RefreshToken) -> Result<Continued, Problem> {
    let refused = || Problem::unauthorized("The refresh token is not valid.");
    let successor = auth.refresh_key.successor(token).ok_or_else(refused)?;
    for _ in 0..race::ATTEMPTS_MAX {
        let stream = StreamName::session(token.session);
        let loaded = auth.log.load::<Session>(&stream).await.map_err(problem::of_load)?;
        let user_id = loaded.state.user_id.ok_or_else(refused)?;
        // Not proven yet; but whoever looks into a refusal wants to know whose session it was about.
        observe::note_person(user_id, token.session, None);
        let user = signed_in::load_user(auth, user_id).await?;
        if !user.state.is_active() || session::is_superseded(&loaded.state, &user.state) {
            return Err(Problem::session_revoked());
        }
        let presented = Presented { generation: token.generation, token_hash: token.hash() };
        let policy = auth.lifetimes.refresh_policy();
        let outcome = session::refresh(&loaded.state, presented, successor.hash(), policy, auth.clock.now());
        let (events, goes_on) = match outcome.map_err(of_refresh)? {
            RefreshOutcome::Replayed { generation: _ } => {
                let user = (user_id, user.state);
                return Ok(Continued { user, session: loaded.state, successor, replayed: true });
            }
            RefreshOutcome::Rotated { events, generation: _ } => {
                let limited = auth.rotations.may_rotate(token.session).await;
                limited.map_err(|limited| Problem::rate_limited(limited.retry_after_s))?;
                (events, true)
            }
            RefreshOutcome::Reuse { events } => (events, false),
        };
        let Some(state) = write(auth, label, (user_id, &user), &loaded, events).await? else { continue };
        if goes_on {
            auth.rotations.rotated(token.session);
            return Ok(Continued { user: (user_id, user.state), session: state, successor, replayed: false });
        }
        tracing::warn!(event = "session.revoked", cause = "reuse_detected", session_id = %token.session, "a refresh token that was rotated away came back");
        sessions::mark_revoked(auth, token.session, &state);
        return Err(Problem::session_revoked());
    }
    Err(race::lost())
}

/// Appends what was decided; nothing where the race was lost. The person is guarded, so that nobody who is suspended
/// at this moment slips through.
async fn write(
    auth: &Auth,
    label: &RequestLabel,
    (user_id, user): (UserId, &Loaded<User>),
    session: &Loaded<Session>,
    events: Vec<SessionEvent>,
) -> Result<Option<Session>, Problem> {
    let mut append = append_for(Actor::User(user_id), label);
    append.guard(user);
    let state = append.write(session, events).map_err(problem::of_append)?;
    Ok(match race::settle(auth.append(append).await)? {
        Outcome::Done(_) => Some(state),
        Outcome::Again | Outcome::Taken => None,
    })
}

fn of_refresh(error: RefreshError) -> Problem {
    match error {
        RefreshError::Unknown | RefreshError::WrongSecret => Problem::unauthorized("The refresh token is not valid."),
        RefreshError::Ended | RefreshError::Expired => Problem::session_revoked(),
    }
}
