//! Members: who they are, of which rank, and what they are granted directly.

use super::{
    Actor, Answer, Key, Member, MemberStatus, NOT_GRANTABLE, Policy, ROLE_TOO_LOW, Rank, Refusal, UNPROCESSABLE, World,
    Wrong, conflict, forbidden, module_exists, module_of, permission_exists,
};
use std::collections::BTreeSet;

impl Member {
    pub(super) const fn new(person: usize, rank: Rank) -> Self {
        Self {
            person,
            rank,
            status: MemberStatus::Active,
            modules: BTreeSet::new(),
            permissions: BTreeSet::new(),
            roles: BTreeSet::new(),
        }
    }
}

impl World {
    pub(super) fn add_member(&mut self, actor: Actor, company: usize, person: usize, rank: Rank) -> Answer {
        let acting = self.acting_at_least(actor, company, Rank::Admin)?;
        self.require_person(person)?;
        if !self.reaches(company, acting, rank) {
            return Err(ROLE_TOO_LOW);
        }
        let Self { companies, .. } = self;
        let is_member = |member: &&Member| member.status != MemberStatus::Revoked;
        let used = companies[company].members.iter().filter(is_member).count();
        if companies[company].seats.is_some_and(|limit| used >= limit) {
            return Err(conflict("limit_reached"));
        }
        let members = &mut companies[company].members;
        if members.iter().filter(is_member).any(|member| member.person == person) {
            return Err(conflict("already_a_member"));
        }
        members.push(Member::new(person, rank));
        Ok(())
    }

    pub(super) fn change_member(
        &mut self,
        actor: Actor,
        company: usize,
        member: usize,
        (rank, suspended): (Option<Rank>, Option<bool>),
    ) -> Answer {
        let acting = self.acting_at_least(actor, company, Rank::Admin)?;
        let mut after = self.member(company, member)?.clone();
        if !self.reaches(company, acting, after.rank) || rank.is_some_and(|rank| !self.reaches(company, acting, rank)) {
            return Err(ROLE_TOO_LOW);
        }
        if let Some(rank) = rank {
            after.rank = rank;
        }
        match suspended {
            Some(true) => after.status = MemberStatus::Suspended,
            Some(false) => after.status = MemberStatus::Active,
            None => {}
        }
        self.replace_member(company, member, after)
    }

    /// *Open*: who is a member no longer is ended again, by whoever could have ended them.
    pub(super) fn end_member(&mut self, actor: Actor, company: usize, member: usize) -> Answer {
        let acting = self.acting_at_least(actor, company, Rank::Admin)?;
        let mut after = self.member_ever(company, member)?.clone();
        if !self.reaches(company, acting, after.rank) {
            return Err(ROLE_TOO_LOW);
        }
        after.status = MemberStatus::Revoked;
        self.replace_member(company, member, after)
    }

    /// "The last superadmin stays." A suspended one cannot act, so the last who can has to.
    fn replace_member(&mut self, company: usize, member: usize, after: Member) -> Answer {
        let leads = |member: &Member| member.rank == Rank::Superadmin && member.status == MemberStatus::Active;
        let members = &self.companies[company].members;
        let others = members.iter().enumerate().filter(|(at, other)| *at != member && leads(other)).count();
        let goes = leads(&members[member]) && !leads(&after);
        if goes && others == 0 && !self.gets_wrong(Wrong::LastSuperadminMayGo) {
            return Err(conflict("last_superadmin"));
        }
        let narrows = after.rank < members[member].rank
            || (after.status != MemberStatus::Active && members[member].status == MemberStatus::Active);
        self.companies[company].members[member] = after;
        if narrows {
            // "When the giver loses … a rank, or their standing".
            self.end_given(company, member, |_| true);
        }
        Ok(())
    }

    /// Who changes what somebody holds: the refusals that do not depend on what it is.
    pub(super) fn reaching(&self, actor: Actor, company: usize, member: usize) -> Result<Option<usize>, Refusal> {
        let acting = self.acting(actor, company)?;
        let target = self.member(company, member)?;
        if !self.reaches(company, acting, target.rank) {
            return Err(ROLE_TOO_LOW);
        }
        Ok(acting)
    }

