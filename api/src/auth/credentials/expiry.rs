//! Registrations that nobody verified: once their link is good no more, what is known of their person is erased.
//!
//! It owns the list of them, which is work and no fold: a row is written before the registration, so that none is missed, and
//! goes when there is nothing left to do. What expires, the rules say. Nobody can sign in as such a person, since they
//! hold no address, so nothing but their stream has to end. No ledger tells of it: a restored database has the row
//! again and erases them again.

use crate::{
    auth::{
        Auth,
        race::{self, Outcome},
        signed_in,
    },
    shared::{
        ambient,
        problem::{self, Problem},
    },
};
use kisum_domains::user;
use kisum_events::{Actor, Meta, Timestamp, UserId};
use kisum_log::Append;
use std::time::Duration;
use tokio::sync::watch;

/// How often it is looked for them.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Persons that are read at once; while there are more, the next follow.
const AT_ONCE: i64 = 32;
/// When somebody who could not be erased is tried again.
const AGAIN: Duration = Duration::from_secs(3600);

/// Notes that somebody is about to register, and until when they may verify.
///
/// # Errors
/// 503 when the database does not answer.
pub(super) async fn note(auth: &Auth, person: UserId, until: Timestamp) -> Result<(), Problem> {
    let noted = sqlx::query!(
        "insert into unverified_person (person, due_at) values ($1, $2) on conflict (person) do nothing",
        person.uuid(),
        until.micros()
    );
    noted.execute(auth.log.pool()).await.map(drop).map_err(problem::of_query)
}

/// Erases them until shutdown.
pub(in crate::auth) async fn erase_unverified(auth: Auth, shutdown: watch::Receiver<bool>) {
    let look = || async {
        if let Err(problem) = erase_due(&auth).await {
            tracing::warn!(event = "registration.waiting", code = problem.code, "registrations expire later");
        }
    };
    ambient::every(LOOK_EVERY, shutdown, look).await;
}

async fn erase_due(auth: &Auth) -> Result<(), Problem> {
    loop {
        let due = sqlx::query_scalar!(
            "select person from unverified_person where due_at <= $1 order by due_at limit $2",
            auth.clock.now().micros(),
            AT_ONCE
        )
        .fetch_all(auth.log.pool())
        .await
        .map_err(problem::of_query)?;
        let is_all = due.len() < usize::try_from(AT_ONCE).unwrap_or(usize::MAX);
        for person in due.into_iter().map(UserId::new) {
            match erase(auth, person).await {
                Ok(()) => settle(auth, person).await?,
                // Theirs alone, or everybody's: either way nobody else waits behind them.
                Err(problem) => {
                    tracing::warn!(event = "registration.waiting", code = problem.code, user_id = %person, "expires later");
                    postpone(auth, person).await?;
                }
            }
        }
        if is_all {
            return Ok(());
        }
    }
}

/// Erases a person who has not verified; nothing for whoever has, is nobody, or is a member somewhere after all.
async fn erase(auth: &Auth, person: UserId) -> Result<(), Problem> {
    for _ in 0..race::ATTEMPTS_MAX {
        let loaded = signed_in::load_user(auth, person).await?;
        let events = user::expire(&loaded.state, auth.clock.now()).map_err(|_| race::lost())?;
        if events.is_empty() || is_member(auth, person).await? {
            return Ok(());
        }
        let request = ambient::new_request_id();
        let mut append = Append::new(request, Meta::new(Actor::System, request));
        append.write(&loaded, events).map_err(problem::of_append)?;
        if let Outcome::Done(_) = race::settle(auth.append(append).await)? {
            auth.log.forget(person);
            tracing::info!(event = "registration.expired", user_id = %person, "nobody verified, and what was known is erased");
            return Ok(());
        }
    }
    Err(race::lost())
}

async fn is_member(auth: &Auth, person: UserId) -> Result<bool, Problem> {
    let found = sqlx::query_scalar!(
        r#"select exists (select from member_list_v1 where user_id = $1 and status <> 'revoked') as "is!""#,
        person.uuid()
    );
    found.fetch_one(auth.log.pool()).await.map_err(problem::of_query)
}

async fn settle(auth: &Auth, person: UserId) -> Result<(), Problem> {
    let settled = sqlx::query!("delete from unverified_person where person = $1", person.uuid());
    settled.execute(auth.log.pool()).await.map(drop).map_err(problem::of_query)
}

async fn postpone(auth: &Auth, person: UserId) -> Result<(), Problem> {
    let to = auth.clock.now().plus(AGAIN).micros();
    let postponed = sqlx::query!("update unverified_person set due_at = $2 where person = $1", person.uuid(), to);
    postponed.execute(auth.log.pool()).await.map(drop).map_err(problem::of_query)
}
