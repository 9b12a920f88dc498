//! Sessions that began before all of their person's were ended, and that the append which ended them did not know of:
//! each is ended here, so that guards that hold another session's context hear of it too.
//!
//! It owns finding and ending them. Where to look is a fold (`session_list_v1`), so it needs no checkpoint of its own:
//! what is found is what is left, whichever process died in between, and two processes that end the same one write it
//! once. The fold may have halted between the end of all and the event that keeps one, so each is ended only if the
//! states say that it is over. Nothing waits for it: whoever asks Auth is told by the person's state (`session::is_superseded`).

use super::{
    Auth,
    race::{self, Outcome},
    sessions,
};
use crate::shared::{
    ambient,
    problem::{self, Problem},
};
use kisum_domains::{Session, User, session};
use kisum_events::{Actor, Meta, SessionEndCause, SessionId, StreamName};
use kisum_log::{Append, Loaded};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::sync::watch;

/// How often it is looked for them: far below the 5 s within which every guard must know (`consistency.md`), far above
/// what the look costs.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Sessions that one append ends; while there are more, the next follows at once.
const AT_ONCE: i64 = 100;

/// Ends them until shutdown.
pub(super) async fn end_stragglers(auth: Auth, shutdown: watch::Receiver<bool>) {
    let look = || async {
        if let Err(problem) = end_found(&auth).await {
            tracing::warn!(event = "stragglers.waiting", code = problem.code, "sessions that are over are ended later");
        }
    };
    ambient::every(LOOK_EVERY, shutdown, look).await;
}

async fn end_found(auth: &Auth) -> Result<(), Problem> {
    let found = sqlx::query_scalar!(
        "select session_id from session_list_v1 where is_over and ended_at is null order by session_id limit $1",
        AT_ONCE
    )
    .fetch_all(auth.log.pool())
    .await
    .map_err(problem::of_query)?;
    if found.is_empty() {
        return Ok(());
    }
    let request = ambient::new_request_id();
    let mut append = Append::new(request, Meta::new(Actor::System, request));
    let over = over(auth, found.into_iter().map(SessionId::new), &mut append).await?;
    let ended = sessions::end_loaded(auth, over, SessionEndCause::Revoked, &mut append)?;
    // Ended meanwhile: the list has not caught up.
    if append.is_empty() {
        return Ok(());
    }
    match race::settle(auth.append(append).await)? {
        Outcome::Done(_) => ended.note(auth),
        // Somebody ended one of them at the same moment: the next look finds the others.
        Outcome::Again | Outcome::Taken => {}
    }
    Ok(())
}

/// Those that are over with all of their person's; the append depends on that person.
async fn over(
    auth: &Auth,
    found: impl Iterator<Item = SessionId>,
    append: &mut Append,
) -> Result<Vec<Loaded<Session>>, Problem> {
    let sessions: Vec<Loaded<Session>> =
        auth.log.load_all(found.map(StreamName::session)).await.map_err(problem::of_load)?;
    let persons: BTreeSet<_> = sessions.iter().filter_map(|it| it.state.user_id).map(StreamName::user).collect();
    let persons: Vec<Loaded<User>> = auth.log.load_all(persons).await.map_err(problem::of_load)?;
    let persons: BTreeMap<_, _> = persons.into_iter().map(|it| (it.stream.clone(), it)).collect();
    let mut over = Vec::new();
    for found in sessions {
        let person = found.state.user_id.and_then(|id| persons.get(&StreamName::user(id)));
        let Some(person) = person else { continue };
        // Of one that does not say when it began, nothing but the list knows.
        if found.state.user_version == 0 || session::is_superseded(&found.state, &person.state) {
            append.guard(person);
            over.push(found);
        }
    }
    Ok(over)
}
