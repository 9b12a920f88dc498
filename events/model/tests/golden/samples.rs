//! One event of every type, with every field filled, so that its golden text shows the whole shape.

use kisum_events::{
    AddonEvent, AnyEvent, AuthMethod, CompanyEvent, DelegationEndCause, DelegationEvent, EntitlementCause,
    EntitlementSource, FactorKind, FactorMaterial, InvitationEvent, InvitedGrants, KeyringEvent, LogEvent,
    MembershipEvent, ModuleEntitlement, ModuleEvent, PackageEvent, PasswordCause, PublicKey, RoleEvent, Sealed,
    SecretPurpose, SessionEndCause, SessionEvent, SigninEvent, SigninFailure, SigningAlgorithm, SourceKind, StaffEvent,
    StaffRole, SubscriptionEvent, TenantRole, Timestamp, UserEvent,
};
use std::{fmt::Debug, str::FromStr};

/// Reads an id or key of the sample.
fn key<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

fn at(text: &str) -> Timestamp {
    key(text)
}

fn sealed(text: &str) -> Sealed<String> {
    Sealed::new(text.to_owned())
}

const USER: &str = "01890000-0000-7000-8000-0000000000a1";
const COMPANY: &str = "01890000-0000-7000-8000-0000000000c1";
const MEMBERSHIP: &str = "01890000-0000-7000-8000-0000000000b1";
const GIVER: &str = "01890000-0000-7000-8000-0000000000b2";
const DELEGATION: &str = "01890000-0000-7000-8000-0000000000d2";
const ROLE: &str = "01890000-0000-7000-8000-0000000000d1";
const FACTOR: &str = "01890000-0000-7000-8000-0000000000f1";
const EVENT: &str = "01890000-0000-7000-8000-0000000000e1";
const SECRET: &str = "01890000-0000-7000-8000-0000000000f1";
const NOON: &str = "2026-03-01T12:00:00.000000Z";
const LATER: &str = "2026-03-08T12:00:00.123456Z";
const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// Every type once, in the order of the catalogue.
pub(crate) fn samples() -> Vec<AnyEvent> {
    let mut all = Vec::new();
    all.extend(user().into_iter().map(AnyEvent::User));
    all.extend(session().into_iter().map(AnyEvent::Session));
    all.extend(staff().into_iter().map(AnyEvent::Staff));
    all.push(AnyEvent::Signin(SigninEvent::Failed {
        user_id: key(USER),
        reason: SigninFailure::Credentials,
        count: 7,
        from: at(NOON),
        until: at(LATER),
        net: sealed("192.0.2.0"),
    }));
    all.extend(company().into_iter().map(AnyEvent::Company));
    all.extend(membership().into_iter().map(AnyEvent::Membership));
    all.extend(role().into_iter().map(AnyEvent::Role));
    all.extend(delegation().into_iter().map(AnyEvent::Delegation));
    all.extend(module().into_iter().map(AnyEvent::Module));
    all.extend(package().into_iter().map(AnyEvent::Package));
    all.extend(addon().into_iter().map(AnyEvent::Addon));
    all.extend(subscription().into_iter().map(AnyEvent::Subscription));
    all.push(AnyEvent::Log(LogEvent::EpochStarted { epoch: 2, reason: "restored from backup".to_owned() }));
    all.extend(keyring().into_iter().map(AnyEvent::Keyring));
    all.extend(invitation().into_iter().map(AnyEvent::Invitation));
    all
}

fn keyring() -> Vec<KeyringEvent> {
    let jwk = PublicKey::Rsa { n: "0vx7agoebGcQSuuPiLJXZptN".to_owned(), e: "AQAB".to_owned() };
    vec![
        KeyringEvent::Published { kid: key("2026-03"), alg: SigningAlgorithm::PS256, jwk, not_before: at(NOON) },
        KeyringEvent::Activated { kid: key("2026-03") },
        KeyringEvent::Retired { kid: key("2026-03"), until: at(LATER) },
        KeyringEvent::Removed { kid: key("2026-03") },
    ]
}

