//! What a context may hold, and for how long.

use crate::story::{
    MODULES, PERMISSIONS, SECONDS, any_entitlement, any_module, any_permission, any_role, at, company, key, member,
    role, user,
};
use kisum_domains::{
    Catalog, Company, Membership, PermissionStanding, Role, Session, User,
    access::{self, AccessInputs, AccessVersions},
    role::RoleStatus,
};
use kisum_events::{
    AccessContext, Aggregate, AuthMethod, CompanyEvent, CompanyId, MembershipEvent, ModuleEntitlement, ModuleKey,
    RoleEvent, RoleId, Sealed, SessionEvent, TenantRole, UserEvent,
};
use proptest::{bool, collection::vec, prelude::*};
use std::collections::BTreeMap;

/// What varies: the grants, the role and the schedule. Everybody is active throughout.
#[derive(Debug)]
struct World {
    membership: Membership,
    roles: BTreeMap<RoleId, Role>,
    entitlements: Vec<ModuleEntitlement>,
}

fn any_world() -> impl Strategy<Value = World> {
    let grants = vec(
        prop_oneof![
            any_module().prop_map(|module| MembershipEvent::ModuleGranted { module }),
            any_permission().prop_map(|permission| MembershipEvent::PermissionGranted { permission }),
            (1_u8..4).prop_map(|number| MembershipEvent::RoleAssigned { role_id: role(number) }),
        ],
        0..8,
    );
    // Some are of another company, and some were deleted.
    let roles = vec((1_u8..4, any_permission(), bool::weighted(0.8), bool::weighted(0.8)), 0..6);
    (any_role(), grants, roles, vec(any_entitlement(), 0..8)).prop_map(|(standing, grants, roles, entitlements)| {
        let created = created(standing);
        let roles = roles.into_iter().map(|(number, permission, is_theirs, is_live)| {
            let company_id = if is_theirs { company() } else { CompanyId::new(user(7).uuid()) };
            let created = RoleEvent::Created { company_id, name: "r".to_owned(), permissions: vec![permission] };
            (role(number), folded(std::iter::once(created).chain((!is_live).then_some(RoleEvent::Deleted))))
        });
        World { membership: folded(std::iter::once(created).chain(grants)), roles: roles.collect(), entitlements }
    })
}

fn created(tenant_role: TenantRole) -> MembershipEvent {
    MembershipEvent::Created { company_id: company(), user_id: user(1), tenant_role, via: "seed".into() }
}

fn folded<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> A {
    let mut state = A::default();
    for (event, version) in events.into_iter().zip(1_u64..) {
        state.evolve(&event, version);
    }
    state
}

impl World {
    fn context_at(&self, second: u64) -> AccessContext {
        let person: User = folded([UserEvent::Registered { email: Sealed::absent(), name: Sealed::absent() }]);
        let session: Session = folded([SessionEvent::Started {
            user_id: user(1),
            amr: vec![AuthMethod::Pwd],
            idle_until: at(10 * SECONDS),
            absolute_until: at(10 * SECONDS),
            token_hash: Sealed::absent(),
            ip: Sealed::absent(),
            agent: Sealed::absent(),
            user_version: None,
        }]);
        let firm: Company = folded([
            CompanyEvent::Registered { slug: key("acme-live"), name: "Acme".into(), owner: user(9) },
            CompanyEvent::Approved,
        ]);
        let inputs = AccessInputs {
            user_id: user(1),
            user: &person,
            session: &session,
            company: Some((company(), &firm)),
            membership: Some((member(1), &self.membership)),
            roles: &self.roles,
            givers: &BTreeMap::new(),
            entitlements: &self.entitlements,
            catalog: &Catalog {
                modules: MODULES.iter().copied().map(key).collect(),
                permissions: PERMISSIONS.iter().map(|text| (key(text), PermissionStanding::Grantable)).collect(),
            },
            versions: AccessVersions::default(),
        };
        access::resolve(&inputs, at(second)).context.unwrap_or_else(|| panic!("everybody is active"))
    }

