//! Changing one membership: the way that every such command takes, whoever sends it and whatever it changes.
//!
//! It owns what the append rests on and what follows from it in the company's books. It refuses to know the rules: the
//! decision is given.

use super::{By, Sent, delegations, grounds::Grounds, refusals};
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
use kisum_domains::{Authority, Membership, Role, company, membership::MembershipStatus};
use kisum_events::{CompanyId, MembershipEvent, MembershipId, PermissionKey, RoleId, StreamName};
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
    let decide = |state: &Membership, authority: &Authority<'_>, _: &Role| decide(state, authority);
    alter_with_role(auth, by, (company_id, member), (command, sent), None, decide).await
}

/// As [`alter`], where the decision may be about a named role too: the append guards it, and whatever else the acting
/// member needs to be able to grant what it says.
pub(super) async fn alter_with_role(
    auth: &Auth,
    by: &By,
    (company_id, member): (CompanyId, MembershipId),
    (command, sent): (&str, &Sent),
    role: Option<RoleId>,
    decide: impl Fn(&Membership, &Authority<'_>, &Role) -> Result<Vec<MembershipEvent>, Problem>,
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
        let role = load_role(auth, role).await?;
        let about = role.as_ref().map(|role| role.state.clone()).unwrap_or_default();
        let mut events = decide(&target.state, &grounds.authority(), &about)?;
        if events.is_empty() {
            let position = grounds.unchanged(target.position);
            return Ok(Changed { state: target.state, position });
        }
        let mut append = sent.append(&actor, Some(company_id), command);
        grounds.guard_acting(&mut append, &target.stream);
        grounds.guard_rights(&mut append, events.iter().flat_map(|event| given(event, &about)));
        if let Some(role) = &role {
            append.guard(role);
        }
        let ended = delegations::end_given(auth, &mut append, &target, &events).await?;
        events.extend(ended);
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

async fn load_role(auth: &Auth, id: Option<RoleId>) -> Result<Option<Loaded<Role>>, Problem> {
    let Some(id) = id else { return Ok(None) };
    auth.log.load(&StreamName::role(id)).await.map(Some).map_err(problem::of_load)
}

/// The permissions that an event gives or takes: what whoever is no superadmin has to hold for it, or had to. Modules
/// come from no role, so that no right to them rests on one.
fn given<'a>(event: &'a MembershipEvent, role: &'a Role) -> Vec<&'a PermissionKey> {
    match event {
        MembershipEvent::PermissionGranted { permission } | MembershipEvent::PermissionRevoked { permission } => {
            vec![permission]
        }
        MembershipEvent::RoleAssigned { .. } | MembershipEvent::RoleUnassigned { .. } => {
            role.permissions.keys().collect()
        }
        MembershipEvent::Created { .. }
        | MembershipEvent::TenantRoleChanged { .. }
        | MembershipEvent::Suspended
        | MembershipEvent::Reactivated
        | MembershipEvent::Revoked
        | MembershipEvent::ModuleGranted { .. }
        | MembershipEvent::ModuleRevoked { .. }
        | MembershipEvent::DelegationReceived { .. }
        | MembershipEvent::DelegationGiven { .. }
        | MembershipEvent::DelegationEnded { .. } => vec![],
    }
}
