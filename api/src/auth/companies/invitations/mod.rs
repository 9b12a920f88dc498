//! Invitations: an address is asked to join a company, whether it has an account or not.
//!
//! It owns what these commands have in common: how often, how an invitation is shown, and which refusals mean what. What
//! an invitation is worth, the rules say (`kisum_domains::invitation`); what is mailed follows from the events (`mail`).
//! Nobody who sends one learns whether the address has an account: none of this looks, but whether it is a member's, which
//! whoever may invite sees in the list of members.

mod accept;
mod end;
mod expiry;
mod list;
mod public;
mod send;

pub(in crate::auth) use accept::{__path_accept_invitation, accept_invitation};
pub(in crate::auth) use end::{forget, withdraw};
pub(in crate::auth) use expiry::expire_invitations;
pub(in crate::auth) use list::{__path_list_invitations, list_invitations};
pub(in crate::auth) use public::{
    __path_resend_invitation, __path_send_invitation, __path_withdraw_invitation, InviteBody, resend_invitation,
    send_invitation, withdraw_invitation,
};
pub(in crate::auth) use send::{invite, resend};

use super::refusals;
use crate::{
    auth::{Auth, limiter::Limit},
    shared::problem::{self, Problem},
};
use kisum_domains::{
    Invitation,
    invitation::{InvitationStatus, SendInvitationError, WithdrawInvitationError},
};
use kisum_events::{CompanyId, InvitationId, StreamName, Timestamp, UserId};
use kisum_log::{ClaimKey, Loaded};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Invitations of a company that may wait at a time. The list of them, which counts, may lag by a moment.
const PENDING_MAX: i64 = 1_000;
/// Mails that a company's invitations cause within a window: beside what strangers cause, nobody else's mail waits for them.
const OF_COMPANY: Limit = Limit { max: 300, window_s: 3600 };
/// Mails that one company has sent to one address within a window.
const TO_ADDRESS: Limit = Limit { max: 5, window_s: 3600 };
/// Mails that all companies together have sent to one address within a window.
const TO_ADDRESS_EVERYWHERE: Limit = Limit { max: 20, window_s: 3600 };

/// Counts a mail of a company to an address, or refuses it.
async fn count_mail(auth: &Auth, company: CompanyId, account: &str) -> Result<(), Problem> {
    for (key, limit) in [
        (format!("ratelimit:invitation:{account}:{company}"), TO_ADDRESS),
        (format!("ratelimit:invitation:{account}"), TO_ADDRESS_EVERYWHERE),
        (format!("ratelimit:invitation:company:{company}"), OF_COMPANY),
    ] {
        let counted = auth.limits.allow(&key, limit).await;
        counted.map_err(|limited| Problem::rate_limited(limited.retry_after_s))?;
    }
    Ok(())
}

/// An invitation of a company.
///
/// # Errors
/// 404 where there is none, or it is another company's.
async fn of_company(auth: &Auth, company: CompanyId, id: InvitationId) -> Result<Loaded<Invitation>, Problem> {
    let loaded = auth.log.load::<Invitation>(&StreamName::invitation(id)).await.map_err(problem::of_load)?;
    if loaded.state.company_id == Some(company) { Ok(loaded) } else { Err(no_such_invitation()) }
}

/// The invitation that holds an address' place in a company.
async fn holder(auth: &Auth, claim: &ClaimKey) -> Result<Option<Loaded<Invitation>>, Problem> {
    let Some(stream) = auth.log.claim_holder(claim).await.map_err(problem::of_load)? else { return Ok(None) };
    auth.log.load(&stream).await.map(Some).map_err(problem::of_load)
}

/// The claim of an invitation that waits, to be given back with its end.
fn claim_of(auth: &Auth, state: &Invitation) -> Option<ClaimKey> {
    let email = crate::auth::lookup::Email::parse(state.email.get()?)?;
    Some(ClaimKey::invitation(&auth.lookup.email(&email), state.company_id?))
}

/// Forgets the key of an invitation that is over: the database has none any more.
fn forget_key(auth: &Auth, stream: &StreamName) {
    if let Ok(id) = stream.id().parse::<UserId>() {
        auth.log.forget(id);
    }
}

/// Where an invitation stands, as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::auth) enum InvitationStanding {
    /// It waits for whoever was invited.
    Pending,
    /// They are a member.
    Accepted,
    /// It was taken back.
    Withdrawn,
    /// Nobody accepted it in time.
    Expired,
}

impl InvitationStanding {
    /// As read models store it.
    const fn stored(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
        }
    }
}

/// An invitation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::auth) struct InvitationView {
    /// Its id.
    invitation_id: Uuid,
    /// Into which company.
    company_id: Option<Uuid>,
    /// The address, while it waits: it is forgotten when the invitation is over.
    email: Option<String>,
    /// With which role.
    tenant_role: super::Role,
    /// Modules that are to be granted with it.
    modules: Vec<String>,
    /// Permissions that are to be granted with it.
    permissions: Vec<String>,
    /// Where it stands.
    status: InvitationStanding,
    /// The membership of whoever sent it last; absent where the platform did, and when it is over.
    invited_by: Option<Uuid>,
    /// Until when it can be accepted, while it waits.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// The membership that came of it.
    membership_id: Option<Uuid>,
}

impl InvitationView {
    fn new(stream: &StreamName, state: &Invitation, now: Timestamp) -> Self {
        let (mut invited_by, mut expires_at, mut membership_id) = (None, None, None);
        let status = match state.status {
            InvitationStatus::Pending { invited_by: by, expires_at: at, .. } => {
                (invited_by, expires_at) = (by.map(kisum_events::MembershipId::uuid), Some(at));
                if now < at { InvitationStanding::Pending } else { InvitationStanding::Expired }
            }
            InvitationStatus::Accepted { membership_id: id } => {
                membership_id = Some(id.uuid());
                InvitationStanding::Accepted
            }
            InvitationStatus::Unknown | InvitationStatus::Withdrawn => InvitationStanding::Withdrawn,
            InvitationStatus::Expired => InvitationStanding::Expired,
        };
        Self {
            invitation_id: stream.id().parse().unwrap_or_default(),
            company_id: state.company_id.map(CompanyId::uuid),
            email: state.email.get().cloned(),
            tenant_role: state.role.into(),
            modules: state.grants.modules.iter().map(ToString::to_string).collect(),
            permissions: state.grants.permissions.iter().map(ToString::to_string).collect(),
            status,
            invited_by,
            expires_at,
            membership_id,
        }
    }
}

/// Why an invitation was not sent.
fn of_send(error: SendInvitationError) -> Problem {
    match error {
        SendInvitationError::AlreadySent => problem::of_defect(&error),
        SendInvitationError::Unknown => no_such_invitation(),
        SendInvitationError::NotPending => not_pending(),
        SendInvitationError::Refused(refused) => refusals::of_refused(refused),
        SendInvitationError::Grant(refused) => refusals::of_grant_refused(&refused),
    }
}

/// Why an invitation was not taken back.
fn of_withdraw(error: WithdrawInvitationError) -> Problem {
    match error {
        WithdrawInvitationError::Unknown => no_such_invitation(),
        WithdrawInvitationError::Accepted => not_pending(),
        WithdrawInvitationError::Refused(refused) => refusals::of_refused(refused),
    }
}

fn no_such_invitation() -> Problem {
    Problem::not_found("The company has no such invitation.")
}

fn not_pending() -> Problem {
    Problem::conflict("not_pending", "This invitation was accepted, withdrawn, or has expired.")
}
