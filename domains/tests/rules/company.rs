//! Rules of a company, and of what holds across its memberships.

use crate::given::{catalog, company as firm, given, key, keys, member, user};
use kisum_domains::{
    Authority, Holdings, Membership,
    authority::{GrantRefused, Refused},
    company::{
        self, Company, CompanyStandingError, CompanyStatus, DelegationPolicy, MembersError, RegisterCompany,
        RegisterCompanyError, SetPolicyError,
    },
};
use kisum_events::{CompanyEvent, MembershipEvent, TenantRole};
use std::collections::BTreeSet;

fn registered() -> CompanyEvent {
    CompanyEvent::Registered { slug: key("acme-live"), name: "Acme Live".into(), owner: user(1) }
}

fn acme() -> RegisterCompany {
    RegisterCompany { slug: key("acme-live"), name: "Acme Live".into(), owner: user(1) }
}

fn superadmins(numbers: &[u8]) -> CompanyEvent {
    CompanyEvent::SuperadminsChanged { memberships: numbers.iter().copied().map(member).collect() }
}

fn seats(used: u32) -> CompanyEvent {
    CompanyEvent::SeatsChanged { used }
}

fn suspended() -> CompanyEvent {
    CompanyEvent::Suspended { reason: "unpaid".into() }
}

fn rejected() -> CompanyEvent {
    CompanyEvent::Rejected { reason: "spam".into() }
}

#[test]
fn a_registered_company_is_pending_until_staff_approve_it() {
    given::<Company>([]).when(|state| company::register(state, acme())).then([registered()]);
    assert_eq!(given::<Company>([registered()]).state.status, CompanyStatus::Pending);
    given::<Company>([registered()]).when(company::approve).then([CompanyEvent::Approved]);
    assert!(given::<Company>([registered(), CompanyEvent::Approved]).state.is_active());
}

#[test]
fn a_company_is_registered_once() {
    given::<Company>([registered()])
        .when(|state| company::register(state, acme()))
        .refused(RegisterCompanyError::AlreadyRegistered);
}

#[test]
fn only_a_pending_company_is_approved_or_rejected() {
    given::<Company>([registered()]).when(|state| company::reject(state, "spam")).then([rejected()]);
    given::<Company>([registered(), rejected()]).when(company::approve).refused(CompanyStandingError::NotPending);
    given::<Company>([registered(), CompanyEvent::Approved])
        .when(|state| company::reject(state, "spam"))
        .refused(CompanyStandingError::NotPending);
    given::<Company>([]).when(company::approve).refused(CompanyStandingError::Unknown);
    given::<Company>([]).when(|state| company::reject(state, "spam")).refused(CompanyStandingError::Unknown);
}

#[test]
fn only_an_active_company_is_suspended_and_only_a_suspended_one_reactivated() {
    let active = [registered(), CompanyEvent::Approved];
    given::<Company>(active.clone()).when(|state| company::suspend(state, "unpaid")).then([suspended()]);
    given::<Company>(active.into_iter().chain([suspended()]))
        .when(company::reactivate)
        .then([CompanyEvent::Reactivated]);
    given::<Company>([registered()])
        .when(|state| company::suspend(state, "unpaid"))
        .refused(CompanyStandingError::NotActive);
    given::<Company>([registered()]).when(company::reactivate).refused(CompanyStandingError::NotSuspended);
    given::<Company>([]).when(|state| company::suspend(state, "x")).refused(CompanyStandingError::Unknown);
    given::<Company>([]).when(company::reactivate).refused(CompanyStandingError::Unknown);
}

#[test]
fn a_change_of_standing_that_has_happened_happens_once() {
    let active = [registered(), CompanyEvent::Approved];
    given::<Company>(active.clone()).when(company::approve).then_nothing();
    given::<Company>(active.clone()).when(company::reactivate).then_nothing();
    given::<Company>([registered(), rejected()]).when(|state| company::reject(state, "again")).then_nothing();
    given::<Company>(active.into_iter().chain([suspended()]))
        .when(|state| company::suspend(state, "again"))
        .then_nothing();
}

#[test]
fn the_last_superadmin_stays() {
    given::<Company>([superadmins(&[1])])
        .when(|state| company::remove_superadmin(state, member(1)))
        .refused(MembersError::LastSuperadmin);
    given::<Company>([superadmins(&[1, 2])])
        .when(|state| company::remove_superadmin(state, member(1)))
        .then([superadmins(&[2])]);
    given::<Company>([superadmins(&[1])]).when(|state| company::remove_superadmin(state, member(2))).then_nothing();
}

#[test]
fn superadmins_stand_in_order_and_once() {
    let state = given::<Company>([superadmins(&[2])]).state;
    assert_eq!(company::add_superadmin(&state, member(1)), [superadmins(&[1, 2])]);
    assert_eq!(company::add_superadmin(&state, member(2)), []);
}

#[test]
fn a_seat_is_taken_only_while_there_is_one() {
    given::<Company>([seats(4)]).when(|state| company::take_seat(state, Some(5))).then([seats(5)]);
    given::<Company>([seats(4)]).when(|state| company::take_seat(state, None)).then([seats(5)]);
    given::<Company>([seats(5)])
        .when(|state| company::take_seat(state, Some(5)))
        .refused(MembersError::LimitReached { limit: 5 });
    assert_eq!(company::free_seat(&given::<Company>([seats(5)]).state), [seats(4)]);
    assert_eq!(company::free_seat(&Company::default()), []);
}

/// A membership of the story, before and after one more event.
fn step(role: TenantRole, before: &[MembershipEvent], event: MembershipEvent) -> (Membership, Membership) {
    let created = created(role);
    let before: Vec<MembershipEvent> = [created].into_iter().chain(before.iter().cloned()).collect();
    let after = before.iter().cloned().chain([event]);
    (given::<Membership>(before.clone()).state, given::<Membership>(after).state)
}

