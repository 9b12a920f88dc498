//! A person's membership of a company: stream `membership-{id}`.
//!
//! It owns role, standing, grants and which named roles the member has. No role implies a module, and a grant is worth
//! something only while the company owns the module: that is `access`'s business. What named roles give is `holdings`'. What holds across memberships (the last superadmin, seats) is
//! `company`'s.

use crate::{
    Role,
    authority::{Authority, GrantRefused, Refused},
};
use kisum_events::{
    Aggregate, CompanyId, DelegationId, Giver, MembershipEvent, MembershipId, ModuleKey, PermissionKey, RoleId,
    StreamName, TenantRole, Timestamp, UserId,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Named roles of a member at most. Access reads every one of them.
pub const ROLES_MAX: usize = 50;

/// Where a membership stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MembershipStatus {
    /// No membership by that id.
    #[default]
    Unknown,
    /// The member may act for the company.
    Active,
    /// Not for now.
    Suspended,
    /// Never again by this membership; the person may become a member anew.
    Revoked,
}

/// Which event gave something: the stream's version names it for ever, and the log knows its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Version of the event in the stream whose state this stands in.
    pub version: u64,
}

/// The state of a membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Membership {
    /// Of which company; absent only while unknown.
    pub company_id: Option<CompanyId>,
    /// Whose; absent only while unknown.
    pub user_id: Option<UserId>,
    /// With which standing.
    pub role: TenantRole,
    /// Where it stands.
    pub status: MembershipStatus,
    /// Modules granted, whether owned now or dormant.
    pub modules: BTreeMap<ModuleKey, Grant>,
    /// Permissions granted, whether usable now or dormant.
    pub permissions: BTreeMap<PermissionKey, Grant>,
    /// Named roles assigned, deleted ones included.
    pub roles: BTreeMap<RoleId, Grant>,
    /// Delegations received that were not ended, those whose time is over included.
    pub received: BTreeMap<DelegationId, Received>,
    /// Delegations given that were not ended, those whose time is over included.
    pub given: BTreeMap<DelegationId, Given>,
}

/// What another member has passed on to this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Received {
    /// Who, and by which membership.
    pub from: Giver,
    /// Which permissions.
    pub permissions: BTreeSet<PermissionKey>,
    /// From then on.
    pub valid_from: Timestamp,
    /// Until right before then.
    pub valid_until: Timestamp,
    /// Version of the event in the membership's stream.
    pub version: u64,
}

/// What this member has passed on to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Given {
    /// To whom.
    pub to: MembershipId,
    /// Which permissions.
    pub permissions: BTreeSet<PermissionKey>,
    /// From then on.
    pub valid_from: Timestamp,
    /// Until right before then.
    pub valid_until: Timestamp,
}

impl Default for Membership {
    fn default() -> Self {
        Self {
            company_id: None,
            user_id: None,
            role: TenantRole::User,
            status: MembershipStatus::Unknown,
            modules: BTreeMap::new(),
            permissions: BTreeMap::new(),
            roles: BTreeMap::new(),
            received: BTreeMap::new(),
            given: BTreeMap::new(),
        }
    }
}

impl Membership {
    /// Whether the member may act for the company, as far as the membership says.
    pub const fn is_active(&self) -> bool {
        matches!(self.status, MembershipStatus::Active)
    }

    /// Whose own access this member's rests on, now or at a later time: the givers of what they received that is not over.
    pub fn givers(&self, now: Timestamp) -> impl Iterator<Item = Giver> + '_ {
        self.received.values().filter(move |received| now < received.valid_until).map(|received| received.from)
    }
}

impl Aggregate for Membership {
    type Event = MembershipEvent;
    const STATE_SCHEMA: u16 = 2;

    fn evolve(&mut self, event: &MembershipEvent, version: u64) {
        match event {
            MembershipEvent::Created { company_id, user_id, tenant_role, via: _ } => {
                self.company_id = Some(*company_id);
                self.user_id = Some(*user_id);
                self.role = *tenant_role;
                self.status = MembershipStatus::Active;
            }
            MembershipEvent::TenantRoleChanged { from: _, to } => self.role = *to,
            MembershipEvent::Suspended => self.status = MembershipStatus::Suspended,
            MembershipEvent::Reactivated => self.status = MembershipStatus::Active,
            MembershipEvent::Revoked => {
                self.status = MembershipStatus::Revoked;
                self.modules.clear();
                self.permissions.clear();
                self.roles.clear();
                self.received.clear();
                self.given.clear();
            }
            MembershipEvent::ModuleGranted { module } => {
                self.modules.insert(module.clone(), Grant { version });
            }
            MembershipEvent::ModuleRevoked { module } => {
                self.modules.remove(module);
            }
            MembershipEvent::PermissionGranted { permission } => {
                self.permissions.insert(permission.clone(), Grant { version });
            }
            MembershipEvent::PermissionRevoked { permission } => {
                self.permissions.remove(permission);
            }
            MembershipEvent::RoleAssigned { role_id } => {
                self.roles.insert(*role_id, Grant { version });
            }
            MembershipEvent::RoleUnassigned { role_id } => {
                self.roles.remove(role_id);
            }
            MembershipEvent::DelegationReceived {
                delegation_id,
                from,
                from_user,
                permissions,
                valid_from,
                valid_until,
            } => {
                let received = Received {
                    from: Giver { user_id: *from_user, membership_id: *from },
                    permissions: permissions.iter().cloned().collect(),
                    valid_from: *valid_from,
                    valid_until: *valid_until,
                    version,
                };
                self.received.insert(*delegation_id, received);
            }
            MembershipEvent::DelegationGiven { delegation_id, to, permissions, valid_from, valid_until } => {
                let (to, permissions) = (*to, permissions.iter().cloned().collect());
                let given = Given { to, permissions, valid_from: *valid_from, valid_until: *valid_until };
                self.given.insert(*delegation_id, given);
            }
            MembershipEvent::DelegationEnded { delegation_id } => {
                self.received.remove(delegation_id);
                self.given.remove(delegation_id);
            }
        }
    }

