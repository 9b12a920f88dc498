//! Rules of delegations: who may pass on what to whom, how long it lasts, what it is worth, and what ends it.

use crate::given::{at, catalog, company, delegation, given, key, keys, member, role, user};
use kisum_domains::{
    Authority, Catalog, Company, Delegation, Holdings, Membership, Role, User,
    authority::{GrantRefused, Refused},
    delegation::{
        self, DELEGATIONS_MAX, Decided, Delegate, DelegationError, LASTS_MAX, PERMISSIONS_MAX, Party, lost_with,
    },
    holdings::{GiverState, Source},
};
use kisum_events::{
    CompanyEvent, DelegationEndCause, DelegationEvent, Giver, MembershipEvent, MembershipId, ModuleKey, PermissionKey,
    RoleEvent, RoleId, Sealed, TenantRole, UserEvent,
};
use std::collections::{BTreeMap, BTreeSet};

const READ: &str = "finance.bills.read";
const CREATE: &str = "finance.bills.create";

fn joined(number: u8, standing: TenantRole) -> MembershipEvent {
    MembershipEvent::Created {
        company_id: company(1),
        user_id: user(number),
        tenant_role: standing,
        via: "seed".into(),
    }
}

fn granted(permission: &str) -> MembershipEvent {
    MembershipEvent::PermissionGranted { permission: key(permission) }
}

fn finance() -> MembershipEvent {
    MembershipEvent::ModuleGranted { module: key("finance") }
}

/// Delegation 1, by which member 1 passes on to member 2 what they may use from 10 until 20.
fn received() -> MembershipEvent {
    MembershipEvent::DelegationReceived {
        delegation_id: delegation(1),
        from: member(1),
        from_user: user(1),
        permissions: vec![key(CREATE), key(READ)],
        valid_from: at(10),
        valid_until: at(20),
    }
}

fn given_away() -> MembershipEvent {
    let permissions = vec![key(CREATE), key(READ)];
    MembershipEvent::DelegationGiven {
        delegation_id: delegation(1),
        to: member(2),
        permissions,
        valid_from: at(10),
        valid_until: at(20),
    }
}

fn over() -> MembershipEvent {
    MembershipEvent::DelegationEnded { delegation_id: delegation(1) }
}

fn holder(standing: TenantRole) -> Membership {
    given([joined(1, standing), finance(), granted(READ), granted(CREATE), given_away()]).state
}

fn receiver(standing: TenantRole) -> Membership {
    given([joined(2, standing), finance(), received()]).state
}

fn command() -> Delegate {
    Delegate {
        id: delegation(2),
        company_id: company(1),
        permissions: keys(&[READ]),
        valid_from: at(10),
        valid_until: at(20),
    }
}

/// A company that owns Finance and allows managers and administrators to pass READ on, and nothing else.
struct Firm {
    owned: BTreeSet<ModuleKey>,
    catalog: Catalog,
    company: Company,
}

fn firm() -> Firm {
    let policy = |role| CompanyEvent::PolicySet { role, modules: vec![], permissions: vec![key(READ)] };
    let company = given([policy(TenantRole::Manager), policy(TenantRole::Admin)]).state;
    Firm { owned: keys(&["basic", "finance"]), catalog: catalog(), company }
}

impl Firm {
    fn by<'a>(&'a self, acting: &'a Membership) -> Authority<'a> {
        Authority::member((Holdings::of(acting, []), &self.company), &self.owned, &self.catalog)
    }

    fn grant(&self, giver: &Membership, receiver: &Membership, command: Delegate) -> Result<Decided, DelegationError> {
        let parties = (Party { id: member(1), state: giver }, Party { id: member(2), state: receiver });
        delegation::grant(&self.by(giver), parties, command, at(5))
    }
}

fn fresh(standing: TenantRole) -> Membership {
    given([joined(2, standing)]).state
}

