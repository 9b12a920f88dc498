//! Named roles: sets of permissions that members are assigned.

use super::{Actor, Answer, Key, NOT_FOUND, NamedRole, Rank, Refusal, World, conflict};
use std::collections::BTreeSet;

impl World {
    /// "Superadmins make, change and delete roles"; "names … are one whatever their case".
    pub(super) fn create_role(&mut self, actor: Actor, company: usize, name: &str, permissions: &[Key]) -> Answer {
        let acting = self.acting_at_least(actor, company, Rank::Superadmin)?;
        let permissions: BTreeSet<Key> = permissions.iter().copied().collect();
        self.require_all(company, acting, &permissions)?;
        if self.is_taken(company, None, name) {
            return Err(conflict("name_taken"));
        }
        self.companies[company].roles.push(NamedRole { name: name.to_owned(), permissions, deleted: false });
        Ok(())
    }

    /// "What they add has to exist, not be retired, and be of a module that the company owns."
    pub(super) fn change_role(
        &mut self,
        actor: Actor,
        company: usize,
        role: usize,
        (name, permissions): (Option<&str>, Option<&[Key]>),
    ) -> Answer {
        let acting = self.acting_at_least(actor, company, Rank::Superadmin)?;
        let mut after = self.live_role(company, role)?.clone();
        if let Some(permissions) = permissions {
            let wanted: BTreeSet<Key> = permissions.iter().copied().collect();
            let added = wanted.difference(&after.permissions).copied().collect();
            self.require_all(company, acting, &added)?;
            after.permissions = wanted;
        }
        if let Some(name) = name {
            if self.is_taken(company, Some(role), name) {
                return Err(conflict("name_taken"));
            }
            after.name = name.to_owned();
        }
        self.companies[company].roles[role] = after;
        Ok(())
    }

    /// Whether another role of the company has a name.
    fn is_taken(&self, company: usize, but: Option<usize>, name: &str) -> bool {
        let others = self.companies[company].roles.iter().enumerate().filter(|(at, _)| Some(*at) != but);
        others.map(|(_, role)| role).any(|role| !role.deleted && role.name.to_lowercase() == name.to_lowercase())
    }

    /// The first that may not be granted, in the order of their keys.
    fn require_all(&self, company: usize, acting: Option<usize>, permissions: &BTreeSet<Key>) -> Answer {
        permissions.iter().try_for_each(|key| self.require_permission(company, acting, key))
    }

    /// *Open*: what was deleted is deleted again.
    pub(super) fn delete_role(&mut self, actor: Actor, company: usize, role: usize) -> Answer {
        self.acting_at_least(actor, company, Rank::Superadmin)?;
        self.companies[company].roles.get_mut(role).ok_or(NOT_FOUND)?.deleted = true;
        Ok(())
    }

    /// "A role is assigned by whoever may grant every permission in it at that moment, to lower roles."
    pub(super) fn assign_role(&mut self, actor: Actor, company: usize, member: usize, role: usize) -> Answer {
        let acting = self.giving(actor, company, member)?;
        let permissions = self.live_role(company, role)?.permissions.clone();
        self.require_all(company, acting, &permissions)?;
        self.companies[company].members[member].roles.insert(role);
        Ok(())
    }

    /// "And taken back by them and by administrators"; one that was deleted, and gives nothing, too. *Open*: one that the
    /// company never had gives nothing either, and whoever takes it back hears no more than that it is not there.
    pub(super) fn unassign_role(&mut self, actor: Actor, company: usize, member: usize, role: usize) -> Answer {
        let gives = self.live_role(company, role).map(|role| role.permissions.clone()).unwrap_or_default();
        self.taking(actor, (company, member), |acting| self.require_all(company, acting, &gives))?;
        self.narrow(company, member, |member| {
            member.roles.remove(&role);
        });
        Ok(())
    }

    fn live_role(&self, company: usize, role: usize) -> Result<&NamedRole, Refusal> {
        self.companies[company].roles.get(role).filter(|role| !role.deleted).ok_or(NOT_FOUND)
    }
}
