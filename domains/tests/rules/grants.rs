//! Rules of granting and taking back modules and permissions.

use crate::given::{catalog, company, given, key, keys, user};
use kisum_domains::{
    Authority, Catalog, Company, Holdings, Membership,
    authority::{GrantRefused, Refused},
    membership::{self, Grant, GrantError},
};
use kisum_events::{CompanyEvent, DelegationRights, MembershipEvent, ModuleKey, TenantRole};
use std::collections::BTreeSet;

fn created(role: TenantRole) -> MembershipEvent {
    MembershipEvent::Created { company_id: company(1), user_id: user(1), tenant_role: role, via: "seed".into() }
}

fn module_granted(module: &str) -> MembershipEvent {
    MembershipEvent::ModuleGranted { module: key(module) }
}

fn permission_granted(permission: &str) -> MembershipEvent {
    MembershipEvent::PermissionGranted { permission: key(permission) }
}

fn member(role: TenantRole, grants: impl IntoIterator<Item = MembershipEvent>) -> Membership {
    given::<Membership>([created(role)].into_iter().chain(grants)).state
}

/// The company of these stories owns Basic and Finance.
struct Owned {
    modules: BTreeSet<ModuleKey>,
    catalog: Catalog,
    company: Company,
}

fn owned() -> Owned {
    Owned { modules: keys(&["basic", "finance"]), catalog: catalog(), company: Company::default() }
}

impl Owned {
    fn by<'a>(&'a self, acting: &'a Membership) -> Authority<'a> {
        Authority::member((Holdings::of(acting, []), &self.company), &self.modules, &self.catalog)
    }

    fn by_platform(&self) -> Authority<'_> {
        Authority::platform(&self.modules, &self.catalog)
    }
}

#[test]
fn a_superadmin_grants_everything_the_company_owns_himself_included() {
    let owned = owned();
    let superadmin = member(TenantRole::TenantSuperadmin, []);
    for role in [TenantRole::User, TenantRole::Admin, TenantRole::TenantSuperadmin] {
        given::<Membership>([created(role)])
            .when(|state| membership::grant_module(state, &owned.by(&superadmin), &key("finance")))
            .then([module_granted("finance")]);
        given::<Membership>([created(role)])
            .when(|state| membership::grant_permission(state, &owned.by(&superadmin), &key("finance.bills.read")))
            .then([permission_granted("finance.bills.read")]);
    }
}

#[test]
fn nobody_grants_what_the_company_does_not_own() {
    let owned = owned();
    let superadmin = member(TenantRole::TenantSuperadmin, []);
    for by in [owned.by(&superadmin), owned.by_platform()] {
        let refused = GrantError::Grant(GrantRefused::ModuleNotOwned { module: key("market") });
        given::<Membership>([created(TenantRole::User)])
            .when(|state| membership::grant_module(state, &by, &key("market")))
            .refused(refused.clone());
        given::<Membership>([created(TenantRole::User)])
            .when(|state| membership::grant_permission(state, &by, &key("market.contracts.read")))
            .refused(refused);
    }
}

#[test]
fn nobody_grants_what_the_catalog_does_not_have_or_has_retired() {
    let owned = owned();
    let by = owned.by_platform();
    given::<Membership>([created(TenantRole::User)])
        .when(|state| membership::grant_module(state, &by, &key("casino")))
        .refused(GrantError::Grant(GrantRefused::UnknownModule { module: key("casino") }));
    let unknown = key("finance.bills.burn");
    given::<Membership>([created(TenantRole::User)])
        .when(|state| membership::grant_permission(state, &by, &unknown))
        .refused(GrantError::Grant(GrantRefused::UnknownPermission { permission: unknown.clone() }));
    let retired = key("basic.notes.read");
    given::<Membership>([created(TenantRole::User)])
        .when(|state| membership::grant_permission(state, &by, &retired))
        .refused(GrantError::Grant(GrantRefused::RetiredPermission { permission: retired.clone() }));
}

#[test]
fn without_a_delegation_policy_nobody_below_superadmin_grants_even_what_they_hold() {
    let owned = owned();
    for role in [TenantRole::Admin, TenantRole::Manager] {
        let actor = member(role, [module_granted("finance"), permission_granted("finance.bills.read")]);
        given::<Membership>([created(TenantRole::User)])
            .when(|state| membership::grant_module(state, &owned.by(&actor), &key("finance")))
            .refused(GrantError::Grant(GrantRefused::NotGrantable { what: "finance".into() }));
        given::<Membership>([created(TenantRole::User)])
            .when(|state| membership::grant_permission(state, &owned.by(&actor), &key("finance.bills.read")))
            .refused(GrantError::Grant(GrantRefused::NotGrantable { what: "finance.bills.read".into() }));
    }
}

