//! `DELETE /auth/sessions/{id}`: ending one's own session, and what every end of a session has in common; also which
//! ones give way to a new one, and the end of all that a person has.

use super::{
    Auth,
    login::append_for,
    person::Person,
    race::{self, Outcome},
};
use crate::shared::{
    extract::ApiPath,
    problem::{self, Problem},
    request_label::RequestLabel,
    respond::{NoContent, Receipted},
};
use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use kisum_domains::{
    User,
    session::{self, EndSessionError, Session, SessionStatus},
};
use kisum_events::{Actor, Cursor, SessionEndCause, SessionId, StreamName, UserId};
use kisum_log::{Append, AppendError, Loaded};
use std::time::Duration;
use uuid::Uuid;

/// Live sessions that a person may have (contract, *Auth*).
const SESSIONS_MAX: i64 = 100;
/// Sessions that give way to one sign-in at most; what is still too many gives way to the next.
const GIVING_WAY_MAX: i64 = 16;
/// Sessions that end by one append at most, which has room for 256 events; `stragglers` ends what is left.
const ENDING_MAX: i64 = 128;
/// How long the end of all sessions waits for their list.
const LIST_WAIT: Duration = Duration::from_secs(1);

/// Ends one of the person's own sessions, at once and everywhere.
#[utoipa::path(delete, path = "/auth/sessions/{id}", tag = "sessions", params(("id" = Uuid, Path, description = "The session.")),
    security(("bearer" = [])), responses((status = 204, description = "It has ended.")))]
pub(super) async fn end_own(
    State(auth): State<Auth>,
    person: Person,
    label: RequestLabel,
    ApiPath(id): ApiPath<Uuid>,
) -> Result<Response, Problem> {
    let end = End { id: SessionId::new(id), whose: Some(person.user), cause: SessionEndCause::Revoked };
    end_session(&auth, &end, person.actor(), &label).await
}

/// Which session to end, and why.
pub(super) struct End {
    /// Which.
    pub(super) id: SessionId,
    /// Whose it has to be; somebody else's does not exist for them.
    pub(super) whose: Option<UserId>,
    /// Why.
    pub(super) cause: SessionEndCause,
}

/// Ends a session; one that has ended stays ended. Answers 204, with the position of the end where there was one to
/// write.
///
/// # Errors
/// 404 when there is no such session, or it is not the person's.
pub(super) async fn end_session(
    auth: &Auth,
    end: &End,
    actor: Actor,
    label: &RequestLabel,
) -> Result<Response, Problem> {
    let missing = || Problem::not_found("There is no such session.");
    for _ in 0..race::ATTEMPTS_MAX {
        let loaded: Loaded<Session> = auth.log.load(&StreamName::session(end.id)).await.map_err(problem::of_load)?;
        if end.whose.is_some() && loaded.state.user_id != end.whose {
            return Err(missing());
        }
        let events = session::end(&loaded.state, end.cause, auth.lifetimes.access, auth.clock.now())
            .map_err(|EndSessionError::Unknown| missing())?;
        if events.is_empty() {
            return Ok(NoContent.into_response());
        }
        let mut append = append_for(actor.clone(), label);
        let state = append.write(&loaded, events).map_err(problem::of_append)?;
        if let Outcome::Done(receipt) = race::settle(auth.append(append).await)? {
            note_end(auth, end, &state);
            return Ok(Receipted::new(NoContent, &receipt).into_response());
        }
    }
    Err(race::lost())
}

fn note_end(auth: &Auth, end: &End, state: &Session) {
    let cause = name(end.cause);
    let user_id = state.user_id.map(tracing::field::display);
    tracing::info!(event = "session.revoked", cause, session_id = %end.id, user_id, "a session has ended");
    mark_revoked(auth, end.id, state);
}

const fn name(cause: SessionEndCause) -> &'static str {
    match cause {
        SessionEndCause::Logout => "logout",
        SessionEndCause::Revoked => "revoked",
        SessionEndCause::ReuseDetected => "reuse_detected",
        SessionEndCause::LogoutAll => "logout_all",
        SessionEndCause::UserSuspended => "user_suspended",
        SessionEndCause::PasswordSet => "password_set",
        SessionEndCause::FactorsChanged => "factors_changed",
        SessionEndCause::UserErased => "user_erased",
    }
}

/// Sessions that end by an append which is about something else.
#[must_use = "their end is noted once it is committed"]
pub(super) struct EndedAlong {
    cause: &'static str,
    sessions: Vec<(SessionId, Session)>,
}

impl EndedAlong {
    /// Notes their end, once it is committed.
    pub(super) fn note(&self, auth: &Auth) {
        let cause = self.cause;
        for (id, state) in &self.sessions {
            let user_id = state.user_id.map(tracing::field::display);
            tracing::info!(event = "session.revoked", cause, session_id = %id, user_id, "a session has ended");
            mark_revoked(auth, *id, state);
        }
    }
}

/// Ends the person's oldest sessions where one more would be too many, in the append that starts it. How many there
/// are is what the list of sessions shows: sign-ins at the same moment may exceed the limit together, and the next one
/// makes up for it. A list that lags or stands still keeps nobody from signing in.
///
/// # Errors
/// 503 when the database cannot be read.
pub(super) async fn make_room(auth: &Auth, user: UserId, append: &mut Append) -> Result<EndedAlong, Problem> {
    let surplus = listed(auth, user, SESSIONS_MAX - 1, GIVING_WAY_MAX).await?;
    let ended = end_these(auth, surplus, SessionEndCause::Revoked, append).await?;
    Ok(EndedAlong { cause: "too_many", ..ended })
}

