//! A company's members and what they are granted: the same commands for the people who administer a company and for
//! services of the platform.
//!
//! It owns who may send them. Rules stand in `kisum_domains::{authority, membership, company}`.

mod grants;
mod members;
mod public;
mod refusals;
mod views;

pub(super) use grants::{Change, change};
pub(super) use members::{NewMember, active_user, add, register_owner};
pub(super) use public::{module, permission, routes};
pub(super) use refusals::of_standing;
pub(super) use views::{MembershipView, Role};

use super::{
    Auth,
    access::Grounds,
    person::{self, Person, denied},
};
use crate::shared::{
    access_position::{AccessPosition, X_ACCESS_POSITION},
    extract::header_text,
    idempotency::{CommandScope, Idempotency},
    problem::{Problem, reason},
    request_label::RequestLabel,
};
use axum::extract::FromRequestParts;
use http::request::Parts;
use kisum_domains::membership::MembershipStatus;
use kisum_events::{Actor, CompanyId, Cursor, Log};
use kisum_log::Append;
use std::time::Duration;

/// How long a command waits for the projections to reach the position it carries (`consistency.md`, *Read your own
/// write*).
const CARRIED_WAIT: Duration = Duration::from_millis(100);

/// Who sends a command.
#[derive(Clone, Debug)]
pub(super) enum By {
    /// A member of the company.
    Person(Person),
    /// A service of the platform, by name.
    Service(String),
}

impl By {
    /// As the log names them.
    pub(super) fn actor(&self) -> Actor {
        match self {
            Self::Person(person) => person.actor(),
            Self::Service(name) => Actor::Service(name.clone()),
        }
    }

    const fn person(&self) -> Option<Person> {
        match self {
            Self::Person(person) => Some(*person),
            Self::Service(_) => None,
        }
    }
}

/// What names a command that was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// Its idempotency key, where it has one.
    pub(super) idempotency: Idempotency,
    /// The request's label.
    pub(super) label: RequestLabel,
}

impl Sent {
    /// The append that carries the command out. `command` names it with whatever its path names.
    pub(super) fn append(&self, by: &By, company: Option<CompanyId>, command: &str) -> Append {
        let (actor, correlation) = (by.actor(), self.label.as_str());
        self.idempotency.append(CommandScope { log: Log::Auth, actor: &actor, company, command, correlation })
    }
}

/// `X-Access-Position` of a request, where it carries one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carried(pub(super) Option<AccessPosition>);

impl Carried {
    /// Waits until this process knows everything up to the position; positions of the auth log it always does, since
    /// it reads that log's own database.
    ///
    /// # Errors
    /// 503 when a projection does not get there in time.
    pub(super) async fn settle(self, auth: &Auth) -> Result<(), Problem> {
        let Some(AccessPosition { log: Log::Core, cursor }) = self.0 else { return Ok(()) };
        let both = async { tokio::join!(auth.entitlements.reached(cursor), auth.catalog.reached(cursor)) };
        match tokio::time::timeout(CARRIED_WAIT, both).await {
            Ok((Ok(_), Ok(_))) => Ok(()),
            Ok(_) | Err(_) => Err(Problem::unavailable("The position that the request carries is not reached yet.")),
        }
    }

    /// The least that an answer about access has to stand for.
    pub(super) fn least(self) -> kisum_events::AsOf {
        let of = |log| self.0.filter(|position| position.log == log).map_or(Cursor::default(), |it| it.cursor);
        kisum_events::AsOf { auth: of(Log::Auth), core: of(Log::Core) }
    }
}

impl<S: Sync> FromRequestParts<S> for Carried {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let text = header_text(&parts.headers, X_ACCESS_POSITION.as_str())?;
        let position = text.map(str::parse).transpose();
        position.map(Self).map_err(|_| Problem::validation("The header X-Access-Position is not of its form."))
    }
}

/// Reads what a command about a company is decided on, and refuses who may not even ask.
///
/// # Errors
/// 401 for a session that is over; 403 for who is no active member of an active company; 404 for a company that does
/// not exist, where a service asks; 503 where it cannot be told.
async fn grounds(auth: &Auth, by: &By, company: CompanyId) -> Result<Grounds, Problem> {
    let grounds = auth.access.grounds(company, by.person()).await.map_err(person::unprovable)?;
    if grounds.core.epoch == 0 {
        return Err(Problem::unavailable("What companies own is not known here yet."));
    }
    match by {
        By::Service(_) if grounds.company.version == 0 => Err(Problem::not_found("There is no such company.")),
        By::Service(_) => Ok(grounds),
        By::Person(person) => admit(*person, grounds),
    }
}

/// Refuses who may not manage members at all.
///
/// # Errors
/// As [`grounds`], and 403 `role_too_low`.
async fn require_manager(auth: &Auth, by: &By, company: CompanyId) -> Result<(), Problem> {
    let grounds = grounds(auth, by, company).await?;
    if grounds.authority().rights().can_manage_users {
        Ok(())
    } else {
        Err(denied(reason::ROLE_TOO_LOW, "Your role does not allow this."))
    }
}

/// The contract's order: session, membership, standing, company.
fn admit(person: Person, grounds: Grounds) -> Result<Grounds, Problem> {
    if !grounds.is_signed_in {
        return Err(person::session_over(person));
    }
    let status = grounds.acting.as_ref().map(|acting| acting.state.status);
    let refused = match status {
        None | Some(MembershipStatus::Unknown | MembershipStatus::Revoked) => Some(reason::NOT_A_MEMBER),
        Some(MembershipStatus::Suspended) => Some(reason::SUSPENDED),
        Some(MembershipStatus::Active) if !grounds.company.state.is_active() => Some(reason::COMPANY_NOT_ACTIVE),
        Some(MembershipStatus::Active) => None,
    };
    match refused {
        None => Ok(grounds),
        Some(reason) => Err(denied(reason, "You may not act for this company.")),
    }
}

/// The position of a command that found nothing to change: where the state it looked at stands.
const fn unchanged(grounds: &Grounds, position: u64) -> AccessPosition {
    AccessPosition { log: Log::Auth, cursor: Cursor { epoch: grounds.head.epoch, position } }
}