#[test]
fn what_is_passed_on_is_written_to_all_three_streams() {
    let (giver, to) =
        (given([joined(1, TenantRole::Manager), finance(), granted(READ)]).state, fresh(TenantRole::User));
    let decided = firm().grant(&giver, &to, command()).unwrap();
    let (from, until) = (at(10), at(20));
    let expected = DelegationEvent::Granted {
        company_id: company(1),
        from: member(1),
        to: member(2),
        permissions: vec![key(READ)],
        valid_from: from,
        valid_until: until,
    };
    assert_eq!(decided.delegation, [expected]);
    let given_away = MembershipEvent::DelegationGiven {
        delegation_id: delegation(2),
        to: member(2),
        permissions: vec![key(READ)],
        valid_from: from,
        valid_until: until,
    };
    assert_eq!(decided.giver, [given_away]);
    let received = MembershipEvent::DelegationReceived {
        delegation_id: delegation(2),
        from: member(1),
        from_user: user(1),
        permissions: vec![key(READ)],
        valid_from: from,
        valid_until: until,
    };
    assert_eq!(decided.receiver, [received]);
}

#[test]
fn one_passes_on_to_lower_roles_what_one_can_use_and_could_grant() {
    let firm = firm();
    let manager = given([joined(1, TenantRole::Manager), finance(), granted(READ), granted(CREATE)]).state;
    for equal_or_higher in [TenantRole::Manager, TenantRole::Admin, TenantRole::TenantSuperadmin] {
        let refused = Err(DelegationError::Refused(Refused::RoleTooLow));
        assert_eq!(firm.grant(&manager, &fresh(equal_or_higher), command()), refused);
    }
    let not_grantable = |what: &str| Err(DelegationError::Grant(GrantRefused::NotGrantable { what: what.to_owned() }));
    // Held, but beyond the policy of the role.
    let beyond = Delegate { permissions: keys(&[CREATE, READ]), ..command() };
    assert_eq!(firm.grant(&manager, &fresh(TenantRole::User), beyond), not_grantable(CREATE));
    // Within the policy, but without the module.
    let dormant = given([joined(1, TenantRole::Manager), granted(READ)]).state;
    assert_eq!(firm.grant(&dormant, &fresh(TenantRole::User), command()), not_grantable(READ));
    // A superadmin may grant everything, and passes on only what they can use themselves.
    let superadmin = given([joined(1, TenantRole::TenantSuperadmin)]).state;
    assert_eq!(firm.grant(&superadmin, &fresh(TenantRole::Admin), command()), not_grantable(READ));
    let user = given([joined(1, TenantRole::User), finance(), granted(READ)]).state;
    let refused = Err(DelegationError::Refused(Refused::RoleTooLow));
    assert_eq!(firm.grant(&user, &fresh(TenantRole::User), command()), refused);
}

#[test]
fn what_one_has_received_is_passed_on_to_nobody() {
    let firm = firm();
    let middle = given([joined(1, TenantRole::Manager), finance(), received()]).state;
    let refused = Err(DelegationError::Grant(GrantRefused::NotGrantable { what: READ.to_owned() }));
    assert_eq!(firm.grant(&middle, &fresh(TenantRole::User), command()), refused);
}

#[test]
fn it_begins_and_ends_within_ninety_days() {
    let (firm, to) = (firm(), fresh(TenantRole::User));
    let giver = given([joined(1, TenantRole::Manager), finance(), granted(READ)]).state;
    let last = at(5).plus(LASTS_MAX);
    let lasts = |from, until| firm.grant(&giver, &to, Delegate { valid_from: from, valid_until: until, ..command() });
    assert!(lasts(at(0), last).is_ok(), "what began before begins now");
    assert_eq!(lasts(at(10), last.plus(std::time::Duration::from_micros(1))), Err(DelegationError::TooLong));
    assert_eq!(lasts(at(10), at(10)), Err(DelegationError::NoTime));
    assert_eq!(lasts(at(0), at(5)), Err(DelegationError::NoTime), "over already");
    for count in [0, PERMISSIONS_MAX + 1] {
        let permissions = (0..count).map(|number| key(&format!("finance.bills.p{number}"))).collect();
        let refused = Err(DelegationError::Permissions);
        assert_eq!(firm.grant(&giver, &to, Delegate { permissions, ..command() }), refused);
    }
}