/// Ends every session of a person but `kept`, in an append that is about more, and which says so in the person's stream.
///
/// Which sessions there are is what their list shows once it has reached the log's head. One that begins at this very
/// moment may be missing, and so may all while the list stands still: the person's state says which version ended all
/// sessions, every check compares that with the session's own ([`session::is_superseded`]), and `stragglers` ends what
/// is left, so that guards hear of it.
///
/// Somebody who refreshes all the time could keep this append from ever being made: a command that has lost half of
/// its attempts leaves the sessions to `stragglers` ([`may_end_along`]).
///
/// # Errors
/// 503 when the database cannot be read.
pub(super) async fn end_all(
    auth: &Auth,
    user: UserId,
    kept: Option<SessionId>,
    cause: SessionEndCause,
    append: &mut Append,
) -> Result<EndedAlong, Problem> {
    let head = auth.log.head().await.map_err(problem::of_load)?;
    let head = Cursor { epoch: head.epoch, position: head.position };
    if !matches!(tokio::time::timeout(LIST_WAIT, auth.session_list.reached(head)).await, Ok(Ok(_))) {
        tracing::warn!(user_id = %user, "the list of sessions lags; those that it lacks are ended later");
    }
    let mut ending = listed(auth, user, 0, ENDING_MAX).await?;
    ending.retain(|id| Some(*id) != kept);
    end_these(auth, ending, cause, append).await
}

/// Lets the session that asks outlive what the append says in the person's stream, which has to be written before (kept
/// too early, it ends like the others). Both are the states that the append is decided on: of two commands that each
/// keep their own session and end the other, one is decided anew.
///
/// # Errors
/// [`AppendError::Refused`] when the session is written twice.
pub(super) fn keep(append: &mut Append, session: &Loaded<Session>, before: &Loaded<User>) -> Result<(), AppendError> {
    let version = append.version_after(&before.stream).unwrap_or(before.version);
    append.write(session, session::keep(&session.state, &before.state, version)).map(drop)
}

/// Whether the attempt of a command, from 0, should end sessions in its own append.
pub(super) const fn may_end_along(attempt: u32) -> bool {
    attempt < race::ATTEMPTS_MAX / 2
}

/// The person's sessions whose time has not run out and that nobody ended, the newest first.
async fn listed(auth: &Auth, user: UserId, offset: i64, limit: i64) -> Result<Vec<SessionId>, Problem> {
    let ids = sqlx::query_scalar!(
        "select session_id from session_list_v1
         where user_id = $1 and ended_at is null and least(idle_until, absolute_until) > $2
         order by started_at desc, session_id desc offset $3 limit $4",
        user.uuid(),
        auth.clock.now().micros(),
        offset,
        limit
    )
    .fetch_all(auth.log.pool())
    .await
    .map_err(problem::of_query)?;
    Ok(ids.into_iter().map(SessionId::new).collect())
}

/// Adds the ends of those of these sessions that have not ended.
///
/// # Errors
/// 503 when the log cannot be read.
async fn end_these(
    auth: &Auth,
    ending: Vec<SessionId>,
    cause: SessionEndCause,
    append: &mut Append,
) -> Result<EndedAlong, Problem> {
    let ending = auth.log.load_all(ending.into_iter().map(StreamName::session)).await.map_err(problem::of_load)?;
    end_loaded(auth, ending, cause, append)
}

/// Adds the ends of those of these sessions that have not ended, decided on these states.
///
/// # Errors
/// [`Problem`] when one is written already.
pub(super) fn end_loaded(
    auth: &Auth,
    ending: Vec<Loaded<Session>>,
    cause: SessionEndCause,
    append: &mut Append,
) -> Result<EndedAlong, Problem> {
    let now = auth.clock.now();
    let mut sessions = Vec::new();
    for old in ending {
        // Only a session that is unknown cannot be ended.
        let end = session::end(&old.state, cause, auth.lifetimes.access, now);
        let (Ok(id), Ok(events)) = (old.stream.id().parse(), end) else { continue };
        if !events.is_empty() {
            sessions.push((id, append.write(&old, events).map_err(problem::of_append)?));
        }
    }
    Ok(EndedAlong { cause: name(cause), sessions })
}

/// Notes an ended session in Redis until its last access token has expired (contract, *Redis*). Nothing waits for it
/// and nothing is decided by it: guards follow the log.
pub(super) fn mark_revoked(auth: &Auth, id: SessionId, state: &Session) {
    let SessionStatus::Ended { tokens_until, cause: _ } = state.status else { return };
    let left = tokens_until.since(auth.clock.now()).as_secs();
    if left == 0 {
        return;
    }
    let key = format!("revoked:session:{id}");
    let value = auth.seal.close(key.as_bytes());
    let mut commands = redis::pipe();
    commands.cmd("SET").arg(key).arg(value).arg("EX").arg(left).ignore();
    let redis = auth.redis.clone();
    tokio::spawn(async move {
        let _unavailable: Option<()> = redis.ask(&commands).await;
    });
}
