//! Sessions that began before all of their person's were ended, and that the append which ended them did not know of:
//! each is ended here, so that guards that hold another session's context hear of it too.
//!
//! It owns finding and ending them. Which they are is a fold (`session_list_v1`), so it needs no checkpoint of its own:
//! what is found is what is left, whichever process died in between, and two processes that end the same one write it
//! once. Nothing waits for it: whoever asks Auth is told by the person's state (`session::is_superseded`).

use super::{
    Auth,
    race::{self, Outcome},
    sessions,
};
use crate::shared::{
    ambient,
    problem::{self, Problem},
};
use kisum_events::{Actor, Meta, SessionEndCause, SessionId};
use kisum_log::Append;
use std::time::Duration;
use tokio::sync::watch;

/// How often it is looked for them: far below the 5 s within which every guard must know (`consistency.md`), far above
/// what the look costs.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Sessions that one append ends; while there are more, the next follows at once.
const AT_ONCE: i64 = 100;

/// Ends them until shutdown.
pub(super) async fn end_stragglers(auth: Auth, mut shutdown: watch::Receiver<bool>) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = shutdown.wait_for(|over| *over) => return,
            _ = look.tick() => {}
        }
        if let Err(problem) = end_found(&auth).await {
            tracing::warn!(event = "stragglers.waiting", code = problem.code, "sessions that are over are ended later");
        }
    }
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
    let found = found.into_iter().map(SessionId::new).collect();
    let ended = sessions::end_these(auth, found, SessionEndCause::Revoked, &mut append).await?;
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
