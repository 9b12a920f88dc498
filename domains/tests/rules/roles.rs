//! Rules of named roles: who makes them, who assigns them, and what they give.

use crate::given::{catalog, company, given, key, keys, role, user};
use kisum_domains::{
    Authority, Catalog, Company, Holdings, Membership, Role,
    authority::{GrantRefused, Refused},
    holdings::Source,
    membership::{self, Grant, GrantError, ROLES_MAX},
    role::{self as named, ChangeRole, CreateRole, NAME_CHARS_MAX, PERMISSIONS_MAX, RoleError, RoleName},
};
use kisum_events::{CompanyEvent, MembershipEvent, ModuleKey, PermissionKey, RoleEvent, TenantRole};
use std::collections::{BTreeMap, BTreeSet};

const READ: &str = "finance.bills.read";
const CREATE: &str = "finance.bills.create";
const MARKET: &str = "market.contracts.read";

fn joined(standing: TenantRole) -> MembershipEvent {
    MembershipEvent::Created { company_id: company(1), user_id: user(1), tenant_role: standing, via: "seed".into() }
}

fn assigned(number: u8) -> MembershipEvent {
    MembershipEvent::RoleAssigned { role_id: role(number) }
}

fn granted(permission: &str) -> MembershipEvent {
    MembershipEvent::PermissionGranted { permission: key(permission) }
}

fn finance() -> MembershipEvent {
    MembershipEvent::ModuleGranted { module: key("finance") }
}

fn created_in(number: u8, permissions: &[&str]) -> RoleEvent {
    let permissions = permissions.iter().map(|text| key(text)).collect();
    RoleEvent::Created { company_id: company(number), name: "Bookkeepers".into(), permissions }
}

fn created(permissions: &[&str]) -> RoleEvent {
    created_in(1, permissions)
}

fn changed(added: &[&str], removed: &[&str]) -> RoleEvent {
    let [added, removed] = [added, removed].map(|texts| texts.iter().map(|text| key(text)).collect());
    RoleEvent::Changed { name: None, previous_name: None, added, removed }
}

fn live(permissions: &[&str]) -> Role {
    given::<Role>([created(permissions)]).state
}

fn wanted(permissions: &[&str]) -> ChangeRole {
    ChangeRole { name: None, permissions: Some(keys(permissions)) }
}

fn new_role(permissions: &[&str]) -> CreateRole {
    CreateRole { company_id: company(1), name: key("Bookkeepers"), permissions: keys(permissions) }
}

/// Somebody who acts, with the roles that they have.
struct Actor {
    membership: Membership,
    roles: BTreeMap<kisum_events::RoleId, Role>,
}

fn actor(standing: TenantRole, history: impl IntoIterator<Item = MembershipEvent>) -> Actor {
    let membership = given::<Membership>([joined(standing)].into_iter().chain(history)).state;
    Actor { membership, roles: BTreeMap::new() }
}

impl Actor {
    fn with(mut self, number: u8, state: Role) -> Self {
        self.roles.insert(role(number), state);
        self
    }

    fn holdings(&self) -> Holdings<'_> {
        Holdings::of(&self.membership, self.roles.iter().map(|(id, state)| (*id, state)))
    }
}

/// The company owns Basic and Finance, and has a policy that allows managers and administrators all of Finance.
struct Firm {
    owned: BTreeSet<ModuleKey>,
    catalog: Catalog,
    company: Company,
}

fn firm() -> Firm {
    let policy = |role| CompanyEvent::PolicySet {
        role,
        modules: vec![key("finance")],
        permissions: vec![key(CREATE), key(READ)],
    };
    let company = given([policy(TenantRole::Manager), policy(TenantRole::Admin)]).state;
    Firm { owned: keys(&["basic", "finance"]), catalog: catalog(), company }
}

impl Firm {
    fn by<'a>(&'a self, actor: &'a Actor) -> Authority<'a> {
        Authority::member((actor.holdings(), &self.company), &self.owned, &self.catalog)
    }

    fn by_platform(&self) -> Authority<'_> {
        Authority::platform(&self.owned, &self.catalog)
    }
}

