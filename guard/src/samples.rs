//! People, companies, events and answers for this crate's tests.

use crate::{
    answer::{Answer, Verdict},
    contexts::Asked,
    org::XOrg,
};
use kisum_events::{
    AccessContext, AccessSubject, AsOf, CompanyId, ContextMeta, Cursor, DelegationRights, Envelope, Head, Limits, Log,
    MembershipId, Position, RoleId, SessionId, StreamName, TenantRole, Timestamp, UserId,
};
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

pub(crate) fn user(n: u128) -> UserId {
    UserId::new(Uuid::from_u128(0x1_0000 + n))
}

pub(crate) fn session(n: u128) -> SessionId {
    SessionId::new(Uuid::from_u128(0x2_0000 + n))
}

pub(crate) fn company(n: u128) -> CompanyId {
    CompanyId::new(Uuid::from_u128(0x3_0000 + n))
}

pub(crate) fn membership(n: u128) -> MembershipId {
    MembershipId::new(Uuid::from_u128(0x4_0000 + n))
}

pub(crate) fn role(n: u128) -> RoleId {
    RoleId::new(Uuid::from_u128(0x5_0000 + n))
}

pub(crate) fn wall() -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000)
}

/// Person `user` asks for company `company`, by id.
pub(crate) fn asked(user_n: u128, company_n: u128) -> Asked {
    Asked { user: user(user_n), org: XOrg::Id(company(company_n)) }
}

pub(crate) fn at(position: Position) -> Cursor {
    Cursor { epoch: 1, position }
}

pub(crate) fn as_of(auth: Position, core: Position) -> AsOf {
    AsOf { auth: at(auth), core: at(core) }
}

pub(crate) fn head(position: Position) -> Head {
    Head { epoch: 1, position, access_position: position, age_ms: 0 }
}

/// Person, company and membership of the same number.
pub(crate) fn subject(user_n: u128, company_n: u128, member: Option<u128>) -> AccessSubject {
    AccessSubject {
        user_id: user(user_n),
        session_id: session(user_n),
        company_id: Some(company(company_n)),
        membership_id: member.map(membership),
        relies_on: vec![],
    }
}

pub(crate) fn context(user_n: u128, company_n: u128, member: u128, permissions: &[&str]) -> AccessContext {
    AccessContext {
        user_id: user(user_n),
        company_id: company(company_n),
        membership_id: membership(member),
        tenant_role: TenantRole::User,
        core_app_visible: false,
        modules: vec!["finance".parse().unwrap()],
        owned_modules: vec!["finance".parse().unwrap(), "market".parse().unwrap()],
        permissions: permissions.iter().map(|key| key.parse().unwrap()).collect(),
        limits: Limits::new(),
        delegation: DelegationRights::default(),
        valid_until: None,
        meta: ContextMeta { token_version: 0, access_version: 1, entitlement_version: 1, generated_at: wall() },
    }
}

/// An active member's answer; membership and company have the same number.
pub(crate) fn active(user_n: u128, company_n: u128, as_of: AsOf, permissions: &[&str]) -> Answer {
    Answer {
        verdict: Verdict::Active(Arc::new(context(user_n, company_n, user_n, permissions))),
        as_of,
        subject: subject(user_n, company_n, Some(user_n)),
        access_version: 1,
        entitlement_version: 1,
    }
}

/// A stranger's answer.
pub(crate) fn stranger(user_n: u128, company_n: u128, as_of: AsOf) -> Answer {
    refused(as_of, subject(user_n, company_n, None))
}

/// The answer about a company that nobody knows.
pub(crate) fn unknown_company(user_n: u128) -> Answer {
    let subject = AccessSubject { company_id: None, ..subject(user_n, 0, None) };
    refused(as_of(0, 0), subject)
}

fn refused(as_of: AsOf, subject: AccessSubject) -> Answer {
    Answer { verdict: Verdict::NotAMember, as_of, subject, access_version: 0, entitlement_version: 0 }
}

/// An access event as the bus carries it.
pub(crate) fn envelope(
    log: Log,
    position: Position,
    previous_access_position: Position,
    stream: &StreamName,
    (event_type, company_id, data): (&str, Option<CompanyId>, Value),
) -> Envelope {
    let mut envelope = json!({
        "id": Uuid::from_u128(u128::from(position)),
        "log": log,
        "epoch": 1,
        "position": position,
        "previousAccessPosition": previous_access_position,
        "stream": stream,
        "version": 1,
        "type": event_type,
        "schema": 1,
        "effect": "narrows",
        "recordedAt": wall(),
        "data": data,
        "meta": { "actor": "system", "requestId": Uuid::from_u128(u128::from(position)) },
    });
    if let Some(company) = company_id {
        envelope["companyId"] = json!(company);
    }
    // Through text, as on the bus: the payload is kept as it was written.
    serde_json::from_str(&envelope.to_string()).unwrap()
}

/// A permission is taken from membership `member` in company `company_n`.
pub(crate) fn permission_revoked(position: Position, previous: Position, member: u128, company_n: u128) -> Envelope {
    let data = json!({ "permission": "finance.bills.read" });
    let event = ("membership.permission_revoked", Some(company(company_n)), data);
    envelope(Log::Auth, position, previous, &StreamName::membership(membership(member)), event)
}

/// The entitlements of a company changed.
pub(crate) fn entitlement_changed(position: Position, previous: Position, company_n: u128) -> Envelope {
    let data = json!({
        "companyId": company(company_n),
        "entitlements": [],
        "entitlementVersion": position,
        "previousEntitlementVersion": 0,
        "cause": { "eventId": Uuid::from_u128(1), "type": "addon.detached" },
    });
    let event = ("entitlement.changed", Some(company(company_n)), data);
    envelope(Log::Core, position, previous, &StreamName::subscription(company(company_n)), event)
}

/// A session of person `user_n` ends.
pub(crate) fn session_ended(position: Position, previous: Position, user_n: u128) -> Envelope {
    let data = json!({ "userId": user(user_n), "cause": "logout", "tokensUntil": wall() });
    let event = ("session.ended", None, data);
    envelope(Log::Auth, position, previous, &StreamName::session(session(user_n)), event)
}
