//! Granting and taking back modules and permissions.

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
use kisum_domains::{
    Authority, Membership,
    membership::{self, GrantError},
};
use kisum_events::{CompanyId, MembershipEvent, MembershipId, ModuleKey, PermissionKey, StreamName};
use kisum_log::Loaded;
use std::fmt;

/// What to change about a member's grants.
#[derive(Clone, Debug)]
pub(in crate::auth) enum Change {
    /// Grant a module.
    GrantModule(ModuleKey),
    /// Take a module back.
    RevokeModule(ModuleKey),
    /// Grant a permission.
    GrantPermission(PermissionKey),
    /// Take a permission back.
    RevokePermission(PermissionKey),
}

impl Change {
    fn decide(&self, state: &Membership, authority: &Authority<'_>) -> Result<Vec<MembershipEvent>, GrantError> {
        match self {
            Self::GrantModule(module) => membership::grant_module(state, authority, module),
            Self::RevokeModule(module) => membership::revoke_module(state, authority, module),
            Self::GrantPermission(permission) => membership::grant_permission(state, authority, permission),
            Self::RevokePermission(permission) => membership::revoke_permission(state, authority, permission),
        }
    }
}

/// The change as it names a command.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GrantModule(module) => write!(f, "module.grant|{module}"),
            Self::RevokeModule(module) => write!(f, "module.revoke|{module}"),
            Self::GrantPermission(permission) => write!(f, "permission.grant|{permission}"),
            Self::RevokePermission(permission) => write!(f, "permission.revoke|{permission}"),
        }
    }
}

/// A member's grants after a change.
pub(in crate::auth) struct Changed {
    /// The membership.
    pub(in crate::auth) state: Membership,
    /// Where the change stands, or the state where there was none to make.
    pub(in crate::auth) position: AccessPosition,
}

/// Changes a member's grants; what is so already stays so, without an event. The append guards the company and the
/// acting member, so that nobody grants with a right that was taken from them at the same moment.
///
/// # Errors
/// The contract's problem for whatever rule refuses it.
pub(in crate::auth) async fn change(
    auth: &Auth,
    by: &By,
    (company, member): (CompanyId, MembershipId),
    change: &Change,
    sent: &Sent,
) -> Result<Changed, Problem> {
    let command = format!("{member}|{change}");
    for _ in 0..race::ATTEMPTS_MAX {
        let grounds = Grounds::read(auth, by, company).await?;
        let stream = StreamName::membership(member);
        let target: Loaded<Membership> = auth.log.load(&stream).await.map_err(problem::of_load)?;
        if target.state.company_id != Some(company) {
            return Err(refusals::no_such_member());
        }
        if grounds.are_outrun_by(&target) {
            continue;
        }
        if let Some(position) = sent.earlier(auth, by, Some(company), &command).await? {
            return Ok(Changed { state: target.state, position });
        }
        let events = change.decide(&target.state, &grounds.authority()).map_err(refusals::of_grant)?;
        if events.is_empty() {
            let position = grounds.unchanged(target.position);
            return Ok(Changed { state: target.state, position });
        }
        let mut append = sent.append(by, Some(company), &command);
        append.guard(&grounds.company);
        grounds.guard_acting(&mut append, &target.stream);
        let state = append.write(&target, events).map_err(problem::of_append)?;
        match race::settle(auth.append(append).await)? {
            Outcome::Done(receipt) if receipt.duplicate => {
                // Carried out when it was first sent; the grants may have changed again since.
                let state = auth.log.load(&stream).await.map_err(problem::of_load)?.state;
                return Ok(Changed { state, position: (&receipt).into() });
            }
            Outcome::Done(receipt) => return Ok(Changed { state, position: (&receipt).into() }),
            Outcome::Again | Outcome::Taken => {}
        }
    }
    Err(race::lost())
}
