//! A company's members and what they are granted: the same commands for the people who administer a company and for
//! services of the platform.
//!
//! It owns who may send them. Rules stand in `kisum_domains::{authority, membership, company}`.

mod addons;
mod alter;
mod audit;
mod delegations;
mod grants;
mod grounds;
mod invitations;
mod list;
mod members;
mod policy;
mod public;
mod refusals;
mod register;
mod role_list;
mod role_routes;
mod roles;
mod standing;
mod views;

pub(super) use delegations::end_given;
pub(super) use grants::{Change, change};
pub(super) use grounds::{By, admit};
pub(super) use invitations::{InvitationView, InviteBody, expire_invitations, forget, invite, resend, withdraw};
pub(super) use members::{NewMember, active_user, add};
pub(super) use policy::{Policy, PolicyRole, PolicyView, policy_of, set_policy};
pub(super) use public::{module, permission, routes};
pub(super) use refusals::of_standing;
pub(super) use register::{CompanyView, NewCompany, check_text, find_company, register, write_company};
pub(super) use role_list::{Roles, list_roles, roles_page};
pub(super) use roles::{ChangeRoleBody, NewRoleBody, RoleView, change_role, create_role, delete_role};
pub(super) use views::{MemberStatus, MembershipView, Role, company_status};

use super::Auth;
use crate::shared::{
    access_position::{AccessPosition, X_ACCESS_POSITION},
    extract::header_text,
    idempotency::{CommandScope, Idempotency},
    problem::{self, Problem},
    request_label::RequestLabel,
};
use axum::extract::FromRequestParts;
use http::request::Parts;
use kisum_events::{Actor, AsOf, CompanyId, Cursor, Log, StreamName};
use kisum_log::{Append, read_at};
use std::time::Duration;

/// How long a command waits for the projections to reach the position it carries (`consistency.md`, *Read your own
/// write*).
const CARRIED_WAIT: Duration = Duration::from_millis(100);

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
    pub(super) fn append(&self, actor: &Actor, company: Option<CompanyId>, command: &str) -> Append {
        let correlation = self.label.as_str();
        self.idempotency.append(CommandScope { log: Log::Auth, actor, company, command, correlation })
    }

    /// Where the same command was carried out before: what it did then is its receipt, whatever has changed since.
    ///
    /// # Errors
    /// 409 when the key was used with another body; 503 when the log cannot be read.
    pub(super) async fn earlier(
        &self,
        auth: &Auth,
        actor: &Actor,
        company: Option<CompanyId>,
        command: &str,
    ) -> Result<Option<AccessPosition>, Problem> {
        let correlation = self.label.as_str();
        let scope = CommandScope { log: Log::Auth, actor, company, command, correlation };
        self.idempotency.earlier(&auth.log, scope).await
    }
}

/// The stream of the event at a position of the auth log: where an earlier sending of a command ended, what it made.
///
/// # Errors
/// 503 when the log cannot be read.
pub(super) async fn stream_at(auth: &Auth, position: AccessPosition) -> Result<Option<StreamName>, Problem> {
    let mut conn = auth.log.pool().acquire().await.map_err(problem::of_query)?;
    let at = i64::try_from(position.cursor.position).unwrap_or(i64::MAX);
    let events = read_at(&mut conn, Log::Auth, &[at]).await.map_err(problem::of_load)?;
    Ok(events.into_iter().next().map(|event| event.stream))
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
    pub(super) fn least(self) -> AsOf {
        let of = |log| self.0.filter(|position| position.log == log).map_or(Cursor::default(), |it| it.cursor);
        AsOf { auth: of(Log::Auth), core: of(Log::Core) }
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
