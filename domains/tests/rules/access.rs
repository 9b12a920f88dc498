//! Resolution of access: the order of the checks, and what a context holds.

use crate::given::{at, catalog, company, given, key, member, role, user};
use kisum_domains::{
    Catalog, Company, Membership, Role, Session, User,
    access::{self, AccessInputs, AccessVersions, Resolution},
};
use kisum_events::{
    AccessContext, AccessOutcome, AuthMethod, CompanyEvent, Denied, EntitlementSource, Limits, MembershipEvent,
    ModuleEntitlement, RoleEvent, RoleId, Sealed, SessionEndCause, SessionEvent, SourceKind, TenantRole, UserEvent,
};
use std::collections::BTreeMap;

/// Everything that access is resolved from. As built, all is well: Ada, a USER of a company that owns Basic and
/// Finance, holds Finance and Market with a permission in each.
struct World {
    user: User,
    session: Session,
    company: Option<Company>,
    membership: Option<Membership>,
    roles: BTreeMap<RoleId, Role>,
    entitlements: Vec<ModuleEntitlement>,
    catalog: Catalog,
}

fn registered() -> UserEvent {
    UserEvent::Registered { email: Sealed::absent(), name: Sealed::absent() }
}

fn started() -> SessionEvent {
    SessionEvent::Started {
        user_id: user(1),
        amr: vec![AuthMethod::Pwd],
        idle_until: at(1000),
        absolute_until: at(5000),
        token_hash: Sealed::absent(),
        ip: Sealed::absent(),
        agent: Sealed::absent(),
        user_version: None,
    }
}

fn approved() -> [CompanyEvent; 2] {
    let slug = key("acme-live");
    [CompanyEvent::Registered { slug, name: "Acme".into(), owner: user(9) }, CompanyEvent::Approved]
}

fn membership_of(number: u8, person: u8, role: TenantRole) -> Vec<MembershipEvent> {
    vec![
        MembershipEvent::Created {
            company_id: company(number),
            user_id: user(person),
            tenant_role: role,
            via: "seed".into(),
        },
        MembershipEvent::ModuleGranted { module: key("market") },
        MembershipEvent::ModuleGranted { module: key("finance") },
        MembershipEvent::PermissionGranted { permission: key("market.contracts.read") },
        MembershipEvent::PermissionGranted { permission: key("finance.bills.read") },
        MembershipEvent::PermissionGranted { permission: key("basic.events.read") },
    ]
}

fn entry(module: &str, from: u64, until: Option<u64>) -> ModuleEntitlement {
    ModuleEntitlement {
        module: key(module),
        source: EntitlementSource { kind: SourceKind::Addon, id: module.to_owned() },
        from: at(from),
        until: until.map(at),
        limits: Limits::from([("seats".to_owned(), 5)]),
    }
}

fn world() -> World {
    World {
        user: given::<User>([registered()]).state,
        session: given::<Session>([started()]).state,
        company: Some(given::<Company>(approved()).state),
        membership: Some(given::<Membership>(membership_of(1, 1, TenantRole::User)).state),
        roles: BTreeMap::new(),
        entitlements: vec![entry("basic", 0, None), entry("finance", 0, Some(500))],
        catalog: catalog(),
    }
}

impl World {
    fn resolve_at(&self, second: u64) -> Resolution {
        let inputs = AccessInputs {
            user_id: user(1),
            user: &self.user,
            session: &self.session,
            company: self.company.as_ref().map(|state| (company(1), state)),
            membership: self.membership.as_ref().map(|state| (member(1), state)),
            roles: &self.roles,
            givers: &BTreeMap::new(),
            entitlements: &self.entitlements,
            catalog: &self.catalog,
            versions: AccessVersions { entitlement_version: 7, access_version: 42, token_version: 3 },
        };
        access::resolve(&inputs, at(second))
    }

    fn outcome(&self) -> AccessOutcome {
        let resolution = self.resolve_at(10);
        assert_eq!(resolution.context.is_some(), resolution.outcome == AccessOutcome::Active);
        resolution.outcome
    }

    fn context_at(&self, second: u64) -> AccessContext {
        self.resolve_at(second).context.unwrap_or_else(|| panic!("access is active at {second}"))
    }