    fn company(&self, _stream: &StreamName) -> Option<CompanyId> {
        self.company_id
    }
}

/// Makes a person a member.
#[derive(Clone, Debug)]
pub struct CreateMembership {
    /// Of this company.
    pub company_id: CompanyId,
    /// This person.
    pub user_id: UserId,
    /// With this standing.
    pub role: TenantRole,
    /// By which way: `registration`, `administrator`, `invitation`, `seed`.
    pub via: String,
}

/// Why a membership was not created, changed or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeMembershipError {
    /// The id is taken.
    #[error("the membership exists already")]
    AlreadyExists,
    /// No membership by that id, or it was revoked.
    #[error("there is no such membership")]
    NotAMember,
    /// The acting person may not.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Makes a person a member. That they are none yet is the claim's business.
///
/// # Errors
/// [`ChangeMembershipError`] when the id is taken or the acting person may not.
pub fn create(
    state: &Membership,
    authority: &Authority<'_>,
    command: CreateMembership,
) -> Result<Vec<MembershipEvent>, ChangeMembershipError> {
    if state.status != MembershipStatus::Unknown {
        return Err(ChangeMembershipError::AlreadyExists);
    }
    authority.manages(Some(command.company_id), command.role)?;
    Ok(vec![MembershipEvent::Created {
        company_id: command.company_id,
        user_id: command.user_id,
        tenant_role: command.role,
        via: command.via,
    }])
}

/// Gives a member another role; grants stay. The same role twice is once.
///
/// # Errors
/// [`ChangeMembershipError`]; both the old and the new role have to be within reach.
pub fn change_role(
    state: &Membership,
    authority: &Authority<'_>,
    to: TenantRole,
) -> Result<Vec<MembershipEvent>, ChangeMembershipError> {
    exists(state)?;
    authority.manages(state.company_id, state.role.max(to))?;
    if state.role == to {
        return Ok(vec![]);
    }
    Ok(vec![MembershipEvent::TenantRoleChanged { from: state.role, to }])
}

/// What is to become of a member; what is absent stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChangeMember {
    /// Their role.
    pub role: Option<TenantRole>,
    /// Whether they are suspended.
    pub suspended: Option<bool>,
}

/// Changes a member's role and standing together.
///
/// # Errors
/// [`ChangeMembershipError`] of whichever may not be changed; then neither is.
pub fn change(
    state: &Membership,
    authority: &Authority<'_>,
    command: ChangeMember,
) -> Result<Vec<MembershipEvent>, ChangeMembershipError> {
    let mut events = match command.role {
        Some(to) => change_role(state, authority, to)?,
        None => vec![],
    };
    events.extend(match command.suspended {
        Some(true) => suspend(state, authority)?,
        Some(false) => reactivate(state, authority)?,
        None => vec![],
    });
    Ok(events)
}

/// Suspends a member. Twice is once.
///
/// # Errors
/// [`ChangeMembershipError`] when there is no such member or the acting person may not.
pub fn suspend(state: &Membership, authority: &Authority<'_>) -> Result<Vec<MembershipEvent>, ChangeMembershipError> {
    exists(state)?;
    authority.manages(state.company_id, state.role)?;
    Ok(if state.is_active() { vec![MembershipEvent::Suspended] } else { vec![] })
}

/// Lets a suspended member back. Twice is once.
///
/// # Errors
/// [`ChangeMembershipError`] when there is no such member or the acting person may not.
pub fn reactivate(
    state: &Membership,
    authority: &Authority<'_>,
) -> Result<Vec<MembershipEvent>, ChangeMembershipError> {
    exists(state)?;
    authority.manages(state.company_id, state.role)?;
    Ok(if state.is_active() { vec![] } else { vec![MembershipEvent::Reactivated] })
}

/// Ends a membership. Twice is once, for who could have ended it.
///
/// # Errors
/// [`ChangeMembershipError`] when there never was such a member or the acting person may not.
pub fn revoke(state: &Membership, authority: &Authority<'_>) -> Result<Vec<MembershipEvent>, ChangeMembershipError> {
    if state.status == MembershipStatus::Unknown {
        return Err(ChangeMembershipError::NotAMember);
    }
    authority.manages(state.company_id, state.role)?;
    Ok(if state.status == MembershipStatus::Revoked { vec![] } else { vec![MembershipEvent::Revoked] })
}

fn exists(state: &Membership) -> Result<(), ChangeMembershipError> {
    match state.status {
        MembershipStatus::Active | MembershipStatus::Suspended => Ok(()),
        MembershipStatus::Unknown | MembershipStatus::Revoked => Err(ChangeMembershipError::NotAMember),
    }
}

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

/// Takes a named role back, live or deleted. What is not assigned is taken back without an event.
///
/// # Errors
/// [`GrantError`], naming the rule.
pub fn unassign_role(
    state: &Membership,
    authority: &Authority<'_>,
    (id, role): (RoleId, &Role),
) -> Result<Vec<MembershipEvent>, GrantError> {
    may_lose(state, authority, || may_grant_all(authority, role))?;
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