#[test]
fn superadmins_and_the_platform_make_roles_and_nobody_else() {
    let firm = firm();
    let superadmin = actor(TenantRole::TenantSuperadmin, []);
    for by in [firm.by_platform(), firm.by(&superadmin)] {
        given::<Role>([]).when(|state| named::create(state, &by, new_role(&[READ]))).then([created(&[READ])]);
        given::<Role>([created(&[READ])])
            .when(|state| named::change(state, &by, wanted(&[CREATE])))
            .then([changed(&[CREATE], &[READ])]);
        given::<Role>([created(&[READ])]).when(|state| named::delete(state, &by)).then([RoleEvent::Deleted]);
    }
    for standing in [TenantRole::Admin, TenantRole::Manager, TenantRole::User] {
        let holder = actor(standing, [finance(), granted(READ), granted(CREATE)]);
        let (by, refused) = (firm.by(&holder), RoleError::Refused(Refused::RoleTooLow));
        given::<Role>([]).when(|state| named::create(state, &by, new_role(&[READ]))).refused(refused.clone());
        let history = [created(&[READ])];
        given::<Role>(history.clone()).when(|state| named::change(state, &by, wanted(&[]))).refused(refused.clone());
        given::<Role>(history).when(|state| named::delete(state, &by)).refused(refused);
    }
    let elsewhere = given::<Role>([created_in(2, &[READ])]).state;
    for answer in [
        named::change(&elsewhere, &firm.by(&superadmin), wanted(&[])),
        named::delete(&elsewhere, &firm.by(&superadmin)),
    ] {
        assert_eq!(answer, Err(RoleError::Refused(Refused::OtherCompany)));
    }
}

#[test]
fn a_role_gives_what_exists_may_be_granted_and_is_owned_when_it_is_added() {
    let firm = firm();
    let superadmin = actor(TenantRole::TenantSuperadmin, []);
    let by = firm.by(&superadmin);
    let (unknown, retired) = ("finance.bills.burn", "basic.notes.read");
    for (permission, refused) in [
        (unknown, GrantRefused::UnknownPermission { permission: key(unknown) }),
        (retired, GrantRefused::RetiredPermission { permission: key(retired) }),
        (MARKET, GrantRefused::ModuleNotOwned { module: key("market") }),
    ] {
        let refused = RoleError::Grant(refused);
        given::<Role>([])
            .when(|state| named::create(state, &by, new_role(&[READ, permission])))
            .refused(refused.clone());
        given::<Role>([created(&[READ])])
            .when(|state| named::change(state, &by, wanted(&[READ, permission])))
            .refused(refused);
        // What it gave before may stay, and may go.
        given::<Role>([created(&[READ, permission])])
            .when(|state| named::change(state, &by, wanted(&[CREATE, permission])))
            .then([changed(&[CREATE], &[READ])]);
        given::<Role>([created(&[READ, permission])])
            .when(|state| named::change(state, &by, wanted(&[READ])))
            .then([changed(&[], &[permission])]);
    }
}

#[test]
fn a_role_that_is_changed_keeps_of_each_permission_which_event_gave_it() {
    let state = given::<Role>([created(&[CREATE, READ]), changed(&[], &[READ]), changed(&[READ], &[])]).state;
    let expected: BTreeMap<PermissionKey, Grant> =
        [(key(CREATE), Grant { version: 1 }), (key(READ), Grant { version: 3 })].into();
    assert_eq!(state.permissions, expected);
}

#[test]
fn changing_nothing_and_deleting_twice_are_no_events() {
    let firm = firm();
    let by = firm.by_platform();
    let same = ChangeRole { name: Some(key(" Bookkeepers ")), permissions: Some(keys(&[READ])) };
    for nothing in [same, ChangeRole::default()] {
        given::<Role>([created(&[READ])]).when(|state| named::change(state, &by, nothing)).then_nothing();
    }
    given::<Role>([created(&[READ]), RoleEvent::Deleted]).when(|state| named::delete(state, &by)).then_nothing();
    given::<Role>([created(&[READ]), RoleEvent::Deleted])
        .when(|state| named::change(state, &by, wanted(&[])))
        .refused(RoleError::NoSuchRole);
    given::<Role>([]).when(|state| named::delete(state, &by)).refused(RoleError::NoSuchRole);
    given::<Role>([created(&[READ])])
        .when(|state| named::create(state, &by, new_role(&[])))
        .refused(RoleError::AlreadyExists);
}

#[test]
fn names_that_differ_in_case_alone_are_one_and_renaming_says_what_was_before() {
    let firm = firm();
    let claimed = |text: &str| key::<RoleName>(text).claimed();
    assert_eq!(claimed("Büro ÄRZTE"), claimed(" bÜro ärzte "));
    assert_ne!(claimed("Büro"), claimed("Buro"));
    for bad in ["", "  ", "a\nb", "a\u{0}b", &"x".repeat(NAME_CHARS_MAX + 1)] {
        assert!(bad.parse::<RoleName>().is_err(), "{bad:?}");
    }
    assert_eq!(claimed(&"Ä".repeat(NAME_CHARS_MAX)).chars().count(), NAME_CHARS_MAX);
    let renamed = RoleEvent::Changed {
        name: Some("Auditors".into()),
        previous_name: Some("Bookkeepers".into()),
        added: vec![],
        removed: vec![],
    };
    given::<Role>([created(&[READ])])
        .when(|state| {
            let command = ChangeRole { name: Some(key("Auditors")), permissions: None };
            named::change(state, &firm.by_platform(), command)
        })
        .then([renamed.clone()]);
    let state = given::<Role>([created(&[READ]), renamed]).state;
    assert_eq!(state.claimed_name().as_deref(), Some("auditors"));
    assert_eq!(given::<Role>([created(&[]), RoleEvent::Deleted]).state.claimed_name(), None);
}

