//! Folding is total and deterministic: any sequence folds, and going on from a stored state gives what folding
//! everything at once gives. A stored state is split into its public and its sealed part, as the log stores it.

use crate::story::{
    any_entitlement, any_instant, any_limits, any_module, any_permission, any_role, company, delegation, event, key,
    member, role, user,
};
use kisum_domains::{Company, Keyring, Membership, Module, Package, Role, Session, Subscription, User};
use kisum_events::{
    Aggregate, AuthMethod, CompanyEvent, EntitlementCause, FactorId, FactorKind, FactorMaterial, KeyringEvent,
    MembershipEvent, ModuleEvent, PackageEvent, PasswordCause, PublicKey, RoleEvent, Sealed, SessionEndCause,
    SessionEvent, SigningAlgorithm, SubscriptionEvent, UserEvent,
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value};
use std::fmt::Debug;

/// The state after a trip through the log's two columns.
fn stored<A: Aggregate>(state: &A) -> A {
    let Ok(Value::Object(mut public)) = serde_json::to_value(state) else { panic!("a state is an object") };
    let mut sealed = Map::new();
    for field in A::SEALED {
        let value = public.remove(*field).unwrap_or_else(|| panic!("the state has no field '{field}'"));
        sealed.insert((*field).to_owned(), value);
    }
    serde_json::from_value::<A>(Value::Object(public.clone())).unwrap_or_else(|error| panic!("public part: {error}"));
    public.extend(sealed);
    serde_json::from_value(Value::Object(public)).unwrap_or_else(|error| panic!("{error}"))
}

fn folds_alike<A: Aggregate + PartialEq + Debug>(events: &[A::Event]) -> Result<(), TestCaseError> {
    let (mut at_once, mut step_by_step) = (A::default(), A::default());
    for (event, version) in events.iter().zip(1_u64..) {
        at_once.evolve(event, version);
        step_by_step = stored(&step_by_step);
        step_by_step.evolve(event, version);
    }
    prop_assert_eq!(at_once, stored(&step_by_step));
    Ok(())
}

fn text() -> impl Strategy<Value = String> {
    select(&["one", "two"]).prop_map(str::to_owned)
}

fn sealed() -> impl Strategy<Value = Sealed<String>> {
    prop_oneof![Just(Sealed::absent()), text().prop_map(Sealed::new)]
}

fn any_factor() -> impl Strategy<Value = FactorId> {
    (1_u8..4).prop_map(|number| key(&format!("01890000-0000-7000-8006-0000000000{number:02x}")))
}

fn user_event() -> impl Strategy<Value = UserEvent> {
    let cause =
        select(&[PasswordCause::Initial, PasswordCause::Changed, PasswordCause::Reset, PasswordCause::Upgraded]);
    prop_oneof![
        (sealed(), sealed()).prop_map(|(email, name)| UserEvent::Registered { email, name }),
        (sealed(), cause, any::<bool>()).prop_map(|(hash, cause, beside_factor)| UserEvent::PasswordSet {
            hash,
            cause,
            beside_factor
        }),
        select(&[
            UserEvent::EmailVerified,
            UserEvent::Suspended,
            UserEvent::Reactivated,
            UserEvent::SessionsEnded,
            UserEvent::RegistrationAttempted,
            UserEvent::Erased,
        ]),
        (any_factor(), sealed()).prop_map(|(id, text)| {
            let material = |secret: &String| FactorMaterial { label: "mine".to_owned(), secret: secret.clone() };
            let material = text.get().map_or_else(Sealed::absent, |text| Sealed::new(material(text)));
            UserEvent::FactorAdded { id, kind: FactorKind::Totp, material }
        }),
        any_factor().prop_map(|id| UserEvent::FactorRemoved { id }),
        (any_factor(), option::of(0_u64..5), sealed()).prop_map(|(id, step, secret)| UserEvent::FactorUsed {
            id,
            step,
            secret
        }),
        vec(text(), 0..3).prop_map(|hashes| UserEvent::RecoveryCodesIssued { hashes: Sealed::new(hashes) }),
        sealed().prop_map(|hash| UserEvent::RecoveryCodeUsed { hash }),
    ]
}