    fn with_company(mut self, event: CompanyEvent) -> Self {
        self.company = Some(given::<Company>(approved().into_iter().chain([event])).state);
        self
    }

    fn with_membership(mut self, event: MembershipEvent) -> Self {
        let history = membership_of(1, 1, TenantRole::User).into_iter().chain([event]);
        self.membership = Some(given::<Membership>(history).state);
        self
    }
}

#[test]
fn a_context_holds_what_is_owned_and_granted_and_nothing_else() {
    let context = world().context_at(10);
    assert_eq!((context.user_id, context.company_id, context.membership_id), (user(1), company(1), member(1)));
    assert_eq!(context.tenant_role, TenantRole::User);
    assert_eq!(context.modules, [key("finance")]);
    assert_eq!(context.owned_modules, [key("basic"), key("finance")]);
    assert_eq!(context.permissions, [key("finance.bills.read")]);
    assert_eq!(context.limits, Limits::from([("seats".to_owned(), 5)]));
    assert!(context.core_app_visible);
    assert_eq!(context.valid_until, Some(at(500)));
    assert_eq!(context.meta.generated_at, at(10));
    let meta = context.meta;
    assert_eq!((meta.entitlement_version, meta.access_version, meta.token_version), (7, 42, 3));
}

#[test]
fn the_core_app_shows_with_basic_whoever_is_granted_it() {
    let mut without_basic = world();
    without_basic.entitlements = vec![entry("finance", 0, None)];
    let context = without_basic.context_at(10);
    assert!(!context.core_app_visible);
    assert_eq!(context.modules, [key("finance")]);
}

#[test]
fn a_lost_module_leaves_its_grants_dormant_and_a_regained_one_revives_them() {
    let mut world = world();
    world.entitlements.push(entry("finance", 700, None));
    assert!(world.context_at(499).holds("finance.bills.read"));
    assert!(!world.context_at(500).holds("finance.bills.read"));
    assert_eq!(world.context_at(500).valid_until, Some(at(700)));
    assert!(world.context_at(700).holds("finance.bills.read"));
}

fn named_role(number: u8, permissions: &[&str]) -> RoleEvent {
    let permissions = permissions.iter().map(|text| key(text)).collect();
    RoleEvent::Created { company_id: company(number), name: "Bookkeepers".into(), permissions }
}

#[test]
fn what_a_role_gives_is_held_while_the_member_has_it_and_its_module() {
    let mut world = world().with_membership(MembershipEvent::RoleAssigned { role_id: role(1) });
    let created = || named_role(1, &["finance.bills.create", "finance.bills.read", "basic.events.read"]);
    world.roles.insert(role(1), given::<Role>([created()]).state);
    assert_eq!(world.context_at(10).permissions, [key("finance.bills.create"), key("finance.bills.read")]);

    let removed = vec![key("finance.bills.create")];
    let narrowed = RoleEvent::Changed { name: None, previous_name: None, added: vec![], removed };
    for narrowed in [narrowed, RoleEvent::Deleted] {
        world.roles.insert(role(1), given::<Role>([created(), narrowed]).state);
        assert_eq!(world.context_at(10).permissions, [key("finance.bills.read")]);
    }
    // One of another company, and one that the member does not have.
    world.roles.insert(role(1), given::<Role>([named_role(2, &["finance.bills.create"])]).state);
    world.roles.insert(role(2), given::<Role>([created()]).state);
    assert_eq!(world.context_at(10).permissions, [key("finance.bills.read")]);
}

#[test]
fn a_session_that_is_over_comes_first() {
    let mut world = world();
    let ended = SessionEvent::Ended { user_id: user(1), cause: SessionEndCause::Logout, tokens_until: at(9) };
    world.session = given::<Session>([started(), ended]).state;
    world.company = None;
    assert_eq!(world.outcome(), AccessOutcome::SessionRevoked);
}

