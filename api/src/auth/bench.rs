//! Sessions of people who did not sign in, and members whom no command added, for `bench` alone: a hundred thousand sign-ins
//! would hash passwords for half an hour, and the members of one company are added one after the other.
//!
//! It owns nothing but the short cuts. What is appended, and the token that is good for it, are what the commands make.

use super::tokens::RefreshKey;
use anyhow::Context as _;
use kisum_domains::{
    Company, Membership, User,
    session::{self, Session, StartSession},
};
use kisum_events::{
    Actor, AuthMethod, CompanyEvent, CompanyId, MembershipEvent, MembershipId, Meta, ModuleKey, RoleId, Sealed,
    SessionId, StreamName, TenantRole, UserEvent, UserId,
};
use kisum_log::{Append, ClaimKey, EventLog, Loaded};
use std::time::Duration;

use crate::shared::ambient::{self, Clock};

/// A day: longer than anything is measured.
const TTL: Duration = Duration::from_secs(24 * 3600);

/// Starts so many sessions of a person by one append, at most 256, and returns the refresh token of each.
///
/// # Errors
/// When the log cannot be read or written.
pub async fn start_sessions(
    log: &EventLog,
    refresh_key: &[u8],
    person: UserId,
    count: usize,
) -> anyhow::Result<Vec<String>> {
    let key = RefreshKey::new(refresh_key);
    let user: Loaded<User> = log.load(&StreamName::user(person)).await?;
    let request = ambient::new_request_id();
    let mut append = Append::new(request, Meta::new(Actor::User(person), request));
    append.guard(&user);
    let mut tokens = Vec::with_capacity(count);
    for _ in 0..count {
        let id = SessionId::new(ambient::new_id());
        let token = key.first(id)?;
        let command = StartSession {
            user_id: person,
            amr: vec![AuthMethod::Pwd],
            token_hash: token.hash(),
            ip: Some("192.0.2.1".to_owned()),
            agent: Some("bench".to_owned()),
            idle_ttl: TTL,
            absolute_ttl: TTL,
            user_version: user.version,
        };
        let session = Loaded::<Session>::new_stream(StreamName::session(id));
        let events = session::start(&session.state, command, Clock::system().now())?;
        append.write(&session, events)?;
        tokens.push(token.reveal());
    }
    log.append(append).await.context("the sessions")?;
    Ok(tokens)
}

/// People whom one append makes members: four events each, and an append takes 256.
const MEMBERS_AT_ONCE: usize = 50;

/// Makes so many people, and makes them members of a company with a module and a named role. Nobody has an address that
/// anybody could sign in with.
///
/// # Errors
/// When the log cannot be read or written, as where somebody else changes the company meanwhile.
pub async fn add_members(
    log: &EventLog,
    company: CompanyId,
    (module, role): (&ModuleKey, RoleId),
    count: usize,
) -> anyhow::Result<Vec<(UserId, MembershipId)>> {
    let mut added = Vec::with_capacity(count);
    while added.len() < count {
        let firm: Loaded<Company> = log.load(&StreamName::company(company)).await?;
        let request = ambient::new_request_id();
        let mut append = Append::new(request, Meta::new(Actor::System, request));
        let mut used = firm.state.seats_used;
        for _ in 0..MEMBERS_AT_ONCE.min(count.saturating_sub(added.len())) {
            let (user_id, id) = (UserId::new(ambient::new_id()), MembershipId::new(ambient::new_id()));
            let person = Loaded::<User>::new_stream(StreamName::user(user_id));
            let (email, name) = (Sealed::new(format!("{user_id}@bench.example")), Sealed::new("Bench".to_owned()));
            append.write(&person, vec![UserEvent::Registered { email, name }])?;
            let member = Loaded::<Membership>::new_stream(StreamName::membership(id));
            append.claim(ClaimKey::member(company, user_id), &member.stream);
            let created = MembershipEvent::Created {
                company_id: company,
                user_id,
                tenant_role: TenantRole::User,
                via: "seed".to_owned(),
            };
            let granted = MembershipEvent::ModuleGranted { module: module.clone() };
            append.write(&member, vec![created, granted, MembershipEvent::RoleAssigned { role_id: role }])?;
            used = used.saturating_add(1);
            added.push((user_id, id));
        }
        append.write(&firm, vec![CompanyEvent::SeatsChanged { used }])?;
        log.append(append).await.context("the members")?;
    }
    Ok(added)
}
