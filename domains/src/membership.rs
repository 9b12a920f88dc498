//! A person's membership of a company: stream `membership-{id}`.
//!
//! It owns role, standing, grants, which named roles the member has, and what they passed on and received. No role implies a
//! module, and a grant is worth something only while the company owns the module: that is `access`'s business. What named
//! roles and delegations give is `holdings`'. What holds across memberships (the last superadmin, seats) is `company`'s.

mod grants;

pub use grants::{
    GrantError, assign_role, grant_module, grant_permission, revoke_module, revoke_permission, unassign_role,
};

use crate::authority::{Authority, Refused};
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
