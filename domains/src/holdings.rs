//! What a member holds, and why: the one answer that access is resolved from and that granting rests on.
//!
//! It owns putting together what the membership was given itself, what its named roles give, and what others have passed
//! on to it for a time. It refuses to know what the company owns: what is held may be dormant.

use crate::{
    User,
    membership::{Grant, Membership, Received},
    role::Role,
};
use kisum_events::{DelegationId, MembershipId, ModuleKey, PermissionKey, RoleId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

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
    /// Another member has passed it on, who holds it themselves.
    Delegation {
        /// By which delegation.
        delegation: DelegationId,
        /// Whose.
        giver: MembershipId,
        /// Version of the event in the receiving membership's stream.
        received: u64,
    },
}

/// Somebody who has passed on what they hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GiverState {
    /// Their membership.
    pub membership: Membership,
    /// They themselves.
    pub user: User,
}

/// What a member holds.
#[derive(Clone, Debug)]
pub struct Holdings<'a> {
    membership: &'a Membership,
    /// Those that give something: assigned, live, and of the member's company.
    roles: Vec<Assigned<'a>>,
    /// Those that give something now.
    delegations: Vec<Delegated<'a>>,
}

/// What somebody else has passed on, and what they hold.
#[derive(Clone, Debug)]
struct Delegated<'a> {
    id: DelegationId,
    received: &'a Received,
    giver: Holdings<'a>,
}

impl<'a> Delegated<'a> {
    /// What is worth something: what the giver can use, by what they were given for good.
    fn gives(&self, permission: &PermissionKey) -> bool {
        self.received.permissions.contains(permission) && self.giver.can_use(permission)
    }

    fn permissions(&self) -> impl Iterator<Item = &'a PermissionKey> {
        self.received.permissions.iter().filter(|permission| self.gives(permission))
    }
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
        Self { membership, roles: roles.collect(), delegations: vec![] }
    }

    /// With what others have passed on that is worth something at `now`: givers who are active members of the same company,
    /// and the roles that were loaded with them. What a giver has received themselves is not passed on.
    #[must_use]
    pub fn with_delegations(
        mut self,
        givers: &'a BTreeMap<MembershipId, GiverState>,
        roles: &'a BTreeMap<RoleId, Role>,
        now: Timestamp,
    ) -> Self {
        let company = self.membership.company_id;
        let delegations = self.membership.received.iter().filter_map(|(id, received)| {
            let is_time = received.valid_from <= now && now < received.valid_until;
            let giver = givers.get(&received.from.membership_id).filter(|_| is_time)?;
            let is_theirs = giver.membership.company_id == company
                && company.is_some()
                && giver.membership.user_id == Some(received.from.user_id);
            let is_active = giver.membership.is_active() && giver.user.is_active();
            let giver = Holdings::of(&giver.membership, roles.iter().map(|(id, role)| (*id, role)));
            (is_theirs && is_active).then_some(Delegated { id: *id, received, giver })
        });
        self.delegations = delegations.collect();
        self
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

    /// Whether the member can use a permission wherever the company owns the module: both are theirs for good.
    pub fn can_use(&self, permission: &PermissionKey) -> bool {
        self.has_permission(permission) && self.has_module(&permission.module())
    }

    /// Every permission that the member holds, in order, those passed on to them included.
    pub fn permissions(&self) -> BTreeSet<&'a PermissionKey> {
        let by_roles = self.roles.iter().flat_map(|one| one.role.permissions.keys());
        let passed_on = self.delegations.iter().flat_map(Delegated::permissions);
        self.membership.permissions.keys().chain(by_roles).chain(passed_on).collect()
    }

    /// The next instant at which what was passed on changes by itself.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let instants =
            self.membership.received.values().flat_map(|received| [received.valid_from, received.valid_until]);
        instants.filter(|instant| *instant > now).min()
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
        let passed_on = self.delegations.iter().filter(|one| one.gives(permission)).map(|one| Source::Delegation {
            delegation: one.id,
            giver: one.received.from.membership_id,
            received: one.received.version,
        });
        self.membership.permissions.get(permission).map(granted).into_iter().chain(by_roles).chain(passed_on).collect()
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
