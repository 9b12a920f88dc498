//! What a member is given and what is taken back: modules, permissions and named roles.
//!
//! It owns who may receive and who may lose something. What may be granted at all is `authority`'s.

use super::{Membership, MembershipStatus, ROLES_MAX};
use crate::{
    Role,
    authority::{Authority, GrantRefused, Refused},
};
use kisum_events::{MembershipEvent, ModuleKey, PermissionKey, RoleId};

/// Why something was not granted or taken back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// No membership by that id, or it was revoked.
    #[error("there is no such membership")]
    NotAMember,
    /// The member is suspended: nothing is granted to who may not act.
    #[error("the member is not active")]
    NotActive,
    /// The company has no such named role, or it was deleted.
    #[error("there is no such role")]
    NoSuchRole,
    /// The member has as many named roles as a member may.
    #[error("a member has at most {ROLES_MAX} roles")]
    TooManyRoles,
    /// The acting person may not change this member.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// This may not be granted.
    #[error(transparent)]
    Grant(#[from] GrantRefused),
}

/// Grants a module. What is held already is granted without an event.
///
/// # Errors
/// [`GrantError`], naming the rule.
pub fn grant_module(
    state: &Membership,
    authority: &Authority<'_>,
    module: &ModuleKey,
) -> Result<Vec<MembershipEvent>, GrantError> {
    may_receive(state, authority)?;
    authority.may_grant_module(module)?;
    if state.modules.contains_key(module) {
        return Ok(vec![]);
    }
    Ok(vec![MembershipEvent::ModuleGranted { module: module.clone() }])
}

/// Takes a module back, owned or dormant. What is not held is taken back without an event. The permissions of the
/// module stay, dormant.
///
/// # Errors
/// [`GrantError`], naming the rule.
pub fn revoke_module(
    state: &Membership,
    authority: &Authority<'_>,
    module: &ModuleKey,
) -> Result<Vec<MembershipEvent>, GrantError> {
    may_lose(state, authority, || authority.may_grant_module(module))?;
    if !state.modules.contains_key(module) {
        return Ok(vec![]);
    }
    Ok(vec![MembershipEvent::ModuleRevoked { module: module.clone() }])
}

/// Grants a permission, which is dormant until its module is granted too. What is held already is granted without an
/// event.
///
/// # Errors
/// [`GrantError`], naming the rule.
pub fn grant_permission(
    state: &Membership,
    authority: &Authority<'_>,
    permission: &PermissionKey,
) -> Result<Vec<MembershipEvent>, GrantError> {
    may_receive(state, authority)?;
    authority.may_grant_permission(permission)?;
    if state.permissions.contains_key(permission) {
        return Ok(vec![]);
    }
    Ok(vec![MembershipEvent::PermissionGranted { permission: permission.clone() }])
}

/// Takes a permission back, usable or dormant. What is not held is taken back without an event.
///
/// # Errors
/// [`GrantError`], naming the rule.
pub fn revoke_permission(
    state: &Membership,
    authority: &Authority<'_>,
    permission: &PermissionKey,
) -> Result<Vec<MembershipEvent>, GrantError> {
    may_lose(state, authority, || authority.may_grant_permission(permission))?;
    if !state.permissions.contains_key(permission) {
        return Ok(vec![]);
    }
    Ok(vec![MembershipEvent::PermissionRevoked { permission: permission.clone() }])
}

/// Assigns a named role, whose permissions the member holds from then on, and whatever it will give later. Each of them is
/// one that the acting member may grant now. What is assigned already is assigned without an event.
///
/// # Errors
/// [`GrantError`], naming the rule; of the role's permissions the first that may not be granted.
pub fn assign_role(
    state: &Membership,
    authority: &Authority<'_>,
    (id, role): (RoleId, &Role),
) -> Result<Vec<MembershipEvent>, GrantError> {
    may_receive(state, authority)?;
    if !role.is_live() || role.company_id != state.company_id {
        return Err(GrantError::NoSuchRole);
    }
    may_grant_all(authority, role)?;
    if state.roles.contains_key(&id) {
        return Ok(vec![]);
    }
    if state.roles.len() >= ROLES_MAX {
        return Err(GrantError::TooManyRoles);
    }
    Ok(vec![MembershipEvent::RoleAssigned { role_id: id }])
}

/// Takes a named role back, live or deleted. What is not assigned is taken back without an event; what another company's
/// role gives is none of the acting member's business, not even by how they are refused.
///
/// # Errors
/// [`GrantError`], naming the rule.
pub fn unassign_role(
    state: &Membership,
    authority: &Authority<'_>,
    (id, role): (RoleId, &Role),
) -> Result<Vec<MembershipEvent>, GrantError> {
    let is_theirs = role.company_id == state.company_id;
    may_lose(state, authority, || if is_theirs { may_grant_all(authority, role) } else { Ok(()) })?;
    if !state.roles.contains_key(&id) {
        return Ok(vec![]);
    }
    Ok(vec![MembershipEvent::RoleUnassigned { role_id: id }])
}

/// Whether the acting person may grant everything that a role gives now.
fn may_grant_all(authority: &Authority<'_>, role: &Role) -> Result<(), GrantRefused> {
    role.permissions.keys().try_for_each(|permission| authority.may_grant_permission(permission))
}

fn may_receive(state: &Membership, authority: &Authority<'_>) -> Result<(), GrantError> {
    match state.status {
        MembershipStatus::Unknown | MembershipStatus::Revoked => Err(GrantError::NotAMember),
        MembershipStatus::Active => Ok(authority.reaches(state.company_id, state.role)?),
        MembershipStatus::Suspended => {
            // Rank first: who may not change the member learns nothing of their standing.
            authority.reaches(state.company_id, state.role)?;
            Err(GrantError::NotActive)
        }
    }
}

/// Whoever manages people takes anything from those they manage; others what they could grant.
fn may_lose(
    state: &Membership,
    authority: &Authority<'_>,
    may_grant: impl Fn() -> Result<(), GrantRefused>,
) -> Result<(), GrantError> {
    match state.status {
        MembershipStatus::Unknown | MembershipStatus::Revoked => Err(GrantError::NotAMember),
        MembershipStatus::Active | MembershipStatus::Suspended => {
            authority.reaches(state.company_id, state.role)?;
            let manages = authority.manages(state.company_id, state.role);
            if may_grant().is_ok() { Ok(()) } else { Ok(manages?) }
        }
    }
}
