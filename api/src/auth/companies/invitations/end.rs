//! Taking invitations back: one, and all of somebody who is erased.

use super::{claim_of, forget_key, of_company, of_withdraw};
use crate::{
    auth::{
        Auth,
        companies::{By, Sent, grounds::Grounds},
        race::{self, Outcome},
    },
    shared::{
        access_position::AccessPosition,
        problem::{self, Problem},
    },
};
use kisum_domains::{Invitation, invitation};
use kisum_events::{CompanyId, InvitationId, StreamName};
use kisum_log::{Append, ClaimKey, Loaded};

/// Invitations of one address that are ended by one look.
const AT_ONCE: i64 = 32;

/// Takes an invitation back. Twice is once.
///
/// # Errors
/// 404; 409 `not_pending` where it was accepted; the contract's problem for who may not.
pub(in crate::auth) async fn withdraw(
    auth: &Auth,
    by: &By,
    (company, id): (CompanyId, InvitationId),
    sent: &Sent,
) -> Result<AccessPosition, Problem> {
    let (actor, command) = (by.actor(), format!("{id}|invitation.withdraw"));
    for _ in 0..race::ATTEMPTS_MAX {
        let grounds = Grounds::read(auth, by, company).await?;
        let loaded = of_company(auth, company, id).await?;
        if let Some(position) = sent.earlier(auth, &actor, Some(company), &command).await? {
            return Ok(position);
        }
        let events = invitation::withdraw(&loaded.state, &grounds.authority()).map_err(of_withdraw)?;
        if events.is_empty() {
            return Ok(grounds.unchanged(loaded.position));
        }
        let mut append = sent.append(&actor, Some(company), &command);
        grounds.guard_acting(&mut append, &loaded.stream);
        append.guard(&grounds.company);
        write_end(auth, &mut append, &loaded, events)?;
        if let Outcome::Done(receipt) = race::settle(auth.append(append).await)? {
            forget_key(auth, &loaded.stream);
            tracing::info!(event = "invitation.withdrawn", company_id = %company, invitation_id = %id, %actor);
            return Ok((&receipt).into());
        }
    }
    Err(race::lost())
}

/// Adds the end of an invitation to an append, and gives its address' place back.
pub(super) fn write_end(
    auth: &Auth,
    append: &mut Append,
    loaded: &Loaded<Invitation>,
    events: Vec<kisum_events::InvitationEvent>,
) -> Result<(), Problem> {
    if let Some(claim) = claim_of(auth, &loaded.state) {
        append.release(claim, &loaded.stream);
    }
    append.write(loaded, events).map(drop).map_err(problem::of_append)
}

/// Takes back all invitations of an address, because its person is erased. `account` is its look-up value; `begin` makes
/// the append of each.
///
/// # Errors
/// 503 when they cannot be read or written; what was taken back by then stays so.
pub(in crate::auth) async fn forget(
    auth: &Auth,
    account: &str,
    begin: impl Fn() -> Append + Send,
) -> Result<(), Problem> {
    let (from, behind) = ClaimKey::invitations_of(account);
    for _ in 0..race::ATTEMPTS_MAX {
        let found = sqlx::query_scalar!(
            "select holder from claim where key >= $1 and key < $2 order by key limit $3",
            from,
            behind,
            AT_ONCE
        )
        .fetch_all(auth.log.pool())
        .await
        .map_err(problem::of_query)?;
        if found.is_empty() {
            return Ok(());
        }
        for stream in found.into_iter().map(StreamName::from_stored) {
            let loaded = auth.log.load::<Invitation>(&stream).await.map_err(problem::of_load)?;
            let events = invitation::forget(&loaded.state);
            if events.is_empty() {
                continue;
            }
            let mut append = begin();
            write_end(auth, &mut append, &loaded, events)?;
            if let Outcome::Done(_) = race::settle(auth.append(append).await)? {
                forget_key(auth, &stream);
            }
        }
    }
    Err(race::lost())
}
