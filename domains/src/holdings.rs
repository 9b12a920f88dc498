//! What a member holds, and why: the one answer that access is resolved from and that granting rests on.
//!
//! It owns putting together what the membership was given itself and what its named roles give. It refuses to know what
//! the company owns: what is held may be dormant.

use crate::{
    membership::{Grant, Membership},
    role::Role,
};
use kisum_events::{ModuleKey, PermissionKey, RoleId};
use std::collections::BTreeSet;

/// What gave a module or a permission. Versions name events for ever; the log knows their positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// It was granted to the member.
    Grant {
        /// Version of the event in the membership's stream.
        version: u64,
    },
    /// A named role that the member has gives it.
    Role {
        /// Which.
        role: RoleId,
        /// Version of the event in the membership's stream that assigned the role.
        assigned: u64,
        /// Version of the event in the role's stream that added the permission.
        added: u64,
    },
}

/// What a member holds.
#[derive(Clone, Debug)]
pub struct Holdings<'a> {
    membership: &'a Membership,
    /// Those that give something: assigned, live, and of the member's company.
    roles: Vec<Assigned<'a>>,
}

/// A role that a member has.
#[derive(Clone, Copy, Debug)]
struct Assigned<'a> {
    id: RoleId,
    by: Grant,
    role: &'a Role,
}

impl<'a> Holdings<'a> {
    /// What a membership holds, by the roles that were loaded with it. One that is not assigned to it, was deleted, or
    /// belongs to another company gives nothing; neither does one that was not loaded.
    pub fn of(membership: &'a Membership, roles: impl IntoIterator<Item = (RoleId, &'a Role)>) -> Self {
        let counts =
            |role: &Role| role.is_live() && role.company_id.is_some() && role.company_id == membership.company_id;
        let roles = roles.into_iter().filter_map(|(id, role)| {
            let by = *membership.roles.get(&id)?;
            counts(role).then_some(Assigned { id, by, role })
        });
        Self { membership, roles: roles.collect() }
    }

    /// Whose.
    pub const fn membership(&self) -> &'a Membership {
        self.membership
    }

    /// Whether the member holds a module. Roles give none.
    pub fn has_module(&self, module: &ModuleKey) -> bool {
        self.membership.modules.contains_key(module)
    }

    /// Whether the member holds a permission by what they were given for good, directly or by a role: what they may
    /// give to others rests on that.
    pub fn has_permission(&self, permission: &PermissionKey) -> bool {
        self.membership.permissions.contains_key(permission)
            || self.roles.iter().any(|one| one.role.permissions.contains_key(permission))
    }

    /// Every permission that the member holds, in order.
    pub fn permissions(&self) -> BTreeSet<&'a PermissionKey> {
        let by_roles = self.roles.iter().flat_map(|one| one.role.permissions.keys());
        self.membership.permissions.keys().chain(by_roles).collect()
    }

    /// Everything that gives the member a module; nothing where they do not hold it.
    pub fn module_sources(&self, module: &ModuleKey) -> Vec<Source> {
        self.membership.modules.get(module).map(granted).into_iter().collect()
    }

    /// Everything that gives the member a permission; nothing where they do not hold it.
    pub fn permission_sources(&self, permission: &PermissionKey) -> Vec<Source> {
        let by_roles = self.roles.iter().filter_map(|one| {
            let added = one.role.permissions.get(permission)?.version;
            Some(Source::Role { role: one.id, assigned: one.by.version, added })
        });
        self.membership.permissions.get(permission).map(granted).into_iter().chain(by_roles).collect()
    }

    /// A role without which the member would not hold a permission, where there is one: an append that rests on their
    /// holding it guards that role. Of several any will do, since one of them is enough.
    pub fn rests_on(&self, permission: &PermissionKey) -> Option<RoleId> {
        if self.membership.permissions.contains_key(permission) {
            return None;
        }
        self.roles.iter().find(|one| one.role.permissions.contains_key(permission)).map(|one| one.id)
    }
}

const fn granted(grant: &Grant) -> Source {
    Source::Grant { version: grant.version }
}