#[test]
fn a_session_that_ran_out_or_is_unknown_or_somebody_elses_is_over() {
    assert_eq!(world().resolve_at(1000).outcome, AccessOutcome::SessionRevoked);
    let mut nobody = world();
    nobody.session = Session::default();
    assert_eq!(nobody.outcome(), AccessOutcome::SessionRevoked);
    let mut other = world();
    other.session.user_id = Some(user(2));
    assert_eq!(other.outcome(), AccessOutcome::SessionRevoked);
}

#[test]
fn an_unknown_company_and_no_membership_are_told_alike() {
    let mut no_company = world();
    no_company.company = None;
    let mut unregistered = world();
    unregistered.company = Some(Company::default());
    let mut no_membership = world();
    no_membership.membership = None;
    let mut unknown = world();
    unknown.membership = Some(Membership::default());
    for world in [no_company, unregistered, no_membership, unknown, world().with_membership(MembershipEvent::Revoked)] {
        assert_eq!(world.outcome(), AccessOutcome::NotAMember);
    }
}

#[test]
fn a_membership_of_another_company_or_person_is_none() {
    for (number, person) in [(2, 1), (1, 2)] {
        let mut world = world();
        world.membership = Some(given::<Membership>(membership_of(number, person, TenantRole::User)).state);
        assert_eq!(world.outcome(), AccessOutcome::NotAMember);
    }
}

#[test]
fn a_suspended_person_or_member_is_told_before_the_company() {
    let suspension = || CompanyEvent::Suspended { reason: "unpaid".into() };
    let mut person = world().with_company(suspension());
    person.user = given::<User>([registered(), UserEvent::Suspended]).state;
    assert_eq!(person.outcome(), AccessOutcome::Suspended);
    let member = world().with_company(suspension()).with_membership(MembershipEvent::Suspended);
    assert_eq!(member.outcome(), AccessOutcome::Suspended);
    let mut unknown = world();
    unknown.user = User::default();
    assert_eq!(unknown.outcome(), AccessOutcome::Suspended);
}

/// security 8: the session's own stream does not say so yet.
#[test]
fn a_session_that_ended_with_all_others_opens_nothing() {
    let mut world = world();
    world.session.user_version = 1;
    assert_eq!(world.outcome(), AccessOutcome::Active);
    world.user = given::<User>([registered(), UserEvent::SessionsEnded]).state;
    assert_eq!(world.outcome(), AccessOutcome::SessionRevoked);
}

#[test]
fn nobody_acts_for_a_company_that_is_not_active() {
    let [registered, _] = approved();
    let mut pending = world();
    pending.company = Some(given::<Company>([registered.clone()]).state);
    let mut rejected = world();
    let rejection = CompanyEvent::Rejected { reason: "spam".into() };
    rejected.company = Some(given::<Company>([registered, rejection]).state);
    let suspended = world().with_company(CompanyEvent::Suspended { reason: "unpaid".into() });
    for world in [pending, rejected, suspended] {
        assert_eq!(world.outcome(), AccessOutcome::CompanyNotActive);
    }
}

#[test]
fn a_superadmin_without_grants_may_give_everything_and_use_nothing() {
    let mut world = world();
    let created = membership_of(1, 1, TenantRole::TenantSuperadmin).into_iter().take(1);
    world.membership = Some(given::<Membership>(created).state);
    let context = world.context_at(10);
    assert!(context.modules.is_empty() && context.permissions.is_empty());
    assert!(context.delegation.can_manage_users && context.delegation.can_buy_addons);
    assert_eq!(context.delegation.grantable_modules, [key("basic"), key("finance")]);
}

#[test]
fn a_check_names_the_first_thing_that_is_missing() {
    let context = world().context_at(10);
    let missing = key("finance.bills.create");
    assert_eq!(access::check(&context, &key("finance.bills.read")), Ok(()));
    assert_eq!(access::check(&context, &missing), Err(Denied::MissingPermission { permission: missing.clone() }));
    assert_eq!(
        access::check(&context, &key("basic.events.read")),
        Err(Denied::ModuleNotGranted { module: key("basic") })
    );
    assert_eq!(
        access::check(&context, &key("market.contracts.read")),
        Err(Denied::ModuleNotOwned { module: key("market") })
    );
    assert_eq!(
        access::check(&context, &key("market.contracts.read")).map_err(|denied| denied.reason()),
        Err("module_not_owned")
    );
}
