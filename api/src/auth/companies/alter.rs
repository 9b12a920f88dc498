//! Changing one membership: the way that every such command takes, whoever sends it and whatever it changes.
//!
//! It owns what the append rests on and what follows from it in the company's books. It refuses to know the rules: the
//! decision is given.

use super::{By, Sent, grounds::Grounds, refusals};
use crate::{
    auth::{
        Auth,
        race::{self, Outcome},
    },
    shared::{
        access_position::AccessPosition,
        problem::{self, Problem},
    },
};
use kisum_domains::{Authority, Membership, company, membership::MembershipStatus};
use kisum_events::{CompanyId, MembershipEvent, MembershipId, StreamName};
use kisum_log::{ClaimKey, Loaded};

/// A membership after a change.
pub(in crate::auth) struct Changed {
    /// The membership.
    pub(in crate::auth) state: Membership,
    /// Where the change stands, or the state where there was none to make.
    pub(in crate::auth) position: AccessPosition,
}

/// Changes a membership; what is so already stays so, without an event. The append writes or guards the company, and
/// guards the acting member, so that nobody changes anything with a right that was taken from them at the same moment.
/// `command` names it, whatever its path names included.
///
/// # Errors
/// The contract's problem for whatever rule refuses it.
pub(super) async fn alter(
    auth: &Auth,
    by: &By,
    (company_id, member): (CompanyId, MembershipId),
    (command, sent): (&str, &Sent),
    decide: impl Fn(&Membership, &Authority<'_>) -> Result<Vec<MembershipEvent>, Problem>,
) -> Result<Changed, Problem> {
    let (actor, stream) = (by.actor(), StreamName::membership(member));
    for _ in 0..race::ATTEMPTS_MAX {
        let grounds = Grounds::read(auth, by, company_id).await?;
        let target: Loaded<Membership> = auth.log.load(&stream).await.map_err(problem::of_load)?;
        if target.state.company_id != Some(company_id) {
            return Err(refusals::no_such_member());
        }
        if grounds.are_outrun_by(&target) {
            continue;
        }
        if let Some(position) = sent.earlier(auth, &actor, Some(company_id), command).await? {
            return Ok(Changed { state: target.state, position });
        }
        let events = decide(&target.state, &grounds.authority())?;
        if events.is_empty() {
            let position = grounds.unchanged(target.position);
            return Ok(Changed { state: target.state, position });
        }
        let mut append = sent.append(&actor, Some(company_id), command);
        grounds.guard_acting(&mut append, &target.stream);
        let state = append.write(&target, events).map_err(problem::of_append)?;
        let books =
            company::follow_membership(&grounds.company.state, member, &target.state, &state, grounds.seat_limit);
        let books = books.map_err(refusals::of_company_members)?;
        if books.is_empty() {
            append.guard(&grounds.company);
        }
        append.write(&grounds.company, books).map_err(problem::of_append)?;
        if let (MembershipStatus::Revoked, Some(user)) = (state.status, target.state.user_id) {
            append.release(ClaimKey::member(company_id, user), &target.stream);
        }
        match race::settle(auth.append(append).await)? {
            Outcome::Done(receipt) if receipt.duplicate => {
                // Carried out when it was first sent; the membership may have changed again since.
                let state = auth.log.load(&stream).await.map_err(problem::of_load)?.state;
                return Ok(Changed { state, position: (&receipt).into() });
            }
            Outcome::Done(receipt) => return Ok(Changed { state, position: (&receipt).into() }),
            Outcome::Again | Outcome::Taken => {}
        }
    }
    Err(race::lost())
}