fn session_event() -> impl Strategy<Value = SessionEvent> {
    let cause = select(&[SessionEndCause::Logout, SessionEndCause::Revoked, SessionEndCause::ReuseDetected]);
    prop_oneof![
        (any_instant(), any_instant(), sealed()).prop_map(|(idle_until, absolute_until, token_hash)| {
            let (ip, agent) = (Sealed::absent(), Sealed::absent());
            let amr = vec![AuthMethod::Pwd];
            let (user_id, user_version) = (user(1), Some(3));
            SessionEvent::Started { user_id, amr, idle_until, absolute_until, token_hash, ip, agent, user_version }
        }),
        (0_u32..40, any_instant(), any_instant(), sealed()).prop_map(
            |(generation, rotated_at, idle_until, token_hash)| SessionEvent::Refreshed {
                generation,
                rotated_at,
                idle_until,
                token_hash
            }
        ),
        (0_u32..40).prop_map(|generation| SessionEvent::ReuseDetected { generation }),
        (0_u64..40).prop_map(|user_version| SessionEvent::Kept { user_version }),
        any_instant().prop_map(|at| SessionEvent::SteppedUp { amr: vec![AuthMethod::Otp], at }),
        (cause, any_instant()).prop_map(|(cause, tokens_until)| SessionEvent::Ended {
            user_id: user(1),
            cause,
            tokens_until
        }),
    ]
}

fn company_event() -> impl Strategy<Value = CompanyEvent> {
    prop_oneof![
        text().prop_map(|name| CompanyEvent::Registered { slug: key(&name), name, owner: user(1) }),
        text().prop_map(|reason| CompanyEvent::Rejected { reason }),
        text().prop_map(|reason| CompanyEvent::Suspended { reason }),
        select(&[CompanyEvent::Approved, CompanyEvent::Reactivated]),
        vec(0_u8..4, 0..4).prop_map(|numbers| CompanyEvent::SuperadminsChanged {
            memberships: numbers.into_iter().map(member).collect()
        }),
        (0_u32..9).prop_map(|used| CompanyEvent::SeatsChanged { used }),
        any_role().prop_map(|role| CompanyEvent::PolicySet {
            role,
            modules: vec![key("finance")],
            permissions: vec![]
        }),
    ]
}

fn membership_event() -> impl Strategy<Value = MembershipEvent> {
    prop_oneof![
        (any_role(), text()).prop_map(|(tenant_role, via)| MembershipEvent::Created {
            company_id: company(),
            user_id: user(1),
            tenant_role,
            via
        }),
        (any_role(), any_role()).prop_map(|(from, to)| MembershipEvent::TenantRoleChanged { from, to }),
        select(&[MembershipEvent::Suspended, MembershipEvent::Reactivated, MembershipEvent::Revoked]),
        any_module().prop_map(|module| MembershipEvent::ModuleGranted { module }),
        any_module().prop_map(|module| MembershipEvent::ModuleRevoked { module }),
        any_permission().prop_map(|permission| MembershipEvent::PermissionGranted { permission }),
        any_permission().prop_map(|permission| MembershipEvent::PermissionRevoked { permission }),
        (1_u8..4).prop_map(|number| MembershipEvent::RoleAssigned { role_id: role(number) }),
        (1_u8..4).prop_map(|number| MembershipEvent::RoleUnassigned { role_id: role(number) }),
        (1_u8..4, vec(any_permission(), 0..3), any_instant(), any_instant()).prop_map(
            |(number, permissions, valid_from, valid_until)| MembershipEvent::DelegationReceived {
                delegation_id: delegation(number),
                from: member(number),
                from_user: user(number),
                permissions,
                valid_from,
                valid_until,
            }
        ),
        (1_u8..4, vec(any_permission(), 0..3), any_instant()).prop_map(|(number, permissions, valid_until)| {
            let (delegation_id, to) = (delegation(number), member(number));
            MembershipEvent::DelegationGiven { delegation_id, to, permissions, valid_from: valid_until, valid_until }
        }),
        (1_u8..4).prop_map(|number| MembershipEvent::DelegationEnded { delegation_id: delegation(number) }),
    ]
}

fn role_event() -> impl Strategy<Value = RoleEvent> {
    let permissions = || vec(any_permission(), 0..4);
    prop_oneof![
        (text(), permissions()).prop_map(|(name, permissions)| RoleEvent::Created {
            company_id: company(),
            name,
            permissions
        }),
        (option::of(text()), permissions(), permissions()).prop_map(|(name, added, removed)| RoleEvent::Changed {
            previous_name: name.clone(),
            name,
            added,
            removed
        }),
        Just(RoleEvent::Deleted),
    ]
}