    /// As [`Self::reaching`], of who gives. *Open*: to somebody who is suspended nothing is given.
    pub(super) fn giving(&self, actor: Actor, company: usize, member: usize) -> Result<Option<usize>, Refusal> {
        let acting = self.reaching(actor, company, member)?;
        match self.member(company, member)?.status {
            MemberStatus::Suspended => Err(conflict("suspended")),
            MemberStatus::Active | MemberStatus::Revoked => Ok(acting),
        }
    }

    /// As [`Self::reaching`], of who takes: "what one may grant one may take back; administrators take anything from lower
    /// roles". *Open*: who may do neither has too low a role for it.
    pub(super) fn taking(
        &self,
        actor: Actor,
        (company, member): (usize, usize),
        may_grant: impl Fn(Option<usize>) -> Answer,
    ) -> Answer {
        let acting = self.reaching(actor, company, member)?;
        let administers = self.rank_of(company, acting).is_none_or(|rank| rank >= Rank::Admin);
        if administers || may_grant(acting).is_ok() { Ok(()) } else { Err(ROLE_TOO_LOW) }
    }

    fn require_module(&self, company: usize, acting: Option<usize>, module: Key) -> Answer {
        if !module_exists(module) {
            return Err(UNPROCESSABLE);
        }
        if !self.owned_at(company, self.now).contains(module) {
            return Err(forbidden("module_not_owned"));
        }
        match acting {
            Some(acting) if !self.grantable_modules_at(company, acting, self.now).contains(module) => {
                Err(NOT_GRANTABLE)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether somebody may grant a permission now: that it exists, is not retired, is owned, and is theirs to give.
    /// *Open*: what is retired is "wrong whatever the state", since it never comes back.
    pub(super) fn require_permission(&self, company: usize, acting: Option<usize>, key: Key) -> Answer {
        if !permission_exists(key) || self.is_retired(key) {
            return Err(UNPROCESSABLE);
        }
        if !self.owned_at(company, self.now).contains(module_of(key)) {
            return Err(forbidden("module_not_owned"));
        }
        match acting {
            Some(acting) if !self.grantable_permissions_at(company, acting, self.now).contains(key) => {
                Err(NOT_GRANTABLE)
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn grant_module(&mut self, actor: Actor, company: usize, member: usize, module: Key) -> Answer {
        let acting = self.giving(actor, company, member)?;
        self.require_module(company, acting, module)?;
        self.companies[company].members[member].modules.insert(module);
        Ok(())
    }

    pub(super) fn revoke_module(&mut self, actor: Actor, company: usize, member: usize, module: Key) -> Answer {
        self.taking(actor, (company, member), |acting| self.require_module(company, acting, module))?;
        self.narrow(company, member, |member| {
            member.modules.remove(module);
        });
        Ok(())
    }

    pub(super) fn grant_permission(&mut self, actor: Actor, company: usize, member: usize, key: Key) -> Answer {
        let acting = self.giving(actor, company, member)?;
        self.require_permission(company, acting, key)?;
        self.companies[company].members[member].permissions.insert(key);
        Ok(())
    }

    pub(super) fn revoke_permission(&mut self, actor: Actor, company: usize, member: usize, key: Key) -> Answer {
        self.taking(actor, (company, member), |acting| self.require_permission(company, acting, key))?;
        self.narrow(company, member, |member| {
            member.permissions.remove(key);
        });
        Ok(())
    }

    /// Takes something from a member; "when the giver loses something of it", what they have passed on ends with it.
    pub(super) fn narrow(&mut self, company: usize, member: usize, take: impl Fn(&mut Member)) {
        let before = self.held(company, member);
        take(&mut self.companies[company].members[member]);
        let after = self.held(company, member);
        self.end_given(company, member, |key| before.contains(key) && !after.contains(key));
    }

    /// "A ceiling set by superadmin or platform; it grants nothing."
    pub(super) fn set_policy(
        &mut self,
        actor: Actor,
        company: usize,
        rank: Rank,
        (modules, permissions): (&[Key], &[Key]),
    ) -> Answer {
        self.acting_at_least(actor, company, Rank::Superadmin)?;
        let known =
            modules.iter().all(|key| module_exists(key)) && permissions.iter().all(|key| permission_exists(key));
        if !known {
            return Err(UNPROCESSABLE);
        }
        let policy =
            Policy { modules: modules.iter().copied().collect(), permissions: permissions.iter().copied().collect() };
        self.companies[company].policies.insert(rank, policy);
        Ok(())
    }
}
