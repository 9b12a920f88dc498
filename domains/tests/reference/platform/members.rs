//! Memberships, as `companies/{alter,members,grants,standing,policy}.rs` change them.

use super::{Grounds, Platform, Stream, key, tenant_role};
use crate::{
    model::{Actor, Answer, Key, Rank, Wish},
    refusals,
};
use kisum_domains::{
    Authority, Membership, Role,
    company::{self, DelegationPolicy},
    membership::{self, ChangeMember, CreateMembership, MembershipStatus},
};
use kisum_events::{MembershipEvent, MembershipId, RoleId, TenantRole, UserId};

type Decision = Result<Vec<MembershipEvent>, crate::model::Refusal>;

impl Platform {
    pub(super) fn member_wish(&mut self, actor: Actor, company: usize, wish: &Wish) -> Answer {
        let grant = refusals::of_grant;
        match wish {
            Wish::AddMember { person, rank } => self.add_member(actor, company, (*person, *rank)),
            Wish::ChangeMember { member, rank, suspended } => {
                self.require_manager(actor, company)?;
                let wanted = ChangeMember { role: rank.map(tenant_role), suspended: *suspended };
                self.alter(actor, (company, *member), None, |state, authority, _| {
                    membership::change(state, authority, wanted).map_err(refusals::of_change)
                })
            }
            Wish::EndMember { member } => {
                self.require_manager(actor, company)?;
                self.alter(actor, (company, *member), None, |state, authority, _| {
                    membership::revoke(state, authority).map_err(refusals::of_change)
                })
            }
            Wish::GrantModule { member, module } => {
                self.alter(actor, (company, *member), None, |state, authority, _| {
                    membership::grant_module(state, authority, &key(module)).map_err(grant)
                })
            }
            Wish::RevokeModule { member, module } => {
                self.alter(actor, (company, *member), None, |state, authority, _| {
                    membership::revoke_module(state, authority, &key(module)).map_err(grant)
                })
            }
            Wish::GrantPermission { member, permission } => {
                self.alter(actor, (company, *member), None, |state, authority, _| {
                    membership::grant_permission(state, authority, &key(permission)).map_err(grant)
                })
            }
            Wish::RevokePermission { member, permission } => {
                self.alter(actor, (company, *member), None, |state, authority, _| {
                    membership::revoke_permission(state, authority, &key(permission)).map_err(grant)
                })
            }
            Wish::AssignRole { member, role } => {
                self.alter(actor, (company, *member), Some(*role), |state, authority, role| {
                    membership::assign_role(state, authority, role).map_err(grant)
                })
            }
            Wish::UnassignRole { member, role } => {
                self.alter(actor, (company, *member), Some(*role), |state, authority, role| {
                    membership::unassign_role(state, authority, role).map_err(grant)
                })
            }
            other => panic!("{other:?} is about no member"),
        }
    }

    fn add_member(&mut self, actor: Actor, company: usize, (person, rank): (usize, Rank)) -> Answer {
        self.require_manager(actor, company)?;
        let grounds = self.grounds(actor, company)?;
        self.require_active(person)?;
        let user = self.people[person].user.id;
        self.create_member(&grounds, company, (user, tenant_role(rank)))
    }

    pub(super) fn create_member(
        &mut self,
        grounds: &Grounds,
        company: usize,
        (user, role): (UserId, TenantRole),
    ) -> Answer {
        let mut member = Stream::<MembershipId, Membership>::new(self.new_id());
        let company_id = self.firms[company].company.id;
        let command = CreateMembership { company_id, user_id: user, role, via: "administrator".to_owned() };
        let events = membership::create(&member.state, &self.authority(grounds, company), command);
        member.write(&events.map_err(refusals::of_change)?);
        let firm = &mut self.firms[company];
        let before = Membership::default();
        let state = &firm.company.state;
        let books = company::follow_membership(state, member.id, &before, &member.state, firm.seat_limit);
        let books = books.map_err(refusals::of_members)?;
        // The claim on being the person's membership decides inside the append, so last.
        if firm.memberships.contains_key(&user) {
            return Err(refusals::ALREADY_A_MEMBER);
        }
        firm.memberships.insert(user, firm.members.len());
        firm.company.write(&books);
        firm.members.push(member);
        Ok(())
    }

    /// A named role as it is loaded by its id: of the company, of another one, or of none.
    pub(super) fn role_loaded(&self, company: usize, place: usize) -> (RoleId, Role) {
        let found = self.firms[company].roles.get(place).or_else(|| {
            let place = place.checked_sub(self.firms[company].roles.len() + 1)?;
            self.firms.get(usize::from(company == 0))?.roles.get(place)
        });
        found.map_or_else(
            || (key("01890000-0000-7000-9000-000000000001"), Role::default()),
            |role| (role.id, role.state.clone()),
        )
    }

    /// A member as they are loaded by their id: of the company, or of another one.
    pub(super) fn member_loaded(&self, company: usize, place: usize) -> Option<(usize, usize)> {
        if place < self.firms[company].members.len() {
            return Some((company, place));
        }
        let (other, place) = (usize::from(company == 0), place - self.firms[company].members.len());
        self.firms.get(other)?.members.get(place).map(|_| (other, place))
    }

    /// As `companies/alter.rs`.
    fn alter(
        &mut self,
        actor: Actor,
        (company, member): (usize, usize),
        role: Option<usize>,
        decide: impl Fn(&Membership, &Authority<'_>, (RoleId, &Role)) -> Decision,
    ) -> Answer {
        let grounds = self.grounds(actor, company)?;
        let (home, member) = self.member_loaded(company, member).ok_or(refusals::NOT_FOUND)?;
        let target = self.firms[home].members[member].clone();
        if target.state.company_id != Some(self.firms[company].company.id) {
            return Err(refusals::NOT_FOUND);
        }
        let role = role.map(|role| self.role_loaded(company, role));
        let (id, about) = role.unwrap_or_else(|| (key("01890000-0000-7000-9000-000000000001"), Role::default()));
        let mut events = decide(&target.state, &self.authority(&grounds, company), (id, &about))?;
        if events.is_empty() {
            return Ok(());
        }
        let ends = self.end_given(company, &target, &events);
        events.extend(ends.of_giver.iter().cloned());
        let mut after = target.clone();
        after.write(&events);
        let firm = &self.firms[company];
        let (before, seats) = (&target.state, firm.seat_limit);
        let books = company::follow_membership(&firm.company.state, target.id, before, &after.state, seats);
        let books = books.map_err(refusals::of_members)?;
        let firm = &mut self.firms[company];
        firm.company.write(&books);
        if let (MembershipStatus::Revoked, Some(user)) = (after.state.status, target.state.user_id) {
            firm.memberships.remove(&user);
        }
        firm.members[member] = after;
        self.write_ends(company, ends);
        Ok(())
    }

    /// As `companies/policy.rs`.
    pub(super) fn set_policy(
        &mut self,
        actor: Actor,
        company: usize,
        rank: Rank,
        (modules, permissions): (&[Key], &[Key]),
    ) -> Answer {
        self.require_superadmin(actor, company)?;
        let grounds = self.grounds(actor, company)?;
        let wanted = DelegationPolicy {
            modules: modules.iter().map(|text| key(text)).collect(),
            permissions: permissions.iter().map(|text| key(text)).collect(),
        };
        let stream = &self.firms[company].company;
        let authority = self.authority(&grounds, company);
        let events = company::set_policy(&stream.state, stream.id, &authority, (tenant_role(rank), wanted));
        let events = events.map_err(refusals::of_policy)?;
        self.firms[company].company.write(&events);
        Ok(())
    }
}
