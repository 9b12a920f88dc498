//! The shape in which the states of people, sessions, memberships, roles and invitations are stored: one golden file for
//! each schema.
//!
//! An earlier program that reads a state of a later shape under the same number drops what it does not know, and writes
//! what is left: second factors among it. Under another number it folds the events, and refuses those that it does not
//! know. So whoever changes a shape raises `STATE_SCHEMA` and adds a file; one that was released never changes.

use crate::given::{at, company, delegation, key, member, role, user as person};
use kisum_domains::{
    delegation::{Delegation, DelegationStatus, Terms},
    invitation::{Invitation, InvitationStatus},
    membership::{Given, Grant, Membership, MembershipStatus, Received},
    role::{Role, RoleStatus},
    session::{Predecessor, Session, SessionStatus},
    user::{Factor, MailedSecret, RequestedCompany, User, UserStatus},
};
use kisum_events::{
    Aggregate, AuthMethod, FactorId, FactorKind, FactorMaterial, Giver, InvitedGrants, Sealed, SecretPurpose,
    SessionEndCause, TenantRole,
};
use serde_json::Value;
use std::{fs, path::PathBuf};

fn factor() -> FactorId {
    key("01890000-0000-7000-8006-000000000001")
}

/// Every field of a person is named here, so that none is added without this being looked at.
fn users() -> Vec<User> {
    let material = FactorMaterial { label: "Phone".into(), secret: "s".into() };
    let secret = MailedSecret {
        id: key("01890000-0000-7000-8005-000000000001"),
        purpose: SecretPurpose::PasswordReset,
        hash: "h".into(),
        expires_at: at(60),
    };
    let known = User {
        status: UserStatus::Active,
        email_verified: true,
        sessions_ended: 7,
        email: Sealed::new("ada@example.org".into()),
        name: Sealed::new("Ada".into()),
        password_hash: Sealed::new("phc".into()),
        password_beside_factor: true,
        secrets: Sealed::new(vec![secret]),
        requested_company: Sealed::new(RequestedCompany { slug: key("acme-live"), name: "Acme Live".into() }),
        factors: vec![Factor { id: factor(), kind: FactorKind::Totp, used_step: Some(9) }],
        factor_material: Sealed::new([(factor(), material)].into()),
        recovery_codes: Sealed::new(vec!["r".into()]),
    };
    let standing = |status| User { status, ..User::default() };
    vec![
        User::default(),
        known,
        standing(UserStatus::Suspended { since: 3 }),
        standing(UserStatus::Erased { since: 4 }),
    ]
}

/// As [`users`].
fn sessions() -> Vec<Session> {
    let live =
        SessionStatus::Live { idle_until: at(1000), absolute_until: at(5000), generation: 2, rotated_at: Some(at(30)) };
    let known = Session {
        user_id: Some(person(1)),
        status: live,
        amr: vec![AuthMethod::Pwd, AuthMethod::Otp],
        token_hash: Sealed::new("h2".into()),
        predecessors: Sealed::new(vec![Predecessor { generation: 1, token_hash: "h1".into(), rotated_at: at(30) }]),
        user_version: 7,
        stepped_up_at: Some(at(20)),
    };
    let ended = SessionStatus::Ended { cause: SessionEndCause::Logout, tokens_until: at(340) };
    vec![Session::default(), known.clone(), Session { status: ended, ..known }]
}

/// As [`users`].
fn invitations() -> Vec<Invitation> {
    let pending = InvitationStatus::Pending {
        secret_id: key("01890000-0000-7000-8005-000000000001"),
        invited_by: Some(member(1)),
        expires_at: at(60),
    };
    let known = Invitation {
        status: pending,
        company_id: Some(company(1)),
        role: TenantRole::Manager,
        grants: InvitedGrants { modules: vec![key("finance")], permissions: vec![key("finance.bills.read")] },
        email: Sealed::new("ada@example.org".into()),
        token_hash: Sealed::new("h".into()),
    };
    let standing = |status| Invitation { status, ..Invitation::default() };
    vec![
        Invitation::default(),
        known,
        standing(InvitationStatus::Accepted { membership_id: member(2) }),
        standing(InvitationStatus::Withdrawn),
        standing(InvitationStatus::Expired),
    ]
}