    /// Straight from the definition, one entry at a time.
    fn owns(&self, module: &ModuleKey, second: u64) -> bool {
        self.entitlements.iter().any(|entry| {
            entry.module == *module && entry.from <= at(second) && entry.until.is_none_or(|until| at(second) < until)
        })
    }
}

/// A context without what tells only when it was made.
fn contents(mut context: AccessContext) -> AccessContext {
    context.valid_until = None;
    context.meta.generated_at = at(0);
    context
}

fn sorted<T: Ord>(list: &[T]) -> bool {
    list.is_sorted_by(|one, two| one < two)
}

proptest! {
    #[test]
    fn no_permission_is_held_whose_module_is_not_both_owned_and_granted(world in any_world(), now in 0..SECONDS) {
        let context = world.context_at(now);
        for permission in &context.permissions {
            let module = permission.module();
            prop_assert!(world.owns(&module, now) && world.membership.modules.contains_key(&module));
            let by_role = world.roles.iter().any(|(id, role)| {
                world.membership.roles.contains_key(id)
                    && role.status == RoleStatus::Live
                    && role.company_id == Some(company())
                    && role.permissions.contains_key(permission)
            });
            prop_assert!(world.membership.permissions.contains_key(permission) || by_role);
            prop_assert_eq!(access::check(&context, permission), Ok(()));
        }
        for module in MODULES.iter().copied().map(key::<ModuleKey>) {
            let owned = world.owns(&module, now);
            prop_assert_eq!(context.owned_modules.contains(&module), owned);
            let usable = owned && world.membership.modules.contains_key(&module);
            prop_assert_eq!(context.modules.contains(&module), usable);
        }
        prop_assert_eq!(context.core_app_visible, world.owns(&key("basic"), now));
    }

    #[test]
    fn a_check_allows_exactly_the_permissions_of_the_context(world in any_world(), now in 0..SECONDS) {
        let context = world.context_at(now);
        for permission in PERMISSIONS {
            prop_assert_eq!(access::check(&context, &key(permission)).is_ok(), context.holds(permission));
        }
    }

    #[test]
    fn the_short_form_of_a_check_allows_what_the_check_finds_nothing_missing_for(
        world in any_world(), now in 0..SECONDS
    ) {
        let context = world.context_at(now);
        // Whoever sends a context may be wrong about its lists.
        let mut disowned = context.clone();
        disowned.owned_modules.clear();
        let mut ungranted = context.clone();
        ungranted.modules.clear();
        for context in [context, disowned, ungranted] {
            for permission in PERMISSIONS {
                prop_assert_eq!(context.allows(permission), context.check(&key(permission)).is_ok());
            }
            for malformed in ["", ".", "finance", "finance.", ".bills.read"] {
                prop_assert!(!context.allows(malformed));
            }
        }
    }

    #[test]
    fn lists_stand_in_order_and_nobody_may_give_what_the_company_does_not_own(
        world in any_world(), now in 0..SECONDS
    ) {
        let context = world.context_at(now);
        prop_assert!(sorted(&context.modules) && sorted(&context.owned_modules) && sorted(&context.permissions));
        let rights = context.delegation;
        prop_assert!(sorted(&rights.grantable_modules) && sorted(&rights.grantable_permissions));
        prop_assert!(rights.grantable_modules.iter().all(|module| world.owns(module, now)));
        prop_assert!(rights.grantable_permissions.iter().all(|permission| world.owns(&permission.module(), now)));
    }

    #[test]
    fn nothing_changes_before_valid_until_and_something_does_at_it(world in any_world(), now in 0..SECONDS) {
        let context = world.context_at(now);
        let until = context.valid_until;
        let current = contents(context);
        for second in now..=SECONDS {
            let same = contents(world.context_at(second)) == current;
            match until {
                Some(until) if at(second) == until => {
                    prop_assert!(!same);
                    break;
                }
                _ => prop_assert!(same, "changed at {second}"),
            }
        }
    }
}
