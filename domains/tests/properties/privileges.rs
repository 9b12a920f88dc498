//! No sequence of commands gives anybody what a superadmin could not have given, by a grant or by a named role, and
//! nobody below superadmin gives what they do not hold, or touches an equal or a higher role.

use crate::story::{MODULES, PERMISSIONS, any_module, any_permission, any_role, company as firm, key, role, user};
use kisum_domains::{
    Authority, Catalog, Company, Holdings, Membership, PermissionStanding, Role,
    company::{self, DelegationPolicy},
    membership,
    role::{self as named, ChangeRole, CreateRole, RoleStatus},
};
use kisum_events::{Aggregate, CompanyEvent, MembershipEvent, ModuleKey, PermissionKey, RoleEvent, RoleId, TenantRole};
use proptest::{
    collection::{btree_set, vec},
    option,
    prelude::*,
    sample::select,
};
use std::collections::{BTreeMap, BTreeSet};

const MEMBERS: u8 = 5;
const ROLES: u8 = 3;

/// What somebody asks for about a member.
#[derive(Clone, Debug)]
enum Wish {
    GrantModule(ModuleKey),
    RevokeModule(ModuleKey),
    GrantPermission(PermissionKey),
    RevokePermission(PermissionKey),
    Assign(u8),
    Unassign(u8),
    ChangeRole(TenantRole),
    Suspend,
    Reactivate,
}

/// What happens next. The platform asks where nobody is named.
#[derive(Clone, Debug)]
enum Step {
    Member {
        by: Option<u8>,
        on: u8,
        wish: Wish,
    },
    MakeRole {
        by: Option<u8>,
        on: u8,
        permissions: BTreeSet<PermissionKey>,
    },
    ChangeRole {
        by: Option<u8>,
        on: u8,
        permissions: BTreeSet<PermissionKey>,
    },
    DeleteRole {
        by: Option<u8>,
        on: u8,
    },
    SetPolicy {
        by: Option<u8>,
        of: TenantRole,
        permissions: BTreeSet<PermissionKey>,
    },
    /// What the company owns from now on.
    Own(BTreeSet<ModuleKey>),
    /// May be granted no longer, or again.
    Turn(PermissionKey),
}

fn any_step() -> impl Strategy<Value = Step> {
    let by = || option::weighted(0.8, 0..MEMBERS);
    let permissions = || btree_set(any_permission(), 0..4);
    let wish = prop_oneof![
        2 => any_module().prop_map(Wish::GrantModule),
        1 => any_module().prop_map(Wish::RevokeModule),
        3 => any_permission().prop_map(Wish::GrantPermission),
        1 => any_permission().prop_map(Wish::RevokePermission),
        4 => (0..ROLES).prop_map(Wish::Assign),
        1 => (0..ROLES).prop_map(Wish::Unassign),
        1 => any_role().prop_map(Wish::ChangeRole),
        1 => select(&[Wish::Suspend, Wish::Reactivate]),
    ];
    let of = select(&[TenantRole::Admin, TenantRole::Manager]);
    prop_oneof![
        12 => (by(), 0..MEMBERS, wish).prop_map(|(by, on, wish)| Step::Member { by, on, wish }),
        2 => (by(), 0..ROLES, permissions()).prop_map(|(by, on, permissions)| Step::MakeRole { by, on, permissions }),
        3 => (by(), 0..ROLES, permissions()).prop_map(|(by, on, permissions)| Step::ChangeRole { by, on, permissions }),
        1 => (by(), 0..ROLES).prop_map(|(by, on)| Step::DeleteRole { by, on }),
        2 => (by(), of, permissions()).prop_map(|(by, of, permissions)| Step::SetPolicy { by, of, permissions }),
        1 => btree_set(any_module(), 0..4).prop_map(Step::Own),
        1 => any_permission().prop_map(Step::Turn),
    ]
}

#[derive(Clone)]
struct World {
    company: Company,
    owned: BTreeSet<ModuleKey>,
    catalog: Catalog,
    members: BTreeMap<u8, Membership>,
    /// Roles of that number, those that were deleted before it included.
    roles: BTreeMap<RoleId, Role>,
    made: u8,
}