#[test]
fn neither_oneself_nor_who_is_no_active_member_receives_anything() {
    let firm = firm();
    let giver = given([joined(1, TenantRole::Manager), finance(), granted(READ)]).state;
    let itself = Party { id: member(1), state: &giver };
    let to_oneself = delegation::grant(&firm.by(&giver), (itself, itself), command(), at(5));
    assert_eq!(to_oneself, Err(DelegationError::ToOneself));
    let suspended = given([joined(2, TenantRole::User), MembershipEvent::Suspended]).state;
    assert_eq!(firm.grant(&giver, &suspended, command()), Err(DelegationError::NotActive));
    let revoked = given([joined(2, TenantRole::User), MembershipEvent::Revoked]).state;
    for none in [revoked, Membership::default()] {
        assert_eq!(firm.grant(&giver, &none, command()), Err(DelegationError::NotAMember));
    }
    let elsewhere = given([MembershipEvent::Created {
        company_id: company(2),
        user_id: user(2),
        tenant_role: TenantRole::User,
        via: "seed".into(),
    }])
    .state;
    let refused = Err(DelegationError::Refused(Refused::OtherCompany));
    assert_eq!(firm.grant(&giver, &elsewhere, command()), refused);
}

#[test]
fn one_gives_and_receives_so_many_and_those_whose_time_is_over_make_room() {
    let firm = firm();
    let history = |number: u8, until| MembershipEvent::DelegationGiven {
        delegation_id: delegation(100 + number),
        to: member(9),
        permissions: vec![key(READ)],
        valid_from: at(1),
        valid_until: until,
    };
    let full = |until| -> Membership {
        let some = (0..u8::try_from(DELEGATIONS_MAX).unwrap()).map(|number| history(number, until));
        given([joined(1, TenantRole::Manager), finance(), granted(READ)].into_iter().chain(some)).state
    };
    let to = fresh(TenantRole::User);
    assert_eq!(firm.grant(&full(at(6)), &to, command()), Err(DelegationError::TooMany));
    let decided = firm.grant(&full(at(5)), &to, command()).unwrap();
    assert_eq!(decided.giver.len(), DELEGATIONS_MAX + 1, "each that is over ends, and one begins");
}

/// Everything about member 2, at an instant.
fn worth(giver: &GiverState, roles: &BTreeMap<RoleId, Role>, at_instant: u64) -> Vec<PermissionKey> {
    let (to, givers) = (receiver(TenantRole::User), BTreeMap::from([(member(1), giver.clone())]));
    let holdings = Holdings::of(&to, []).with_delegations(&givers, roles, at(at_instant));
    let held: Vec<_> = holdings.permissions().into_iter().cloned().collect();
    for permission in [READ, CREATE].map(key) {
        let source = Source::Delegation { delegation: delegation(1), giver: member(1), received: 3 };
        let expected = if held.contains(&permission) { vec![source] } else { vec![] };
        assert_eq!(holdings.permission_sources(&permission), expected);
        assert!(!holdings.has_permission(&permission), "it is nothing that one could give");
    }
    held
}

fn active() -> User {
    given::<User>([UserEvent::Registered { email: Sealed::absent(), name: Sealed::absent() }]).state
}