/// The company, whose managers may grant that at most.
fn with_policy(permissions: &[&str]) -> Owned {
    let (modules, permissions) = (vec![key("finance")], permissions.iter().map(|text| key(text)).collect());
    let policy = CompanyEvent::PolicySet { role: TenantRole::Manager, modules, permissions };
    Owned { company: given([policy]).state, ..owned() }
}

/// Contract, *Who owns what*: what they hold at that moment ∩ the policy of their role, only to lower roles.
#[test]
fn below_superadmin_one_grants_and_takes_what_one_holds_and_the_policy_of_one_s_role_allows() {
    let (read, create) = ("finance.bills.read", "finance.bills.create");
    let refused = |what: &str| GrantError::Grant(GrantRefused::NotGrantable { what: what.into() });
    let manager = member(TenantRole::Manager, [module_granted("finance"), permission_granted(read)]);
    let company = with_policy(&[read, create]);
    let by = company.by(&manager);
    given::<Membership>([created(TenantRole::User)])
        .when(|state| membership::grant_permission(state, &by, &key(read)))
        .then([permission_granted(read)]);
    given::<Membership>([created(TenantRole::User)])
        .when(|state| membership::grant_module(state, &by, &key("finance")))
        .then([module_granted("finance")]);
    given::<Membership>([created(TenantRole::User), permission_granted(read)])
        .when(|state| membership::revoke_permission(state, &by, &key(read)))
        .then([MembershipEvent::PermissionRevoked { permission: key(read) }]);
    let rights = by.rights();
    assert_eq!((rights.grantable_modules, rights.grantable_permissions), (vec![key("finance")], vec![key(read)]));

    // Not held; held and not in the policy; held and of no use, since its module is not granted; another role's policy.
    let without_module = member(TenantRole::Manager, [permission_granted(read)]);
    let admin = member(TenantRole::Admin, [module_granted("finance"), permission_granted(read)]);
    let other = with_policy(&[create]);
    for (by, what) in [
        (by.clone(), create),
        (other.by(&manager), read),
        (company.by(&without_module), read),
        (company.by(&admin), read),
    ] {
        given::<Membership>([created(TenantRole::User)])
            .when(|state| membership::grant_permission(state, &by, &key(what)))
            .refused(refused(what));
    }
    given::<Membership>([created(TenantRole::User), permission_granted(create)])
        .when(|state| membership::revoke_permission(state, &by, &key(create)))
        .refused(GrantError::Refused(Refused::RoleTooLow));
    for equal_or_higher in [TenantRole::Manager, TenantRole::Admin] {
        given::<Membership>([created(equal_or_higher)])
            .when(|state| membership::grant_permission(state, &by, &key(read)))
            .refused(GrantError::Refused(Refused::RoleTooLow));
    }
}

#[test]
fn rank_is_asked_before_anything_else() {
    let owned = owned();
    for (actor, target) in [
        (TenantRole::Admin, TenantRole::Admin),
        (TenantRole::Manager, TenantRole::TenantSuperadmin),
        (TenantRole::User, TenantRole::User),
    ] {
        let actor = member(actor, []);
        given::<Membership>([created(target)])
            .when(|state| membership::grant_module(state, &owned.by(&actor), &key("market")))
            .refused(GrantError::Refused(Refused::RoleTooLow));
        given::<Membership>([created(target), MembershipEvent::Suspended])
            .when(|state| membership::grant_permission(state, &owned.by(&actor), &key("no.such.key")))
            .refused(GrantError::Refused(Refused::RoleTooLow));
    }
}

#[test]
fn what_is_held_is_granted_without_an_event_and_keeps_its_origin() {
    let owned = owned();
    let by = owned.by_platform();
    let history = [created(TenantRole::User), module_granted("finance"), permission_granted("finance.bills.read")];
    given::<Membership>(history.clone())
        .when(|state| membership::grant_module(state, &by, &key("finance")))
        .then_nothing();
    given::<Membership>(history.clone())
        .when(|state| membership::grant_permission(state, &by, &key("finance.bills.read")))
        .then_nothing();
    let state = given::<Membership>(history).state;
    assert_eq!(state.modules.get(&key("finance")), Some(&Grant { version: 2 }));
    assert_eq!(state.permissions.get(&key("finance.bills.read")), Some(&Grant { version: 3 }));
}