fn user() -> Vec<UserEvent> {
    vec![
        UserEvent::Registered { email: sealed("Ada@Example.org"), name: sealed("Ada Lovelace") },
        UserEvent::EmailVerified,
        UserEvent::PasswordSet {
            hash: sealed("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"),
            cause: PasswordCause::Changed,
            beside_factor: false,
        },
        UserEvent::Suspended,
        UserEvent::Reactivated,
        UserEvent::SessionsEnded,
        UserEvent::SecretIssued {
            id: key(SECRET),
            purpose: SecretPurpose::PasswordReset,
            hash: sealed(HASH),
            expires_at: at(LATER),
        },
        UserEvent::SecretUsed { id: key(SECRET) },
        UserEvent::RegistrationAttempted,
        UserEvent::CompanyRequested { slug: Sealed::new(key("acme-live")), name: Sealed::new("Acme Live".to_owned()) },
        UserEvent::FactorAdded {
            id: key(FACTOR),
            kind: FactorKind::Totp,
            material: Sealed::new(FactorMaterial {
                label: "Phone".to_owned(),
                secret: "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ".to_owned(),
            }),
        },
        UserEvent::FactorRemoved { id: key(FACTOR) },
        UserEvent::FactorUsed { id: key(FACTOR), step: Some(59_000_000), secret: sealed("{}") },
        UserEvent::RecoveryCodesIssued { hashes: Sealed::new(vec![HASH.to_owned()]) },
        UserEvent::RecoveryCodeUsed { hash: sealed(HASH) },
        UserEvent::Erased,
    ]
}

fn staff() -> Vec<StaffEvent> {
    vec![
        StaffEvent::RoleGranted { role: StaffRole::PlatformOperator },
        StaffEvent::RoleRevoked { role: StaffRole::PlatformOperator },
    ]
}

fn session() -> Vec<SessionEvent> {
    vec![
        SessionEvent::Started {
            user_id: key(USER),
            amr: vec![AuthMethod::Pwd],
            idle_until: at(NOON),
            absolute_until: at(LATER),
            token_hash: sealed(HASH),
            ip: sealed("192.0.2.7"),
            agent: sealed("curl/8.5.0"),
            user_version: None,
        },
        SessionEvent::Refreshed {
            generation: 1,
            rotated_at: at(NOON),
            idle_until: at(LATER),
            token_hash: sealed(HASH),
        },
        SessionEvent::ReuseDetected { generation: 3 },
        SessionEvent::Ended { user_id: key(USER), cause: SessionEndCause::ReuseDetected, tokens_until: at(NOON) },
        SessionEvent::Kept { user_version: 4 },
        SessionEvent::SteppedUp { amr: vec![AuthMethod::Otp], at: at(NOON) },
    ]
}

fn company() -> Vec<CompanyEvent> {
    vec![
        CompanyEvent::Registered { slug: key("acme-live"), name: "Acme Live".to_owned(), owner: key(USER) },
        CompanyEvent::Approved,
        CompanyEvent::Rejected { reason: "not a company".to_owned() },
        CompanyEvent::Suspended { reason: "unpaid".to_owned() },
        CompanyEvent::Reactivated,
        CompanyEvent::SuperadminsChanged { memberships: vec![key(MEMBERSHIP)] },
        CompanyEvent::SeatsChanged { used: 4 },
        CompanyEvent::PolicySet {
            role: TenantRole::Manager,
            modules: vec![key("finance")],
            permissions: vec![key("finance.bills.read")],
        },
    ]
}

fn membership() -> Vec<MembershipEvent> {
    vec![
        MembershipEvent::Created {
            company_id: key(COMPANY),
            user_id: key(USER),
            tenant_role: TenantRole::Admin,
            via: "administrator".to_owned(),
        },
        MembershipEvent::TenantRoleChanged { from: TenantRole::Manager, to: TenantRole::TenantSuperadmin },
        MembershipEvent::Suspended,
        MembershipEvent::Reactivated,
        MembershipEvent::Revoked,
        MembershipEvent::ModuleGranted { module: key("finance") },
        MembershipEvent::ModuleRevoked { module: key("finance") },
        MembershipEvent::PermissionGranted { permission: key("finance.bills.read") },
        MembershipEvent::PermissionRevoked { permission: key("finance.bills.read") },
        MembershipEvent::RoleAssigned { role_id: key(ROLE) },
        MembershipEvent::RoleUnassigned { role_id: key(ROLE) },
        MembershipEvent::DelegationReceived {
            delegation_id: key(DELEGATION),
            from: key(GIVER),
            from_user: key(USER),
            permissions: vec![key("finance.bills.read")],
            valid_from: at(NOON),
            valid_until: at(LATER),
        },
        MembershipEvent::DelegationGiven {
            delegation_id: key(DELEGATION),
            to: key(MEMBERSHIP),
            permissions: vec![key("finance.bills.read")],
            valid_from: at(NOON),
            valid_until: at(LATER),
        },
        MembershipEvent::DelegationEnded { delegation_id: key(DELEGATION) },
    ]
}

