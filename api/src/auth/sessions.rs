//! `DELETE /auth/sessions/{id}`: ending one's own session, and what every end of a session has in common; also which
//! ones give way to a new one.

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
use kisum_domains::session::{self, EndSessionError, Session, SessionStatus};
use kisum_events::{Actor, SessionEndCause, SessionId, StreamName, UserId};
use kisum_log::{Append, Loaded};
use uuid::Uuid;

/// Live sessions that a person may have (contract, *Auth*).
const SESSIONS_MAX: i64 = 100;
/// Sessions that give way to one sign-in at most; what is still too many gives way to the next.
const GIVING_WAY_MAX: i64 = 16;

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
    let cause = match end.cause {
        SessionEndCause::Logout => "logout",
        SessionEndCause::Revoked => "revoked",
        SessionEndCause::ReuseDetected => "reuse_detected",
    };
    let user_id = state.user_id.map(tracing::field::display);
    tracing::info!(event = "session.revoked", cause, session_id = %end.id, user_id, "a session has ended");
    mark_revoked(auth, end.id, state);
}

/// Sessions that end by the append that starts another.
pub(super) struct GivenWay(Vec<(SessionId, Session)>);

impl GivenWay {
    /// Notes their end, once it is committed.
    pub(super) fn note(&self, auth: &Auth) {
        for (id, state) in &self.0 {
            let user_id = state.user_id.map(tracing::field::display);
            tracing::info!(event = "session.revoked", cause = "too_many", session_id = %id, user_id, "a session has given way");
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
pub(super) async fn make_room(auth: &Auth, user: UserId, append: &mut Append) -> Result<GivenWay, Problem> {
    let now = auth.clock.now();
    let surplus = sqlx::query_scalar!(
        "select session_id from session_list_v1
         where user_id = $1 and ended_at is null and least(idle_until, absolute_until) > $2
         order by started_at desc, session_id desc offset $3 limit $4",
        user.uuid(),
        now.micros(),
        SESSIONS_MAX - 1,
        GIVING_WAY_MAX
    )
    .fetch_all(auth.log.pool())
    .await
    .map_err(problem::of_query)?;
    let streams = surplus.into_iter().map(|id| StreamName::session(SessionId::new(id)));
    let mut given_way = Vec::new();
    for old in auth.log.load_all::<Session>(streams).await.map_err(problem::of_load)? {
        let ended = session::end(&old.state, SessionEndCause::Revoked, auth.lifetimes.access, now);
        // Only a session that is unknown cannot be ended: it takes no room either.
        let (Ok(id), Ok(events)) = (old.stream.id().parse(), ended) else { continue };
        if !events.is_empty() {
            given_way.push((id, append.write(&old, events).map_err(problem::of_append)?));
        }
    }
    Ok(GivenWay(given_way))
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