impl World {
    /// Everything is owned, may be granted and passed on; there is somebody of every standing.
    fn new() -> Self {
        let modules: BTreeSet<ModuleKey> = MODULES.iter().copied().map(key).collect();
        let permissions = PERMISSIONS.iter().map(|text| (key(text), PermissionStanding::Grantable)).collect();
        let catalog = Catalog { modules: modules.clone(), permissions };
        let registered = CompanyEvent::Registered { slug: key("acme-live"), name: "Acme".into(), owner: user(1) };
        let allowing = |role| CompanyEvent::PolicySet {
            role,
            modules: modules.iter().cloned().collect(),
            permissions: PERMISSIONS.iter().map(|text| key(text)).collect(),
        };
        let history = [registered, allowing(TenantRole::Admin), allowing(TenantRole::Manager)];
        let company = folded(&Company::default(), &history);
        let standings =
            [TenantRole::TenantSuperadmin, TenantRole::Admin, TenantRole::Manager, TenantRole::User, TenantRole::User];
        let members = (0..MEMBERS).zip(standings).map(|(number, tenant_role)| {
            let (company_id, user_id) = (firm(), user(number));
            let mut state = Membership::default();
            state.evolve(&MembershipEvent::Created { company_id, user_id, tenant_role, via: "seed".into() }, 1);
            (number, state)
        });
        Self { company, owned: modules, catalog, members: members.collect(), roles: BTreeMap::new(), made: 0 }
    }

    fn member(&self, number: u8) -> &Membership {
        self.members.get(&number).unwrap_or_else(|| panic!("{number}"))
    }

    /// The newest role in a place; no role ever comes back.
    fn role_id(&self, place: u8) -> RoleId {
        let newest =
            (0..=self.made).rev().find(|number| number % ROLES == place && self.roles.contains_key(&role(*number)));
        role(newest.unwrap_or(u8::MAX))
    }

    fn authority<'a>(&'a self, by: Option<u8>) -> Authority<'a> {
        let Some(acting) = by.and_then(|number| self.members.get(&number)) else {
            return Authority::platform(&self.owned, &self.catalog);
        };
        let holdings = Holdings::of(acting, self.roles.iter().map(|(id, state)| (*id, state)));
        Authority::member((holdings, &self.company), &self.owned, &self.catalog)
    }

    /// Carries a step out as a service does; whether the rules allowed it.
    fn execute(&mut self, step: &Step) -> bool {
        match step {
            Step::Member { by, on, wish } => {
                let state = self.member(*on);
                let Some(events) = self.decide(state, &self.authority(*by), wish) else { return false };
                let state = folded(state, &events);
                self.members.insert(*on, state);
            }
            Step::MakeRole { by, on, permissions } => {
                let number = (self.made / ROLES + 1) * ROLES + on;
                let command = CreateRole { company_id: firm(), name: key("r"), permissions: permissions.clone() };
                let decided = named::create(&Role::default(), &self.authority(*by), command);
                let Ok(events) = decided else { return false };
                self.made = number;
                self.roles.insert(role(number), folded(&Role::default(), &events));
            }
            Step::ChangeRole { by, on, permissions } => {
                let command = ChangeRole { name: None, permissions: Some(permissions.clone()) };
                return self.alter(*on, |world, state| named::change(state, &world.authority(*by), command).ok());
            }
            Step::DeleteRole { by, on } => {
                return self.alter(*on, |world, state| named::delete(state, &world.authority(*by)).ok());
            }
            Step::SetPolicy { by, of, permissions } => {
                let modules = MODULES.iter().copied().map(key).collect();
                let wanted = DelegationPolicy { modules, permissions: permissions.clone() };
                let decided = company::set_policy(&self.company, firm(), &self.authority(*by), (*of, wanted));
                let Ok(events) = decided else { return false };
                self.company = folded(&self.company, &events);
            }
            Step::Own(modules) => self.owned.clone_from(modules),
            Step::Turn(permission) => {
                let standing = self.catalog.permissions.get_mut(permission).unwrap_or_else(|| panic!("{permission}"));
                *standing = match standing {
                    PermissionStanding::Grantable => PermissionStanding::Retired,
                    PermissionStanding::Retired => PermissionStanding::Grantable,
                };
            }
        }
        true
    }

    fn alter(&mut self, on: u8, decide: impl FnOnce(&Self, &Role) -> Option<Vec<RoleEvent>>) -> bool {
        let id = self.role_id(on);
        let state = self.roles.get(&id).cloned().unwrap_or_default();
        let Some(events) = decide(self, &state) else { return false };
        self.roles.insert(id, folded(&state, &events));
        true
    }

    fn decide(&self, state: &Membership, by: &Authority<'_>, wish: &Wish) -> Option<Vec<MembershipEvent>> {
        let named = |place: u8| {
            let id = self.role_id(place);
            (id, self.roles.get(&id).cloned().unwrap_or_default())
        };
        match wish {
            Wish::GrantModule(module) => membership::grant_module(state, by, module).ok(),
            Wish::RevokeModule(module) => membership::revoke_module(state, by, module).ok(),
            Wish::GrantPermission(permission) => membership::grant_permission(state, by, permission).ok(),
            Wish::RevokePermission(permission) => membership::revoke_permission(state, by, permission).ok(),
            Wish::Assign(place) => {
                let (id, named) = named(*place);
                membership::assign_role(state, by, (id, &named)).ok()
            }
            Wish::Unassign(place) => {
                let (id, named) = named(*place);
                membership::unassign_role(state, by, (id, &named)).ok()
            }
            Wish::ChangeRole(to) => membership::change_role(state, by, *to).ok(),
            Wish::Suspend => membership::suspend(state, by).ok(),
            Wish::Reactivate => membership::reactivate(state, by).ok(),
        }
    }

    /// Straight from the definition: what was granted, and what the live roles give that were assigned.
    fn permissions(&self, number: u8) -> BTreeSet<PermissionKey> {
        let member = self.member(number);
        let mut held: BTreeSet<_> = member.permissions.keys().cloned().collect();
        for (id, role) in &self.roles {
            if member.roles.contains_key(id) && role.status == RoleStatus::Live {
                held.extend(role.permissions.keys().cloned());
            }
        }
        held
    }

    fn is_grantable(&self, permission: &PermissionKey) -> bool {
        self.owned.contains(&permission.module())
            && self.catalog.permissions.get(permission) == Some(&PermissionStanding::Grantable)
    }

    /// Contract: what they hold at that moment ∩ the policy of their role.
    fn may_give(&self, by: u8, permission: &PermissionKey) -> bool {
        let member = self.member(by);
        member.role == TenantRole::TenantSuperadmin
            || (self.permissions(by).contains(permission)
                && member.modules.contains_key(&permission.module())
                && self.company.policy(member.role).permissions.contains(permission))
    }
}

