//! Invitations that nobody accepted in time: each is ended, so that its address is forgotten.
//!
//! It owns finding and ending them. Where to look is a fold (`invitation_list_v1`), so nothing is missed and two processes
//! that end the same one end it once. Nothing waits for it: whether an invitation is good is asked with an instant.

use super::{end::write_end, forget_key};
use crate::{
    auth::{
        Auth,
        race::{self, Outcome},
    },
    shared::{
        ambient,
        problem::{self, Problem},
    },
};
use kisum_domains::{Invitation, invitation};
use kisum_events::{Actor, InvitationId, Meta, StreamName};
use kisum_log::{Append, Loaded};
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;

/// How often it is looked for them.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Invitations that are read at once; while there are more, the next follow.
const AT_ONCE: i64 = 32;

/// Ends them until shutdown.
pub(in crate::auth) async fn expire_invitations(auth: Auth, shutdown: watch::Receiver<bool>) {
    let look = || async {
        if let Err(problem) = end_due(&auth).await {
            tracing::warn!(event = "invitation.waiting", code = problem.code, "invitations expire later");
        }
    };
    ambient::every(LOOK_EVERY, shutdown, look).await;
}

async fn end_due(auth: &Auth) -> Result<(), Problem> {
    let now = auth.clock.now().micros();
    // Behind the last one that was looked at: one that cannot be ended keeps none of the others.
    let mut last = (i64::MIN, Uuid::nil());
    loop {
        let due = sqlx::query!(
            "select invitation_id, expires_at from invitation_list_v1
             where status = 'pending' and expires_at <= $1 and (expires_at, invitation_id) > ($2, $3)
             order by expires_at, invitation_id limit $4",
            now,
            last.0,
            last.1,
            AT_ONCE
        )
        .fetch_all(auth.log.pool())
        .await
        .map_err(problem::of_query)?;
        let Some(end) = due.last() else { return Ok(()) };
        last = (end.expires_at, end.invitation_id);
        for id in due.into_iter().map(|row| InvitationId::new(row.invitation_id)) {
            if let Err(problem) = end_one(auth, id).await {
                tracing::warn!(event = "invitation.waiting", code = problem.code, invitation_id = %id, "expires later");
            }
        }
    }
}

async fn end_one(auth: &Auth, id: InvitationId) -> Result<(), Problem> {
    let loaded = auth.log.load::<Invitation>(&StreamName::invitation(id)).await.map_err(problem::of_load)?;
    end_if_due(auth, &loaded).await.map(drop)
}

/// Ends an invitation whose time is over; answers whether it was, or somebody else has changed it meanwhile.
///
/// # Errors
/// 503 when that cannot be written.
pub(super) async fn end_if_due(auth: &Auth, loaded: &Loaded<Invitation>) -> Result<bool, Problem> {
    let events = invitation::expire(&loaded.state, auth.clock.now());
    if events.is_empty() {
        return Ok(false);
    }
    let request = ambient::new_request_id();
    let mut append = Append::new(request, Meta::new(Actor::System, request));
    write_end(auth, &mut append, loaded, events)?;
    if let Outcome::Done(_) = race::settle(auth.append(append).await)? {
        forget_key(auth, &loaded.stream);
        tracing::info!(event = "invitation.expired", invitation_id = loaded.stream.id(), "nobody accepted it in time");
    }
    Ok(true)
}