#[test]
fn it_is_worth_what_its_giver_can_use_then_and_nothing_before_or_after() {
    let none = BTreeMap::new();
    let giver = GiverState { membership: holder(TenantRole::Manager), user: active() };
    let both = vec![key(CREATE), key(READ)];
    for (instant, expected) in [(9, vec![]), (10, both.clone()), (19, both), (20, vec![])] {
        assert_eq!(worth(&giver, &none, instant), expected, "{instant}");
    }
    let with = |membership: Vec<MembershipEvent>| GiverState { membership: given(membership).state, user: active() };
    let base = || vec![joined(1, TenantRole::Manager), finance(), granted(READ), given_away()];
    assert_eq!(worth(&with(base()), &none, 15), [key(READ)], "what the giver lacks is not there");
    let after = |event: MembershipEvent| base().into_iter().chain([event]).collect::<Vec<_>>();
    for event in [
        MembershipEvent::ModuleRevoked { module: key("finance") },
        MembershipEvent::Suspended,
        MembershipEvent::Revoked,
    ] {
        assert_eq!(worth(&with(after(event.clone())), &none, 15), [], "{event:?}");
    }
    let suspended = UserEvent::Suspended;
    let registered = UserEvent::Registered { email: Sealed::absent(), name: Sealed::absent() };
    let user = given::<User>([registered, suspended]).state;
    assert_eq!(worth(&GiverState { user, ..giver.clone() }, &none, 15), []);
    // Not of the giver that the delegation names, or of another company.
    let stranger = given([joined(7, TenantRole::Manager), finance(), granted(READ)]).state;
    assert_eq!(worth(&GiverState { membership: stranger, user: active() }, &none, 15), []);
}

#[test]
fn what_its_giver_holds_by_a_role_counts_as_long_as_the_role_gives_it_and_what_they_received_does_not() {
    let created = RoleEvent::Created { company_id: company(1), name: "Books".into(), permissions: vec![key(READ)] };
    let live = given::<Role>([created.clone()]).state;
    let emptied = given::<Role>([created, RoleEvent::Deleted]).state;
    let assigned = MembershipEvent::RoleAssigned { role_id: role(1) };
    let membership = given([joined(1, TenantRole::Manager), finance(), assigned]).state;
    let giver = GiverState { membership, user: active() };
    assert_eq!(worth(&giver, &BTreeMap::from([(role(1), live)]), 15), [key(READ)]);
    assert_eq!(worth(&giver, &BTreeMap::from([(role(1), emptied)]), 15), []);
    let middle = given([joined(1, TenantRole::Manager), finance(), received()]).state;
    assert_eq!(worth(&GiverState { membership: middle, user: active() }, &BTreeMap::new(), 15), []);
}

#[test]
fn what_was_passed_on_changes_by_itself_when_it_begins_and_ends_and_names_its_giver_until_then() {
    let to = receiver(TenantRole::User);
    let next = |instant| Holdings::of(&to, []).next_change(at(instant));
    assert_eq!((next(9), next(10), next(20)), (Some(at(10)), Some(at(20)), None));
    let giver = Giver { user_id: user(1), membership_id: member(1) };
    let givers = |instant| to.givers(at(instant)).collect::<Vec<_>>();
    assert_eq!((givers(0), givers(19), givers(20)), (vec![giver], vec![giver], vec![]));
}

#[test]
fn giver_receiver_and_who_manages_the_receiver_end_it_and_nobody_else() {
    let firm = firm();
    let history = [DelegationEvent::Granted {
        company_id: company(1),
        from: member(1),
        to: member(2),
        permissions: vec![key(READ)],
        valid_from: at(10),
        valid_until: at(20),
    }];
    let state = given::<Delegation>(history.clone()).state;
    let (giver, to) = (holder(TenantRole::Manager), receiver(TenantRole::User));
    let parties = (Party { id: member(1), state: &giver }, Party { id: member(2), state: &to });
    let bystander = |standing| given([joined(3, standing)]).state;
    let end = |acting: &Membership, id: MembershipId, state: &Delegation| {
        delegation::end(&firm.by(acting), Some(id), (delegation(1), state), parties)
    };
    let ended = Decided {
        delegation: vec![DelegationEvent::Ended { to: member(2), cause: DelegationEndCause::Ended }],
        giver: vec![over()],
        receiver: vec![over()],
    };
    assert_eq!(end(&giver, member(1), &state), Ok(ended.clone()));
    assert_eq!(end(&to, member(2), &state), Ok(ended.clone()));
    assert_eq!(end(&bystander(TenantRole::Admin), member(3), &state), Ok(ended));
    let refused = Err(DelegationError::Refused(Refused::RoleTooLow));
    assert_eq!(end(&bystander(TenantRole::Manager), member(3), &state), refused);
    assert_eq!(end(&bystander(TenantRole::Admin), member(3), &Delegation::default()), Err(DelegationError::Unknown));
    let twice = given::<Delegation>(
        history.into_iter().chain([DelegationEvent::Ended { to: member(2), cause: DelegationEndCause::Ended }]),
    )
    .state;
    let none = [joined(1, TenantRole::User), joined(2, TenantRole::User)].map(|event| given([event]).state);
    let parties = (Party { id: member(1), state: &none[0] }, Party { id: member(2), state: &none[1] });
    let again = delegation::end(&firm.by(&none[0]), Some(member(1)), (delegation(1), &twice), parties);
    assert_eq!(again, Ok(Decided::default()), "twice is once");
}