/// As [`users`].
fn memberships() -> Vec<Membership> {
    let received = Received {
        from: Giver { user_id: person(2), membership_id: member(2) },
        permissions: [key("finance.bills.read")].into(),
        valid_from: at(10),
        valid_until: at(20),
        version: 5,
    };
    let given = Given {
        to: member(3),
        permissions: [key("finance.bills.read")].into(),
        valid_from: at(10),
        valid_until: at(20),
    };
    let known = Membership {
        company_id: Some(company(1)),
        user_id: Some(person(1)),
        role: TenantRole::Manager,
        status: MembershipStatus::Active,
        modules: [(key("finance"), Grant { version: 2 })].into(),
        permissions: [(key("finance.bills.read"), Grant { version: 3 })].into(),
        roles: [(role(1), Grant { version: 4 })].into(),
        received: [(delegation(1), received)].into(),
        given: [(delegation(2), given)].into(),
    };
    let standing = |status| Membership { status, ..Membership::default() };
    vec![Membership::default(), known, standing(MembershipStatus::Suspended), standing(MembershipStatus::Revoked)]
}

/// As [`users`].
fn delegations() -> Vec<Delegation> {
    let known = Delegation {
        status: DelegationStatus::Given,
        terms: Some(Terms {
            company_id: company(1),
            from: member(1),
            to: member(2),
            permissions: [key("finance.bills.read")].into(),
            valid_from: at(10),
            valid_until: at(20),
        }),
    };
    vec![Delegation::default(), known.clone(), Delegation { status: DelegationStatus::Ended, ..known }]
}

/// As [`users`].
fn roles() -> Vec<Role> {
    let known = Role {
        company_id: Some(company(1)),
        name: "Bookkeepers".into(),
        status: RoleStatus::Live,
        permissions: [(key("finance.bills.read"), Grant { version: 1 })].into(),
    };
    vec![Role::default(), known, Role { status: RoleStatus::Deleted, ..Role::default() }]
}

/// Holds states of every kind against the file of their schema, both ways.
fn assert_as_stored<A: Aggregate + PartialEq + std::fmt::Debug>(name: &str, states: Vec<A>) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden");
    let schema = A::STATE_SCHEMA;
    let path = folder.join(format!("{name}.{schema}.json"));
    let stored: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap_or_default()).unwrap_or_default();
    let shown = serde_json::to_string_pretty(&states).unwrap_or_else(|error| panic!("{error}"));
    let written: Value = serde_json::from_str(&shown).unwrap_or_default();
    assert!(
        stored == written,
        "the shape of '{name}' is not that of schema {schema}: raise STATE_SCHEMA, and add a golden file for it:\n{shown}"
    );
    let read: Vec<A> = serde_json::from_value(stored).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read, states);
    // What is sealed is named by its place in the state: a field that was renamed would stand in the open.
    let objects: Vec<_> = written.as_array().into_iter().flatten().filter_map(Value::as_object).collect();
    for sealed in A::SEALED {
        assert!(objects.iter().any(|state| state.contains_key(*sealed)), "'{name}' has no '{sealed}' to seal");
    }
    for earlier in 2..schema {
        let earlier = folder.join(format!("{name}.{earlier}.json"));
        let text = fs::read_to_string(&earlier).unwrap_or_else(|error| panic!("{}: {error}", earlier.display()));
        assert_ne!(serde_json::from_str::<Value>(&text).ok(), Some(written.clone()), "a number without a change");
    }
}

#[test]
fn a_person_s_state_changes_its_shape_only_with_its_number() {
    assert_as_stored("user", users());
}

#[test]
fn a_session_s_state_changes_its_shape_only_with_its_number() {
    assert_as_stored("session", sessions());
}

#[test]
fn an_invitation_s_state_changes_its_shape_only_with_its_number() {
    assert_as_stored("invitation", invitations());
}

#[test]
fn a_membership_s_state_changes_its_shape_only_with_its_number() {
    assert_as_stored("membership", memberships());
}

#[test]
fn a_role_s_state_changes_its_shape_only_with_its_number() {
    assert_as_stored("role", roles());
}

#[test]
fn a_delegation_s_state_changes_its_shape_only_with_its_number() {
    assert_as_stored("delegation", delegations());
}
