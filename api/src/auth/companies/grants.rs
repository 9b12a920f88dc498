//! Granting and taking back modules and permissions.

use super::{
    By, Sent,
    alter::{Changed, alter},
    refusals,
};
use crate::{auth::Auth, shared::problem::Problem};
use kisum_domains::{
    Authority, Membership,
    membership::{self, GrantError},
};
use kisum_events::{CompanyId, MembershipEvent, MembershipId, ModuleKey, PermissionKey};
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
    let decide =
        |state: &Membership, authority: &Authority<'_>| change.decide(state, authority).map_err(refusals::of_grant);
    alter(auth, by, member, (&command, sent), decide).await
}
