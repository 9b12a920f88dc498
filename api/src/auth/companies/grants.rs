//! Granting and taking back modules, permissions and named roles.

use super::{
    By, Sent,
    alter::{Changed, alter_with_role},
    refusals,
};
use crate::{auth::Auth, shared::problem::Problem};
use kisum_domains::{
    Authority, Membership, Role,
    membership::{self, GrantError},
};
use kisum_events::{CompanyId, MembershipEvent, MembershipId, ModuleKey, PermissionKey, RoleId};
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
    /// Assign a named role.
    AssignRole(RoleId),
    /// Take a named role back.
    UnassignRole(RoleId),
}

impl Change {
    /// The named role that it is about, where it is about one.
    const fn role(&self) -> Option<RoleId> {
        match self {
            Self::AssignRole(role) | Self::UnassignRole(role) => Some(*role),
            Self::GrantModule(_) | Self::RevokeModule(_) | Self::GrantPermission(_) | Self::RevokePermission(_) => None,
        }
    }

    fn decide(
        &self,
        state: &Membership,
        authority: &Authority<'_>,
        role: &Role,
    ) -> Result<Vec<MembershipEvent>, GrantError> {
        match self {
            Self::GrantModule(module) => membership::grant_module(state, authority, module),
            Self::RevokeModule(module) => membership::revoke_module(state, authority, module),
            Self::GrantPermission(permission) => membership::grant_permission(state, authority, permission),
            Self::RevokePermission(permission) => membership::revoke_permission(state, authority, permission),
            Self::AssignRole(id) => membership::assign_role(state, authority, (*id, role)),
            Self::UnassignRole(id) => membership::unassign_role(state, authority, (*id, role)),
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
            Self::AssignRole(role) => write!(f, "role.assign|{role}"),
            Self::UnassignRole(role) => write!(f, "role.unassign|{role}"),
        }
    }
}

/// Changes a member's grants.
///
/// # Errors
/// The contract's problem for whatever rule refuses it.
pub(in crate::auth) async fn change(
    auth: &Auth,
    by: &By,
    member: (CompanyId, MembershipId),
    change: &Change,
    sent: &Sent,
) -> Result<Changed, Problem> {
    let command = format!("{}|{change}", member.1);
    let decide = |state: &Membership, authority: &Authority<'_>, role: &Role| {
        change.decide(state, authority, role).map_err(refusals::of_grant)
    };
    alter_with_role(auth, by, member, (&command, sent), change.role(), decide).await
}