#[test]
fn whatever_narrows_its_giver_below_it_ends_it() {
    let before = holder(TenantRole::Manager);
    let lost = |events: &[MembershipEvent]| {
        let base = [joined(1, TenantRole::Manager), finance(), granted(READ), granted(CREATE), given_away()];
        let after: Membership = given(base.into_iter().chain(events.iter().cloned())).state;
        lost_with(&Holdings::of(&before, []), &Holdings::of(&after, [])).contains(&delegation(1))
    };
    let to = |to| MembershipEvent::TenantRoleChanged { from: TenantRole::Manager, to };
    for (event, ends) in [
        (MembershipEvent::Suspended, true),
        (MembershipEvent::Revoked, true),
        (MembershipEvent::ModuleRevoked { module: key("finance") }, true),
        (MembershipEvent::PermissionRevoked { permission: key(READ) }, true),
        (to(TenantRole::User), true),
        (to(TenantRole::Admin), false),
        (MembershipEvent::ModuleGranted { module: key("market") }, false),
        (granted("market.contracts.read"), false),
    ] {
        assert_eq!(lost(std::slice::from_ref(&event)), ends, "{event:?}");
    }
    // What is held twice is lost with the last of the two.
    let created = RoleEvent::Created { company_id: company(1), name: "Books".into(), permissions: vec![key(READ)] };
    let books = given::<Role>([created]).state;
    let base = [joined(1, TenantRole::Manager), finance(), granted(CREATE), given_away()];
    let with_role = base.iter().cloned().chain([MembershipEvent::RoleAssigned { role_id: role(1) }]);
    let (with, without): (Membership, Membership) = (given(with_role).state, given(base.clone()).state);
    assert!(lost_with(&Holdings::of(&before, []), &Holdings::of(&with, [(role(1), &books)])).is_empty());
    let (with, without) = (Holdings::of(&with, [(role(1), &books)]), Holdings::of(&without, []));
    assert_eq!(lost_with(&with, &without).len(), 1);
}

#[test]
fn what_a_role_does_not_give_for_now_is_not_lost_by_what_else_happens_to_the_giver() {
    let created = RoleEvent::Created { company_id: company(1), name: "Books".into(), permissions: vec![key(CREATE)] };
    let books = given::<Role>([created]).state;
    let assigned = MembershipEvent::RoleAssigned { role_id: role(1) };
    let base = [joined(1, TenantRole::Manager), finance(), granted(CREATE), assigned, given_away()];
    let lost = |event: MembershipEvent| {
        let before: Membership = given(base.clone()).state;
        let after: Membership = given(base.iter().cloned().chain([event])).state;
        let holdings = |of| Holdings::of(of, [(role(1), &books)]);
        lost_with(&holdings(&before), &holdings(&after)).len()
    };
    assert!(lost(MembershipEvent::ModuleGranted { module: key("market") }) == 0, "it widens");
    assert_eq!(lost(granted(READ)), 0, "it counts again");
    assert_eq!(lost(MembershipEvent::PermissionRevoked { permission: key(CREATE) }), 0, "the role gives it too");
    assert_eq!(lost(MembershipEvent::RoleUnassigned { role_id: role(1) }), 0, "it did not give it");
    assert_eq!(lost(MembershipEvent::Suspended), 1);
}