fn folded<A: Aggregate>(state: &A, events: &[A::Event]) -> A {
    let mut state = state.clone();
    for event in events {
        state.evolve(event, 1);
    }
    state
}

/// Who acts, where it is a member.
fn actor(step: &Step) -> Option<u8> {
    match step {
        Step::Member { by, .. }
        | Step::MakeRole { by, .. }
        | Step::ChangeRole { by, .. }
        | Step::DeleteRole { by, .. }
        | Step::SetPolicy { by, .. } => *by,
        Step::Own(_) | Step::Turn(_) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nobody_ever_holds_what_a_superadmin_could_not_have_given(steps in vec(any_step(), 0..80)) {
        let mut world = World::new();
        for step in steps {
            let before = world.clone();
            let is_done = world.execute(&step);
            for number in 0..MEMBERS {
                let had = before.permissions(number);
                for gained in world.permissions(number).difference(&had) {
                    prop_assert!(is_done && before.is_grantable(gained), "{step:?}: {gained}");
                    let by = actor(&step);
                    prop_assert!(by.is_none_or(|by| before.may_give(by, gained)), "{step:?}: {gained}");
                }
            }
        }
    }

    #[test]
    fn nobody_below_superadmin_touches_an_equal_or_higher_role_or_a_named_one(steps in vec(any_step(), 0..80)) {
        let mut world = World::new();
        for step in steps {
            let before = world.clone();
            world.execute(&step);
            let Some(by) = actor(&step) else { continue };
            let acting = &before.members[&by];
            let leads = acting.is_active() && acting.role == TenantRole::TenantSuperadmin;
            for number in 0..MEMBERS {
                let (was, is) = (&before.members[&number], &world.members[&number]);
                let reaches = leads || (acting.is_active() && was.role < acting.role && is.role < acting.role);
                prop_assert!(was == is || reaches, "{step:?}");
            }
            prop_assert!(leads || (before.roles == world.roles && before.company == world.company), "{step:?}");
        }
    }
}