fn keyring_event() -> impl Strategy<Value = KeyringEvent> {
    let published = |(kid, n, not_before): (String, String, _)| {
        let jwk = PublicKey::Rsa { n, e: "AQAB".to_owned() };
        KeyringEvent::Published { kid: key(&kid), alg: SigningAlgorithm::PS256, jwk, not_before }
    };
    prop_oneof![
        (text(), text(), any_instant()).prop_map(published),
        text().prop_map(|kid| KeyringEvent::Activated { kid: key(&kid) }),
        (text(), any_instant()).prop_map(|(kid, until)| KeyringEvent::Retired { kid: key(&kid), until }),
        text().prop_map(|kid| KeyringEvent::Removed { kid: key(&kid) }),
    ]
}

fn module_event() -> impl Strategy<Value = ModuleEvent> {
    prop_oneof![
        (any_module(), text()).prop_map(|(key, name)| ModuleEvent::Defined { key, name }),
        any_permission().prop_map(|key| ModuleEvent::PermissionAdded { key }),
        any_permission().prop_map(|key| ModuleEvent::PermissionRetired { key }),
    ]
}

fn package_event() -> impl Strategy<Value = PackageEvent> {
    prop_oneof![
        (1_u32..4, vec(any_module(), 0..3), any_limits())
            .prop_map(|(version, modules, limits)| PackageEvent::VersionPublished { version, modules, limits }),
        (1_u32..4).prop_map(|version| PackageEvent::VersionRetired { version }),
    ]
}

fn subscription_event() -> impl Strategy<Value = SubscriptionEvent> {
    let term = || (1_u32..3, any_instant(), option::of(any_instant()));
    prop_oneof![
        (any_module(), term()).prop_map(|(name, (version, from, until))| SubscriptionEvent::Started {
            package: key(name.as_str()),
            version,
            from,
            until
        }),
        (any_module(), term()).prop_map(|(name, (version, from, until))| SubscriptionEvent::PlanChanged {
            package: key(name.as_str()),
            version,
            from,
            until
        }),
        any_instant().prop_map(|effective_at| SubscriptionEvent::Cancelled { effective_at }),
        (any_module(), term()).prop_map(|(name, (version, from, until))| SubscriptionEvent::AddonAttached {
            addon: key(name.as_str()),
            version,
            from,
            until
        }),
        (any_module(), any_instant()).prop_map(|(name, effective_at)| SubscriptionEvent::AddonDetached {
            addon: key(name.as_str()),
            effective_at
        }),
        vec(any_entitlement(), 0..4).prop_map(|entitlements| SubscriptionEvent::EntitlementChanged {
            company_id: company(),
            entitlements,
            entitlement_version: 5,
            previous_entitlement_version: 3,
            cause: EntitlementCause { event_id: event(1), event_type: "addon.attached".to_owned() },
        }),
    ]
}

proptest! {
    #[test]
    fn a_person_folds_alike(events in vec(user_event(), 0..12)) {
        folds_alike::<User>(&events)?;
    }

    #[test]
    fn a_session_folds_alike(events in vec(session_event(), 0..40)) {
        folds_alike::<Session>(&events)?;
    }

    #[test]
    fn a_company_folds_alike(events in vec(company_event(), 0..12)) {
        folds_alike::<Company>(&events)?;
    }

    #[test]
    fn a_membership_folds_alike(events in vec(membership_event(), 0..16)) {
        folds_alike::<Membership>(&events)?;
    }

    #[test]
    fn a_role_folds_alike(events in vec(role_event(), 0..12)) {
        folds_alike::<Role>(&events)?;
    }

    #[test]
    fn a_keyring_folds_alike(events in vec(keyring_event(), 0..12)) {
        folds_alike::<Keyring>(&events)?;
    }

    #[test]
    fn a_module_folds_alike(events in vec(module_event(), 0..12)) {
        folds_alike::<Module>(&events)?;
    }

    #[test]
    fn a_package_folds_alike(events in vec(package_event(), 0..12)) {
        folds_alike::<Package>(&events)?;
    }

    #[test]
    fn a_subscription_folds_alike(events in vec(subscription_event(), 0..12)) {
        folds_alike::<Subscription>(&events)?;
    }
}