fn delegation() -> Vec<DelegationEvent> {
    vec![
        DelegationEvent::Granted {
            company_id: key(COMPANY),
            from: key(GIVER),
            to: key(MEMBERSHIP),
            permissions: vec![key("finance.bills.read")],
            valid_from: at(NOON),
            valid_until: at(LATER),
        },
        DelegationEvent::Ended { to: key(MEMBERSHIP), cause: DelegationEndCause::GiverNarrowed },
    ]
}

fn role() -> Vec<RoleEvent> {
    vec![
        RoleEvent::Created {
            company_id: key(COMPANY),
            name: "Bookkeepers".to_owned(),
            permissions: vec![key("finance.bills.create"), key("finance.bills.read")],
        },
        RoleEvent::Changed {
            name: Some("Auditors".to_owned()),
            previous_name: Some("Bookkeepers".to_owned()),
            added: vec![key("finance.income.read")],
            removed: vec![key("finance.bills.create")],
        },
        RoleEvent::Deleted,
    ]
}

fn invitation() -> Vec<InvitationEvent> {
    vec![
        InvitationEvent::Sent {
            company_id: key(COMPANY),
            tenant_role: TenantRole::Manager,
            grants: InvitedGrants { modules: vec![key("finance")], permissions: vec![key("finance.bills.read")] },
            invited_by: Some(key(MEMBERSHIP)),
            secret_id: key(SECRET),
            expires_at: at(LATER),
            email: sealed("Ada@Example.org"),
            token_hash: sealed(HASH),
        },
        InvitationEvent::Resent {
            invited_by: Some(key(MEMBERSHIP)),
            secret_id: key(SECRET),
            expires_at: at(LATER),
            token_hash: sealed(HASH),
        },
        InvitationEvent::Withdrawn,
        InvitationEvent::Accepted {
            membership_id: key(MEMBERSHIP),
            withheld: InvitedGrants { modules: vec![], permissions: vec![key("finance.bills.read")] },
        },
        InvitationEvent::Expired,
    ]
}

fn module() -> Vec<ModuleEvent> {
    vec![
        ModuleEvent::Defined { key: key("finance"), name: "Finance".to_owned() },
        ModuleEvent::PermissionAdded { key: key("finance.bills.read") },
        ModuleEvent::PermissionRetired { key: key("finance.bills.read") },
    ]
}

fn package() -> Vec<PackageEvent> {
    vec![
        PackageEvent::VersionPublished {
            version: 1,
            modules: vec![key("basic")],
            limits: [("seats".to_owned(), 25)].into(),
        },
        PackageEvent::VersionRetired { version: 1 },
    ]
}

fn addon() -> Vec<AddonEvent> {
    vec![
        AddonEvent::VersionPublished {
            version: 2,
            modules: vec![key("finance"), key("market")],
            limits: [("bills".to_owned(), 1000)].into(),
        },
        AddonEvent::VersionRetired { version: 2 },
    ]
}

fn subscription() -> Vec<SubscriptionEvent> {
    vec![
        SubscriptionEvent::Started { package: key("basic"), version: 1, from: at(NOON), until: None },
        SubscriptionEvent::PlanChanged { package: key("basic"), version: 2, from: at(NOON), until: Some(at(LATER)) },
        SubscriptionEvent::Cancelled { effective_at: at(LATER) },
        SubscriptionEvent::AddonAttached { addon: key("finance"), version: 1, from: at(NOON), until: Some(at(LATER)) },
        SubscriptionEvent::AddonDetached { addon: key("finance"), effective_at: at(LATER) },
        SubscriptionEvent::EntitlementChanged {
            company_id: key(COMPANY),
            entitlements: vec![
                entitlement("basic", SourceKind::Package, None),
                entitlement("finance", SourceKind::Addon, Some(at(LATER))),
            ],
            entitlement_version: 0,
            previous_entitlement_version: 41,
            cause: EntitlementCause { event_id: key(EVENT), event_type: "addon.attached".to_owned() },
        },
    ]
}

fn entitlement(module: &str, kind: SourceKind, until: Option<Timestamp>) -> ModuleEntitlement {
    ModuleEntitlement {
        module: key(module),
        source: EntitlementSource { kind, id: module.to_owned() },
        from: at(NOON),
        until,
        limits: [("seats".to_owned(), 25)].into(),
    }
}
