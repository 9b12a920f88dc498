//! Rules of adding, changing and ending members: who may do it to whom.

use crate::given::{catalog, company, given, keys, user};
use kisum_domains::{
    Authority, Catalog, Company, Holdings, Membership,
    authority::Refused,
    membership::{self, ChangeMembershipError, CreateMembership, MembershipStatus},
};
use kisum_events::{MembershipEvent, ModuleKey, TenantRole};
use std::collections::BTreeSet;

const ROLES: [TenantRole; 4] = [TenantRole::User, TenantRole::Manager, TenantRole::Admin, TenantRole::TenantSuperadmin];

fn created(number: u8, role: TenantRole) -> MembershipEvent {
    MembershipEvent::Created {
        company_id: company(number),
        user_id: user(1),
        tenant_role: role,
        via: "administrator".into(),
    }
}

fn newcomer(role: TenantRole) -> CreateMembership {
    CreateMembership { company_id: company(1), user_id: user(1), role, via: "administrator".into() }
}

fn member_of(number: u8, role: TenantRole) -> Membership {
    given::<Membership>([created(number, role)]).state
}

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

const fn refused(refused: Refused) -> ChangeMembershipError {
    ChangeMembershipError::Refused(refused)
}

/// Whom somebody of `acting` may manage, by the contract: a superadmin everybody, an administrator lower roles.
fn manages(acting: TenantRole, target: TenantRole) -> bool {
    match acting {
        TenantRole::TenantSuperadmin => true,
        TenantRole::Admin => target < TenantRole::Admin,
        TenantRole::Manager | TenantRole::User => false,
    }
}

#[test]
fn every_role_manages_exactly_whom_the_contract_says() {
    let owned = owned();
    for acting in ROLES {
        for target in ROLES {
            let actor = member_of(1, acting);
            let state = member_of(1, target);
            let answers = [
                membership::create(&Membership::default(), &owned.by(&actor), newcomer(target)).err(),
                membership::suspend(&state, &owned.by(&actor)).err(),
                membership::reactivate(&state, &owned.by(&actor)).err(),
                membership::revoke(&state, &owned.by(&actor)).err(),
                membership::change_role(&state, &owned.by(&actor), target).err(),
            ];
            let expected = (!manages(acting, target)).then_some(refused(Refused::RoleTooLow));
            assert_eq!(answers, [expected; 5], "{acting:?} on {target:?}");
        }
    }
}

#[test]
fn nobody_is_raised_to_a_role_that_the_acting_member_could_not_give() {
    let owned = owned();
    let admin = member_of(1, TenantRole::Admin);
    for to in [TenantRole::Admin, TenantRole::TenantSuperadmin] {
        given::<Membership>([created(1, TenantRole::User)])
            .when(|state| membership::change_role(state, &owned.by(&admin), to))
            .refused(refused(Refused::RoleTooLow));
    }
    given::<Membership>([created(1, TenantRole::User)])
        .when(|state| membership::change_role(state, &owned.by(&admin), TenantRole::Manager))
        .then([MembershipEvent::TenantRoleChanged { from: TenantRole::User, to: TenantRole::Manager }]);
}

#[test]
fn the_platform_makes_the_first_superadmin() {
    let owned = owned();
    given::<Membership>([])
        .when(|state| membership::create(state, &owned.by_platform(), newcomer(TenantRole::TenantSuperadmin)))
        .then([created(1, TenantRole::TenantSuperadmin)]);
}

#[test]
fn a_member_of_another_company_is_nobody_here() {
    let owned = owned();
    let stranger = member_of(2, TenantRole::TenantSuperadmin);
    given::<Membership>([created(1, TenantRole::User)])
        .when(|state| membership::revoke(state, &owned.by(&stranger)))
        .refused(refused(Refused::OtherCompany));
    given::<Membership>([])
        .when(|state| membership::create(state, &owned.by(&stranger), newcomer(TenantRole::User)))
        .refused(refused(Refused::OtherCompany));
}

#[test]
fn who_is_suspended_or_no_member_acts_no_more() {
    let owned = owned();
    let superadmin = created(1, TenantRole::TenantSuperadmin);
    let suspended = given::<Membership>([superadmin.clone(), MembershipEvent::Suspended]).state;
    let revoked = given::<Membership>([superadmin, MembershipEvent::Revoked]).state;
    for actor in [suspended, revoked, Membership::default()] {
        given::<Membership>([created(1, TenantRole::User)])
            .when(|state| membership::suspend(state, &owned.by(&actor)))
            .refused(refused(Refused::ActorNotActive));
    }
}

#[test]
fn a_membership_is_created_once_and_never_again_after_it_was_revoked() {
    let owned = owned();
    for history in [vec![created(1, TenantRole::User)], vec![created(1, TenantRole::User), MembershipEvent::Revoked]] {
        given::<Membership>(history)
            .when(|state| membership::create(state, &owned.by_platform(), newcomer(TenantRole::User)))
            .refused(ChangeMembershipError::AlreadyExists);
    }
}

#[test]
fn suspending_and_reactivating_happen_once() {
    let owned = owned();
    let user = created(1, TenantRole::User);
    let suspended = [user.clone(), MembershipEvent::Suspended];
    given::<Membership>([user.clone()])
        .when(|state| membership::suspend(state, &owned.by_platform()))
        .then([MembershipEvent::Suspended]);
    given::<Membership>(suspended.clone())
        .when(|state| membership::suspend(state, &owned.by_platform()))
        .then_nothing();
    given::<Membership>(suspended)
        .when(|state| membership::reactivate(state, &owned.by_platform()))
        .then([MembershipEvent::Reactivated]);
    given::<Membership>([user]).when(|state| membership::reactivate(state, &owned.by_platform())).then_nothing();
}

#[test]
fn revoking_ends_the_membership_with_everything_in_it() {
    let owned = owned();
    let granted = MembershipEvent::ModuleGranted { module: crate::given::key("finance") };
    let history = [created(1, TenantRole::User), granted, MembershipEvent::Revoked];
    given::<Membership>(history[..2].to_vec())
        .when(|state| membership::revoke(state, &owned.by_platform()))
        .then([MembershipEvent::Revoked]);
    let state = given::<Membership>(history.clone()).state;
    assert_eq!(state.status, MembershipStatus::Revoked);
    assert!(state.modules.is_empty());
    given::<Membership>(history).when(|state| membership::revoke(state, &owned.by_platform())).then_nothing();
}

#[test]
fn a_revoked_or_unknown_membership_is_not_changed() {
    let owned = owned();
    let revoked = given::<Membership>([created(1, TenantRole::User), MembershipEvent::Revoked]).state;
    for state in [revoked, Membership::default()] {
        let by = owned.by_platform();
        let answers = [
            membership::suspend(&state, &by).err(),
            membership::reactivate(&state, &by).err(),
            membership::change_role(&state, &by, TenantRole::Admin).err(),
        ];
        assert_eq!(answers, [Some(ChangeMembershipError::NotAMember); 3]);
    }
    given::<Membership>([])
        .when(|state| membership::revoke(state, &owned.by_platform()))
        .refused(ChangeMembershipError::NotAMember);
}

#[test]
fn the_same_role_twice_is_once() {
    let owned = owned();
    given::<Membership>([created(1, TenantRole::Manager)])
        .when(|state| membership::change_role(state, &owned.by_platform(), TenantRole::Manager))
        .then_nothing();
}