fn created(role: TenantRole) -> MembershipEvent {
    MembershipEvent::Created { company_id: firm(1), user_id: user(1), tenant_role: role, via: "seed".into() }
}

#[test]
fn a_new_superadmin_counts_twice_as_superadmin_and_as_seat() {
    let after = given::<Membership>([created(TenantRole::TenantSuperadmin)]).state;
    given::<Company>([])
        .when(|state| company::follow_membership(state, member(1), &Membership::default(), &after, Some(1)))
        .then([superadmins(&[1]), seats(1)]);
    given::<Company>([seats(1)])
        .when(|state| company::follow_membership(state, member(1), &Membership::default(), &after, Some(1)))
        .refused(MembersError::LimitReached { limit: 1 });
}

#[test]
fn a_suspended_member_keeps_the_seat_and_a_revoked_one_frees_it() {
    let history = [superadmins(&[9]), seats(3)];
    let (before, after) = step(TenantRole::Admin, &[], MembershipEvent::Suspended);
    given::<Company>(history.clone())
        .when(|state| company::follow_membership(state, member(1), &before, &after, None))
        .then_nothing();
    let (before, after) = step(TenantRole::Admin, &[MembershipEvent::Suspended], MembershipEvent::Revoked);
    given::<Company>(history)
        .when(|state| company::follow_membership(state, member(1), &before, &after, None))
        .then([seats(2)]);
}

#[test]
fn the_last_superadmin_is_neither_suspended_nor_demoted_nor_revoked() {
    let demoted = MembershipEvent::TenantRoleChanged { from: TenantRole::TenantSuperadmin, to: TenantRole::Admin };
    for event in [MembershipEvent::Suspended, demoted, MembershipEvent::Revoked] {
        let (before, after) = step(TenantRole::TenantSuperadmin, &[], event);
        given::<Company>([superadmins(&[1]), seats(2)])
            .when(|state| company::follow_membership(state, member(1), &before, &after, None))
            .refused(MembersError::LastSuperadmin);
    }
}

#[test]
fn a_promoted_member_joins_the_superadmins_and_takes_no_second_seat() {
    let promoted = MembershipEvent::TenantRoleChanged { from: TenantRole::User, to: TenantRole::TenantSuperadmin };
    let (before, after) = step(TenantRole::User, &[], promoted);
    given::<Company>([superadmins(&[9]), seats(2)])
        .when(|state| company::follow_membership(state, member(1), &before, &after, Some(2)))
        .then([superadmins(&[1, 9])]);
}

fn ceiling(modules: &[&str], permissions: &[&str]) -> DelegationPolicy {
    DelegationPolicy { modules: keys(modules), permissions: keys(permissions) }
}

#[test]
fn a_superadmin_or_the_platform_sets_what_a_role_may_grant_at_most_and_nobody_else() {
    let (owned, catalog) = (BTreeSet::new(), catalog());
    let wanted = || ceiling(&["finance", "basic"], &["finance.bills.read"]);
    let set = |role| CompanyEvent::PolicySet {
        role,
        modules: vec![key("basic"), key("finance")],
        permissions: vec![key("finance.bills.read")],
    };
    let of = |role, company_id| {
        let created = MembershipEvent::Created { company_id, user_id: user(1), tenant_role: role, via: "seed".into() };
        given::<Membership>([created]).state
    };
    let company = given::<Company>([registered()]).state;
    let superadmin = of(TenantRole::TenantSuperadmin, firm(1));
    for by in [
        Authority::platform(&owned, &catalog),
        Authority::member((Holdings::of(&superadmin, []), &company), &owned, &catalog),
    ] {
        for role in [TenantRole::Admin, TenantRole::Manager] {
            given::<Company>([registered()])
                .when(|state| company::set_policy(state, firm(1), &by, (role, wanted())))
                .then([set(role)]);
            given::<Company>([registered(), set(role)])
                .when(|state| company::set_policy(state, firm(1), &by, (role, wanted())))
                .then([]);
        }
        for role in [TenantRole::User, TenantRole::TenantSuperadmin] {
            given::<Company>([registered()])
                .when(|state| company::set_policy(state, firm(1), &by, (role, wanted())))
                .refused(SetPolicyError::NoSuchPolicy);
        }
        given::<Company>([])
            .when(|state| company::set_policy(state, firm(1), &by, (TenantRole::Admin, wanted())))
            .refused(SetPolicyError::Unknown);
        let unknown = GrantRefused::UnknownModule { module: key("casino") };
        given::<Company>([registered()])
            .when(|state| company::set_policy(state, firm(1), &by, (TenantRole::Admin, ceiling(&["casino"], &[]))))
            .refused(SetPolicyError::Catalog(unknown));
    }
    for role in [TenantRole::Admin, TenantRole::Manager, TenantRole::User] {
        let acting = of(role, firm(1));
        let by = Authority::member((Holdings::of(&acting, []), &company), &owned, &catalog);
        given::<Company>([registered()])
            .when(|state| company::set_policy(state, firm(1), &by, (TenantRole::Manager, wanted())))
            .refused(SetPolicyError::Refused(Refused::RoleTooLow));
    }
    let stranger = of(TenantRole::TenantSuperadmin, firm(2));
    let by = Authority::member((Holdings::of(&stranger, []), &company), &owned, &catalog);
    given::<Company>([registered()])
        .when(|state| company::set_policy(state, firm(1), &by, (TenantRole::Manager, wanted())))
        .refused(SetPolicyError::Refused(Refused::OtherCompany));
}
