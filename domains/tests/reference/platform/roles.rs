//! Named roles, as `companies/roles.rs` makes, changes and deletes them.

use super::{Platform, Stream, key};
use crate::{
    model::{Actor, Answer, Key, Refusal},
    refusals,
};
use kisum_domains::{
    Authority, Role,
    role::{self, ChangeRole, CreateRole, RoleName},
};
use kisum_events::{RoleEvent, RoleId};

impl Platform {
    pub(super) fn create_role(&mut self, actor: Actor, company: usize, name: &str, permissions: &[Key]) -> Answer {
        self.require_superadmin(actor, company)?;
        let grounds = self.grounds(actor, company)?;
        let mut role = Stream::<RoleId, Role>::new(self.new_id());
        let name: RoleName = key(name);
        let claimed = name.claimed();
        let permissions = permissions.iter().map(|text| key(text)).collect();
        let command = CreateRole { company_id: self.firms[company].company.id, name, permissions };
        let events = role::create(&role.state, &self.authority(&grounds, company), command);
        role.write(&events.map_err(refusals::of_role)?);
        let firm = &mut self.firms[company];
        if !firm.names.insert(claimed) {
            return Err(refusals::NAME_TAKEN);
        }
        firm.roles.push(role);
        Ok(())
    }

    pub(super) fn change_role(
        &mut self,
        actor: Actor,
        role: (usize, usize),
        (name, permissions): (Option<&str>, Option<&[Key]>),
    ) -> Answer {
        let permissions = permissions.map(|keys| keys.iter().map(|text| key(text)).collect());
        let command = ChangeRole { name: name.map(key), permissions };
        self.alter_role(actor, role, |state, authority| {
            role::change(state, authority, command.clone()).map_err(refusals::of_role)
        })
    }

    pub(super) fn delete_role(&mut self, actor: Actor, role: (usize, usize)) -> Answer {
        self.alter_role(actor, role, |state, authority| role::delete(state, authority).map_err(refusals::of_role))
    }

    fn alter_role(
        &mut self,
        actor: Actor,
        (company, place): (usize, usize),
        decide: impl Fn(&Role, &Authority<'_>) -> Result<Vec<RoleEvent>, Refusal>,
    ) -> Answer {
        self.require_superadmin(actor, company)?;
        let grounds = self.grounds(actor, company)?;
        let (_, state) = self.role_loaded(company, place);
        if state.company_id != Some(self.firms[company].company.id) {
            return Err(refusals::NOT_FOUND);
        }
        let events = decide(&state, &self.authority(&grounds, company))?;
        let mut after = self.firms[company].roles[place].clone();
        after.write(&events);
        let (had, has) = (state.claimed_name(), after.state.claimed_name());
        let firm = &mut self.firms[company];
        if had != has {
            if has.as_ref().is_some_and(|name| firm.names.contains(name)) {
                return Err(refusals::NAME_TAKEN);
            }
            had.iter().for_each(|name| {
                firm.names.remove(name);
            });
            firm.names.extend(has);
        }
        firm.roles[place] = after;
        Ok(())
    }
}