#[test]
fn nothing_is_granted_to_who_may_not_act() {
    let owned = owned();
    let by = owned.by_platform();
    given::<Membership>([created(TenantRole::User), MembershipEvent::Suspended])
        .when(|state| membership::grant_module(state, &by, &key("finance")))
        .refused(GrantError::NotActive);
    given::<Membership>([created(TenantRole::User), MembershipEvent::Revoked])
        .when(|state| membership::grant_module(state, &by, &key("finance")))
        .refused(GrantError::NotAMember);
    given::<Membership>([])
        .when(|state| membership::grant_permission(state, &by, &key("finance.bills.read")))
        .refused(GrantError::NotAMember);
}

#[test]
fn taking_back_needs_no_ownership_since_a_dormant_grant_would_revive() {
    let owned = owned();
    let by = owned.by_platform();
    let history = [created(TenantRole::User), module_granted("market"), permission_granted("market.contracts.read")];
    given::<Membership>(history.clone())
        .when(|state| membership::revoke_module(state, &by, &key("market")))
        .then([MembershipEvent::ModuleRevoked { module: key("market") }]);
    given::<Membership>(history)
        .when(|state| membership::revoke_permission(state, &by, &key("market.contracts.read")))
        .then([MembershipEvent::PermissionRevoked { permission: key("market.contracts.read") }]);
}

#[test]
fn what_is_not_held_is_taken_back_without_an_event() {
    let owned = owned();
    let by = owned.by_platform();
    given::<Membership>([created(TenantRole::User)])
        .when(|state| membership::revoke_module(state, &by, &key("finance")))
        .then_nothing();
    given::<Membership>([created(TenantRole::User)])
        .when(|state| membership::revoke_permission(state, &by, &key("finance.bills.read")))
        .then_nothing();
}

#[test]
fn an_administrator_takes_back_from_lower_roles_and_a_manager_from_nobody() {
    let owned = owned();
    let admin = member(TenantRole::Admin, []);
    let manager = member(TenantRole::Manager, []);
    let history = [created(TenantRole::User), module_granted("finance")];
    given::<Membership>(history.clone())
        .when(|state| membership::revoke_module(state, &owned.by(&admin), &key("finance")))
        .then([MembershipEvent::ModuleRevoked { module: key("finance") }]);
    given::<Membership>(history)
        .when(|state| membership::revoke_module(state, &owned.by(&manager), &key("finance")))
        .refused(GrantError::Refused(Refused::RoleTooLow));
    given::<Membership>([created(TenantRole::Admin)])
        .when(|state| membership::revoke_permission(state, &owned.by(&admin), &key("finance.bills.read")))
        .refused(GrantError::Refused(Refused::RoleTooLow));
    given::<Membership>([])
        .when(|state| membership::revoke_permission(state, &owned.by(&admin), &key("finance.bills.read")))
        .refused(GrantError::NotAMember);
}

#[test]
fn a_taken_back_grant_is_gone_from_the_state() {
    let state = member(
        TenantRole::User,
        [
            module_granted("finance"),
            permission_granted("finance.bills.read"),
            MembershipEvent::ModuleRevoked { module: key("finance") },
            MembershipEvent::PermissionRevoked { permission: key("finance.bills.read") },
        ],
    );
    assert!(state.modules.is_empty() && state.permissions.is_empty());
}

#[test]
fn the_lists_of_a_superadmin_are_what_the_company_owns_and_the_catalog_lets_be_granted() {
    let owned = owned();
    let rights = owned.by(&member(TenantRole::TenantSuperadmin, [])).rights();
    let expected = DelegationRights {
        can_manage_users: true,
        can_buy_addons: true,
        grantable_modules: vec![key("basic"), key("finance")],
        grantable_permissions: vec![key("basic.events.read"), key("finance.bills.create"), key("finance.bills.read")],
    };
    assert_eq!(rights, expected);
}

#[test]
fn the_lists_of_everybody_else_are_empty_without_a_policy() {
    let owned = owned();
    for (role, can_manage_users) in [(TenantRole::Admin, true), (TenantRole::Manager, false), (TenantRole::User, false)]
    {
        let rights = owned.by(&member(role, [module_granted("finance")])).rights();
        assert_eq!(rights, DelegationRights { can_manage_users, ..DelegationRights::default() });
    }
}
