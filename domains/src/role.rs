//! A named role: a set of permissions that members of one company are given together. Stream `role-{id}`.
//!
//! It owns the set and its name. Superadmins and the platform make roles; who is assigned one is a membership's
//! business, and what that is worth `holdings`'. That a company has one role of a name is the claim's.

use crate::{
    authority::{Authority, GrantRefused, Refused},
    membership::Grant,
};
use kisum_events::{Aggregate, CompanyId, PermissionKey, RoleEvent, StreamName};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

/// Permissions of a role at most: a change that takes all of them away and adds as many fits into one event, however
/// long their keys.
pub const PERMISSIONS_MAX: usize = 150;

/// Characters of a role's name at most.
pub const NAME_CHARS_MAX: usize = 80;

/// Where a role stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RoleStatus {
    /// No role by that id.
    #[default]
    Unknown,
    /// It gives what it holds.
    Live,
    /// It gives nothing and never will again. Memberships may still list it, so that deleting it is one event.
    Deleted,
}

/// The state of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Role {
    /// Of which company; absent only while unknown.
    pub company_id: Option<CompanyId>,
    /// What it is, or was, called.
    pub name: String,
    /// Where it stands.
    pub status: RoleStatus,
    /// What it gives, each with the event of the role's stream that added it.
    pub permissions: BTreeMap<PermissionKey, Grant>,
}

impl Role {
    /// Whether it can be assigned, and gives anything.
    pub const fn is_live(&self) -> bool {
        matches!(self.status, RoleStatus::Live)
    }

    /// The value that makes its name unique, while it has one.
    pub fn claimed_name(&self) -> Option<String> {
        self.is_live().then(|| fold_case(&self.name))
    }
}

impl Aggregate for Role {
    type Event = RoleEvent;
    const STATE_SCHEMA: u16 = 1;

    fn evolve(&mut self, event: &RoleEvent, version: u64) {
        let grant = |permission: &PermissionKey| (permission.clone(), Grant { version });
        match event {
            RoleEvent::Created { company_id, name, permissions } => {
                self.company_id = Some(*company_id);
                self.name.clone_from(name);
                self.status = RoleStatus::Live;
                self.permissions = permissions.iter().map(grant).collect();
            }
            RoleEvent::Changed { name, previous_name: _, added, removed } => {
                if let Some(name) = name {
                    self.name.clone_from(name);
                }
                self.permissions.retain(|permission, _| !removed.contains(permission));
                self.permissions.extend(added.iter().map(grant));
            }
            RoleEvent::Deleted => {
                self.status = RoleStatus::Deleted;
                self.permissions.clear();
            }
        }
    }

    fn company(&self, _stream: &StreamName) -> Option<CompanyId> {
        self.company_id
    }
}

/// A role's name: 1 to [`NAME_CHARS_MAX`] characters that can be read, without blanks around them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleName(String);

/// A text that names no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role's name has 1 to {NAME_CHARS_MAX} characters, and no control characters")]
pub struct InvalidRoleName;

impl RoleName {
    /// The value that a company has one role of: names that differ in case alone are one.
    pub fn claimed(&self) -> String {
        fold_case(&self.0)
    }
}

impl FromStr for RoleName {
    type Err = InvalidRoleName;

    fn from_str(text: &str) -> Result<Self, InvalidRoleName> {
        let name = text.trim();
        let fits = (1..=NAME_CHARS_MAX).contains(&name.chars().count()) && !name.contains(char::is_control);
        if fits { Ok(Self(name.to_owned())) } else { Err(InvalidRoleName) }
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// As [`RoleName::claimed`]. INVARIANT: names that were claimed are released by the same value.
fn fold_case(name: &str) -> String {
    name.to_lowercase()
}

/// Why a role was not made, changed or deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// The id is taken.
    #[error("the role exists already")]
    AlreadyExists,
    /// No role by that id, or it was deleted.
    #[error("there is no such role")]
    NoSuchRole,
    /// It would give more than a role may.
    #[error("a role has at most {PERMISSIONS_MAX} permissions")]
    TooManyPermissions,
    /// The acting person may not.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It would give what the acting person may not.
    #[error(transparent)]
    Grant(#[from] GrantRefused),
}

/// Makes a role.
#[derive(Clone, Debug)]
pub struct CreateRole {
    /// Of this company.
    pub company_id: CompanyId,
    /// What it is called.
    pub name: RoleName,
    /// What it gives.
    pub permissions: BTreeSet<PermissionKey>,
}

/// Makes a role. That the name is free is the claim's business.
///
/// # Errors
/// [`RoleError`], naming the rule.
pub fn create(state: &Role, authority: &Authority<'_>, command: CreateRole) -> Result<Vec<RoleEvent>, RoleError> {
    authority.leads(command.company_id)?;
    match state.status {
        RoleStatus::Unknown => {}
        RoleStatus::Live | RoleStatus::Deleted => return Err(RoleError::AlreadyExists),
    }
    fits(&command.permissions)?;
    for permission in &command.permissions {
        authority.may_grant_permission(permission)?;
    }
    let CreateRole { company_id, name, permissions } = command;
    Ok(vec![RoleEvent::Created { company_id, name: name.0, permissions: permissions.into_iter().collect() }])
}

/// What is to become of a role; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct ChangeRole {
    /// What it is called.
    pub name: Option<RoleName>,
    /// All that it gives.
    pub permissions: Option<BTreeSet<PermissionKey>>,
}

/// Changes a role, for everybody to whom it is assigned. What is so already is changed without an event. What it gave
/// and still gives need not be grantable any more.
///
/// # Errors
/// [`RoleError`] of whichever may not be changed; then nothing is.
pub fn change(state: &Role, authority: &Authority<'_>, command: ChangeRole) -> Result<Vec<RoleEvent>, RoleError> {
    let company = exists(state)?;
    authority.leads(company)?;
    let name = command.name.map(|name| name.0).filter(|name| *name != state.name);
    let (mut added, mut removed) = (vec![], vec![]);
    if let Some(wanted) = &command.permissions {
        fits(wanted)?;
        added.extend(wanted.iter().filter(|permission| !state.permissions.contains_key(permission)).cloned());
        removed.extend(state.permissions.keys().filter(|permission| !wanted.contains(permission)).cloned());
    }
    for permission in &added {
        authority.may_grant_permission(permission)?;
    }
    if name.is_none() && added.is_empty() && removed.is_empty() {
        return Ok(vec![]);
    }
    let previous_name = name.is_some().then(|| state.name.clone());
    Ok(vec![RoleEvent::Changed { name, previous_name, added, removed }])
}

/// Deletes a role: it gives nothing from then on, whoever it is assigned to. Twice is once.
///
/// # Errors
/// [`RoleError`] when there never was one or the acting person may not.
pub fn delete(state: &Role, authority: &Authority<'_>) -> Result<Vec<RoleEvent>, RoleError> {
    let company = state.company_id.ok_or(RoleError::NoSuchRole)?;
    authority.leads(company)?;
    match state.status {
        RoleStatus::Unknown => Err(RoleError::NoSuchRole),
        RoleStatus::Live => Ok(vec![RoleEvent::Deleted]),
        RoleStatus::Deleted => Ok(vec![]),
    }
}

fn exists(state: &Role) -> Result<CompanyId, RoleError> {
    state.company_id.filter(|_| state.is_live()).ok_or(RoleError::NoSuchRole)
}

fn fits(permissions: &BTreeSet<PermissionKey>) -> Result<(), RoleError> {
    if permissions.len() <= PERMISSIONS_MAX { Ok(()) } else { Err(RoleError::TooManyPermissions) }
}