#[test]
fn a_role_and_a_member_hold_so_much_and_no_more() {
    let mut firm = firm();
    let many = |count: usize| -> BTreeSet<PermissionKey> {
        (0..count).map(|number| key(&format!("finance.bills.p{number}"))).collect()
    };
    let standing = kisum_domains::PermissionStanding::Grantable;
    firm.catalog.permissions.extend(many(PERMISSIONS_MAX + 1).into_iter().map(|key| (key, standing)));
    let of = |count| CreateRole { permissions: many(count), ..new_role(&[]) };
    let by = firm.by_platform();
    assert!(named::create(&Role::default(), &by, of(PERMISSIONS_MAX)).is_ok());
    given::<Role>([])
        .when(|state| named::create(state, &by, of(PERMISSIONS_MAX + 1)))
        .refused(RoleError::TooManyPermissions);
    let too_many = ChangeRole { name: None, permissions: Some(many(PERMISSIONS_MAX + 1)) };
    given::<Role>([created(&[])])
        .when(|state| named::change(state, &by, too_many))
        .refused(RoleError::TooManyPermissions);

    let numbers = (1..).take(ROLES_MAX);
    let full: Vec<_> = [joined(TenantRole::User)].into_iter().chain(numbers.map(assigned)).collect();
    given::<Membership>(full.clone())
        .when(|state| membership::assign_role(state, &by, (role(200), &live(&[READ]))))
        .refused(GrantError::TooManyRoles);
    given::<Membership>(full)
        .when(|state| membership::assign_role(state, &by, (role(1), &live(&[READ]))))
        .then_nothing();
}

/// Strictly: of a role with one permission too many nothing is assigned.
#[test]
fn below_superadmin_one_assigns_a_role_all_of_which_one_could_grant_oneself() {
    let firm = firm();
    let manager = actor(TenantRole::Manager, [finance(), granted(READ)]);
    let by = firm.by(&manager);
    let assign = |permissions: &[&str], by: &Authority<'_>| {
        let state = given::<Membership>([joined(TenantRole::User)]).state;
        membership::assign_role(&state, by, (role(1), &live(permissions)))
    };
    assert_eq!(assign(&[READ], &by), Ok(vec![assigned(1)]));
    let refused = Err(GrantError::Grant(GrantRefused::NotGrantable { what: CREATE.into() }));
    assert_eq!(assign(&[CREATE, READ], &by), refused);
    let superadmin = actor(TenantRole::TenantSuperadmin, []);
    assert_eq!(assign(&[CREATE, READ], &firm.by(&superadmin)), Ok(vec![assigned(1)]));
    let not_owned = Err(GrantError::Grant(GrantRefused::ModuleNotOwned { module: key("market") }));
    assert_eq!(assign(&[READ, MARKET], &firm.by(&superadmin)), not_owned);
    for equal_or_higher in [TenantRole::Manager, TenantRole::Admin, TenantRole::TenantSuperadmin] {
        given::<Membership>([joined(equal_or_higher)])
            .when(|state| membership::assign_role(state, &by, (role(1), &live(&[READ]))))
            .refused(GrantError::Refused(Refused::RoleTooLow));
    }
    given::<Membership>([joined(TenantRole::User), MembershipEvent::Suspended])
        .when(|state| membership::assign_role(state, &by, (role(1), &live(&[READ]))))
        .refused(GrantError::NotActive);
}

#[test]
fn a_deleted_role_and_one_of_another_company_are_none() {
    let firm = firm();
    let deleted = given::<Role>([created(&[READ]), RoleEvent::Deleted]).state;
    let elsewhere = given::<Role>([created_in(2, &[READ])]).state;
    for none in [deleted, elsewhere, Role::default()] {
        given::<Membership>([joined(TenantRole::User)])
            .when(|state| membership::assign_role(state, &firm.by_platform(), (role(1), &none)))
            .refused(GrantError::NoSuchRole);
        given::<Membership>([joined(TenantRole::User), assigned(1)])
            .when(|state| membership::unassign_role(state, &firm.by_platform(), (role(1), &none)))
            .then([MembershipEvent::RoleUnassigned { role_id: role(1) }]);
    }
}

