//! What somebody may do in a company at an instant, and until when that stays so by itself.

use super::{CATALOG, Company, Instant, Key, MemberStatus, Rank, World, Wrong, module_of};
use std::collections::BTreeSet;

/// The parts of `GET /auth/me/access` that a rule decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) rank: Rank,
    pub(crate) core_app_visible: bool,
    pub(crate) owned: BTreeSet<Key>,
    pub(crate) modules: BTreeSet<Key>,
    pub(crate) permissions: BTreeSet<Key>,
    pub(crate) can_manage_users: bool,
    pub(crate) can_buy_addons: bool,
    pub(crate) grantable_modules: BTreeSet<Key>,
    pub(crate) grantable_permissions: BTreeSet<Key>,
    pub(crate) valid_until: Option<Instant>,
}

impl World {
    /// What a person may do in a company, or the outcome that says that they may do nothing.
    pub(crate) fn context(&self, person: usize, company: usize) -> Result<Context, &'static str> {
        let member = self.admitted(person, company)?;
        let mut context = self.context_at(company, member, self.now);
        context.valid_until = self.valid_until(company, member, &context.owned);
        Ok(context)
    }

    /// "The next instant at which anything of this changes by itself": when other modules are owned, or something that was
    /// passed on begins or is over. *Open*: that counts even while it is worth nothing, so that an answer may be asked for
    /// anew too early, and never too late.
    fn valid_until(&self, company: usize, member: usize, owned: &BTreeSet<Key>) -> Option<Instant> {
        let Company { terms, delegations, .. } = &self.companies[company];
        let bought = terms.iter().flat_map(|(_, from, until)| std::iter::once(*from).chain(*until));
        let bought = bought.filter(|at| *at > self.now && self.owned_at(company, *at) != *owned);
        let received = delegations.iter().filter(|one| one.to == member && !one.ended);
        let received = received.flat_map(|one| [one.valid_from, one.valid_until]).filter(|at| *at > self.now);
        bought.chain(received).min()
    }

    fn context_at(&self, company: usize, member: usize, at: Instant) -> Context {
        let rank = self.companies[company].members[member].rank;
        let owned = self.owned_at(company, at);
        Context {
            rank,
            core_app_visible: owned.contains("basic"),
            modules: self.companies[company].members[member].modules.intersection(&owned).copied().collect(),
            permissions: self.usable_at(company, member, at),
            can_manage_users: rank >= Rank::Admin,
            can_buy_addons: rank == Rank::Superadmin,
            grantable_modules: self.grantable_modules_at(company, member, at),
            grantable_permissions: self.grantable_permissions_at(company, member, at),
            owned,
            valid_until: None,
        }
    }

    pub(super) fn owned_at(&self, company: usize, at: Instant) -> BTreeSet<Key> {
        let terms = self.companies[company].terms.iter();
        terms
            .filter(|(_, from, until)| {
                *from <= at && until.is_none_or(|until| at < until || self.gets_wrong(Wrong::LostModulesGoOnCounting))
            })
            .map(|(module, ..)| *module)
            .collect()
    }

    /// Every permission that was given for good, whether or not it is worth anything: directly, or by a named role.
    pub(super) fn given(&self, company: usize, member: usize) -> BTreeSet<Key> {
        let of = &self.companies[company];
        let mut given = of.members[member].permissions.clone();
        for role in &of.members[member].roles {
            let role = &of.roles[*role];
            if !role.deleted || self.gets_wrong(Wrong::DeletedRolesGoOnGiving) {
                given.extend(&role.permissions);
            }
        }
        given
    }

    /// What was given for good, of modules that were, too: dormant only where the company does not own the module.
    pub(super) fn held(&self, company: usize, member: usize) -> BTreeSet<Key> {
        let modules = &self.companies[company].members[member].modules;
        self.given(company, member).into_iter().filter(|permission| modules.contains(module_of(permission))).collect()
    }

    /// "Usable = the company owns it *and* the membership is granted it", of what was given for good.
    pub(super) fn own_at(&self, company: usize, member: usize, at: Instant) -> BTreeSet<Key> {
        let usable = self.usable_modules_at(company, member, at);
        self.given(company, member).into_iter().filter(|permission| usable.contains(module_of(permission))).collect()
    }

    fn usable_modules_at(&self, company: usize, member: usize, at: Instant) -> BTreeSet<Key> {
        let owned = self.owned_at(company, at);
        self.companies[company].members[member].modules.intersection(&owned).copied().collect()
    }

    /// One's own, and what delegations are worth: "what its giver can use at each moment by what they were given for
    /// good"; "the receiver needs the module themselves".
    fn usable_at(&self, company: usize, member: usize, at: Instant) -> BTreeSet<Key> {
        let modules = self.usable_modules_at(company, member, at);
        let mut usable = self.own_at(company, member, at);
        for delegation in &self.companies[company].delegations {
            let over = delegation.ended
                || (at >= delegation.valid_until && !self.gets_wrong(Wrong::DelegationsOutliveTheirTerms));
            if delegation.to != member || over || at < delegation.valid_from {
                continue;
            }
            let giver = &self.companies[company].members[delegation.from];
            if giver.status != MemberStatus::Active || self.suspended[giver.person] {
                continue;
            }
            let worth = self.own_at(company, delegation.from, at);
            let passed = delegation.permissions.intersection(&worth).copied();
            usable.extend(passed.filter(|permission| modules.contains(module_of(permission))));
        }
        usable
    }

    /// "Superadmins grant whatever the company owns. Everybody else grants what they hold and can use, … and only within
    /// the delegation policy of their role."
    pub(super) fn grantable_modules_at(&self, company: usize, member: usize, at: Instant) -> BTreeSet<Key> {
        let of = &self.companies[company];
        let rank = of.members[member].rank;
        match rank {
            Rank::Superadmin => self.owned_at(company, at),
            Rank::Admin | Rank::Manager => {
                let usable = self.usable_modules_at(company, member, at);
                let policy = of.policies.get(&rank).cloned().unwrap_or_default();
                let no_ceiling = self.gets_wrong(Wrong::PolicyIsNoCeiling);
                usable.into_iter().filter(|module| no_ceiling || policy.modules.contains(module)).collect()
            }
            Rank::User => BTreeSet::new(),
        }
    }

    /// Likewise. "A retired key is only no longer grantable."
    pub(super) fn grantable_permissions_at(&self, company: usize, member: usize, at: Instant) -> BTreeSet<Key> {
        let of = &self.companies[company];
        let rank = of.members[member].rank;
        let within: BTreeSet<Key> = match rank {
            Rank::Superadmin => {
                let owned = self.owned_at(company, at);
                let keys = CATALOG.iter().filter(|(module, _)| owned.contains(module));
                keys.flat_map(|(_, permissions)| permissions.iter().copied()).collect()
            }
            Rank::Admin | Rank::Manager => {
                let held = if self.gets_wrong(Wrong::ReceivedIsPassedOn) {
                    self.usable_at(company, member, at)
                } else {
                    self.own_at(company, member, at)
                };
                let policy = of.policies.get(&rank).cloned().unwrap_or_default();
                let no_ceiling = self.gets_wrong(Wrong::PolicyIsNoCeiling);
                held.into_iter().filter(|key| no_ceiling || policy.permissions.contains(key)).collect()
            }
            Rank::User => BTreeSet::new(),
        };
        within.into_iter().filter(|key| !self.is_retired(key)).collect()
    }

    /// What a member can use and may grant now.
    pub(super) fn passes_on(&self, company: usize, member: usize) -> Vec<Key> {
        let grantable = self.grantable_permissions_at(company, member, self.now);
        self.own_at(company, member, self.now).into_iter().filter(|key| grantable.contains(key)).collect()
    }

    pub(super) fn is_retired(&self, permission: Key) -> bool {
        self.retired.contains(permission) && !self.gets_wrong(Wrong::RetiredKeysAreGrantable)
    }
}