#[test]
fn a_role_is_taken_back_by_whoever_could_assign_it_or_manages_the_member() {
    let firm = firm();
    let history = [joined(TenantRole::User), assigned(1)];
    let unassigned = || [MembershipEvent::RoleUnassigned { role_id: role(1) }];
    let (manager, holder) = (actor(TenantRole::Manager, []), actor(TenantRole::Manager, [finance(), granted(READ)]));
    let admin = actor(TenantRole::Admin, []);
    for able in [&holder, &admin] {
        given::<Membership>(history.clone())
            .when(|state| membership::unassign_role(state, &firm.by(able), (role(1), &live(&[READ]))))
            .then(unassigned());
    }
    given::<Membership>(history.clone())
        .when(|state| membership::unassign_role(state, &firm.by(&manager), (role(1), &live(&[READ]))))
        .refused(GrantError::Refused(Refused::RoleTooLow));
    given::<Membership>([joined(TenantRole::User)])
        .when(|state| membership::unassign_role(state, &firm.by(&admin), (role(1), &live(&[READ]))))
        .then_nothing();
    for role_of_another in [given::<Role>([created_in(2, &[CREATE])]).state, Role::default()] {
        given::<Membership>(history.clone())
            .when(|state| membership::unassign_role(state, &firm.by(&holder), (role(2), &role_of_another)))
            .then_nothing();
    }
    let state = given::<Membership>(history.into_iter().chain([MembershipEvent::Revoked])).state;
    assert!(state.roles.is_empty(), "a membership that ends loses its roles");
}

#[test]
fn what_a_role_gives_counts_for_granting_and_names_the_role_that_it_rests_on() {
    let firm = firm();
    let manager = actor(TenantRole::Manager, [finance(), granted(CREATE), assigned(1), assigned(2)])
        .with(1, live(&[READ, CREATE]))
        .with(2, given::<Role>([created(&[READ]), RoleEvent::Deleted]).state);
    let by = firm.by(&manager);
    given::<Membership>([joined(TenantRole::User)])
        .when(|state| membership::grant_permission(state, &by, &key(READ)))
        .then([granted(READ)]);
    assert_eq!(by.rights().grantable_permissions, [key(CREATE), key(READ)]);
    assert_eq!(by.rests_on(&key(READ)), Some(role(1)));
    assert_eq!(by.rests_on(&key(CREATE)), None, "granted directly");

    let deleted = given::<Role>([created(&[READ]), RoleEvent::Deleted]).state;
    let none = actor(TenantRole::Manager, [finance(), assigned(1)]).with(1, deleted);
    given::<Membership>([joined(TenantRole::User)])
        .when(|state| membership::grant_permission(state, &firm.by(&none), &key(READ)))
        .refused(GrantError::Grant(GrantRefused::NotGrantable { what: READ.into() }));
    let superadmin = actor(TenantRole::TenantSuperadmin, [assigned(1)]).with(1, live(&[READ]));
    assert_eq!(firm.by(&superadmin).rests_on(&key(READ)), None, "a superadmin's right rests on no role");
    assert_eq!(firm.by_platform().rests_on(&key(READ)), None);
}

#[test]
fn everything_that_gives_something_is_named() {
    let member = actor(TenantRole::User, [finance(), granted(READ), assigned(1), assigned(2), assigned(3)])
        .with(1, given::<Role>([created(&[CREATE]), changed(&[READ], &[])]).state)
        .with(2, given::<Role>([created_in(2, &[READ, CREATE])]).state)
        .with(3, live(&[CREATE]))
        .with(4, live(&[CREATE, MARKET]));
    let holdings = member.holdings();
    assert_eq!(holdings.module_sources(&key("finance")), [Source::Grant { version: 2 }]);
    assert_eq!(holdings.module_sources(&key("basic")), []);
    assert_eq!(
        holdings.permission_sources(&key(READ)),
        [Source::Grant { version: 3 }, Source::Role { role: role(1), assigned: 4, added: 2 }]
    );
    assert_eq!(
        holdings.permission_sources(&key(CREATE)),
        [Source::Role { role: role(1), assigned: 4, added: 1 }, Source::Role { role: role(3), assigned: 6, added: 1 }]
    );
    assert_eq!(holdings.permission_sources(&key(MARKET)), []);
    let held: Vec<_> = holdings.permissions().into_iter().cloned().collect();
    assert_eq!(held, [key(CREATE), key(READ)]);
    for permission in [READ, CREATE, MARKET].map(key) {
        let named = !holdings.permission_sources(&permission).is_empty();
        assert_eq!((holdings.has_permission(&permission), held.contains(&permission)), (named, named));
    }
}
