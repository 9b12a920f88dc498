//! An invitation of an address into a company: stream `invitation-{id}`.
//!
//! It owns who may send one, until when it is good, and what it is worth when it is accepted: never more than whoever sent
//! it could give at that moment. It refuses to know the secret, of which it sees SHA-256, and whether the address has an
//! account. That an address has one invitation of a company at a time is the claim's business.

use crate::authority::{Authority, GrantRefused, Refused};
use kisum_events::{
    Aggregate, CompanyId, InvitationEvent, InvitedGrants, MembershipEvent, MembershipId, Sealed, SecretId, StreamName,
    TenantRole, Timestamp, UserId,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long an invitation is good since it was last sent.
pub const GOOD_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// Modules and permissions that an invitation promises at most, together: accepting it is one append.
pub const GRANTS_MAX: usize = 100;

/// Where an invitation stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "is")]
pub enum InvitationStatus {
    /// None by that id.
    #[default]
    Unknown,
    /// It waits for whoever was invited; whether it is good still is asked with an instant.
    Pending {
        /// The secret that its token carries.
        secret_id: SecretId,
        /// The member on whose right it rests; absent where it is the platform's.
        invited_by: Option<MembershipId>,
        /// It is good until then.
        expires_at: Timestamp,
    },
    /// Whoever was invited is a member.
    Accepted {
        /// By this membership.
        membership_id: MembershipId,
    },
    /// It was taken back.
    Withdrawn,
    /// Nobody accepted it in time.
    Expired,
}

/// The state of an invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invitation {
    /// Where it stands.
    pub status: InvitationStatus,
    /// Into which company; absent only while unknown.
    pub company_id: Option<CompanyId>,
    /// With which role.
    pub role: TenantRole,
    /// What it promises beside.
    pub grants: InvitedGrants,
    /// The address as it was given, while it waits.
    #[serde(default)]
    pub email: Sealed<String>,
    /// SHA-256 of the token's secret, lower-case hex, while it waits.
    #[serde(default)]
    pub token_hash: Sealed<String>,
}

impl Default for Invitation {
    fn default() -> Self {
        Self {
            status: InvitationStatus::Unknown,
            company_id: None,
            role: TenantRole::User,
            grants: InvitedGrants::default(),
            email: Sealed::absent(),
            token_hash: Sealed::absent(),
        }
    }
}

impl Invitation {
    /// Whether it waits and is good at that instant.
    pub fn is_pending(&self, now: Timestamp) -> bool {
        matches!(self.status, InvitationStatus::Pending { expires_at, .. } if now < expires_at)
    }

    fn is_over(&mut self, status: InvitationStatus) {
        self.status = status;
        self.email = Sealed::absent();
        self.token_hash = Sealed::absent();
    }
}

impl Aggregate for Invitation {
    type Event = InvitationEvent;
    const STATE_SCHEMA: u16 = 1;
    const SEALED: &'static [&'static str] = &["email", "tokenHash"];

    fn evolve(&mut self, event: &InvitationEvent, _version: u64) {
        match event {
            InvitationEvent::Sent {
                company_id,
                tenant_role,
                grants,
                invited_by,
                secret_id,
                expires_at,
                email,
                token_hash,
            } => {
                self.status = InvitationStatus::Pending {
                    secret_id: *secret_id,
                    invited_by: *invited_by,
                    expires_at: *expires_at,
                };
                self.company_id = Some(*company_id);
                self.role = *tenant_role;
                self.grants = grants.clone();
                self.email = email.clone();
                self.token_hash = token_hash.clone();
            }
            InvitationEvent::Resent { invited_by, secret_id, expires_at, token_hash } => {
                self.status = InvitationStatus::Pending {
                    secret_id: *secret_id,
                    invited_by: *invited_by,
                    expires_at: *expires_at,
                };
                self.token_hash = token_hash.clone();
            }
            InvitationEvent::Withdrawn => self.is_over(InvitationStatus::Withdrawn),
            InvitationEvent::Accepted { membership_id, withheld: _ } => {
                self.is_over(InvitationStatus::Accepted { membership_id: *membership_id });
            }
            InvitationEvent::Expired => self.is_over(InvitationStatus::Expired),
        }
    }

    /// Its own: nobody may have an account with the address, and the address goes when the invitation is over.
    fn person(&self, stream: &StreamName) -> Option<UserId> {
        stream.id().parse().ok()
    }

    fn company(&self, _stream: &StreamName) -> Option<CompanyId> {
        self.company_id
    }
}

/// The secret of a token that is about to be mailed, and who has it mailed.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Which secret.
    pub secret_id: SecretId,
    /// SHA-256 of it, lower-case hex.
    pub hash: String,
    /// The acting member; absent where the platform acts.
    pub invited_by: Option<MembershipId>,
}

/// Invites an address.
#[derive(Clone, Debug)]
pub struct SendInvitation {
    /// Into this company.
    pub company_id: CompanyId,
    /// With this role.
    pub role: TenantRole,
    /// With these grants.
    pub grants: InvitedGrants,
    /// The address as it was given.
    pub email: String,
    /// What is mailed.
    pub token: NewToken,
}

/// Why an invitation was not sent, or not sent again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendInvitationError {
    /// The id is taken.
    #[error("the invitation was sent already")]
    AlreadySent,
    /// None by that id.
    #[error("there is no such invitation")]
    Unknown,
    /// It is over.
    #[error("the invitation is not pending")]
    NotPending,
    /// The acting person may not add such members.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The acting person may not grant what it promises.
    #[error(transparent)]
    Grant(#[from] GrantRefused),
}

/// Invites an address into a company: for whoever could add such a member and grant what is promised.
///
/// # Errors
/// [`SendInvitationError`], naming the rule.
pub fn send(
    state: &Invitation,
    authority: &Authority<'_>,
    command: SendInvitation,
    now: Timestamp,
) -> Result<Vec<InvitationEvent>, SendInvitationError> {
    if state.status != InvitationStatus::Unknown {
        return Err(SendInvitationError::AlreadySent);
    }
    let SendInvitation { company_id, role, grants, email, token } = command;
    may_give(authority, company_id, role, &grants)?;
    Ok(vec![InvitationEvent::Sent {
        company_id,
        tenant_role: role,
        grants,
        invited_by: token.invited_by,
        secret_id: token.secret_id,
        expires_at: now.plus(GOOD_FOR),
        email: Sealed::new(email),
        token_hash: Sealed::new(token.hash),
    }])
}

/// Sends a pending invitation once more. It rests on whoever does so from then on, who therefore has to be allowed all of
/// it; the token before is good no more.
///
/// # Errors
/// [`SendInvitationError`], naming the rule.
pub fn resend(
    state: &Invitation,
    authority: &Authority<'_>,
    token: NewToken,
    now: Timestamp,
) -> Result<Vec<InvitationEvent>, SendInvitationError> {
    let company_id = known(state).ok_or(SendInvitationError::Unknown)?;
    // Rank first: who may not send it learns nothing of where it stands.
    may_give(authority, company_id, state.role, &state.grants)?;
    if !state.is_pending(now) {
        return Err(SendInvitationError::NotPending);
    }
    Ok(vec![InvitationEvent::Resent {
        invited_by: token.invited_by,
        secret_id: token.secret_id,
        expires_at: now.plus(GOOD_FOR),
        token_hash: Sealed::new(token.hash),
    }])
}

/// The company of an invitation that was sent.
const fn known(state: &Invitation) -> Option<CompanyId> {
    match state.status {
        InvitationStatus::Unknown => None,
        InvitationStatus::Pending { .. }
        | InvitationStatus::Accepted { .. }
        | InvitationStatus::Withdrawn
        | InvitationStatus::Expired => state.company_id,
    }
}

fn may_give(
    authority: &Authority<'_>,
    company_id: CompanyId,
    role: TenantRole,
    grants: &InvitedGrants,
) -> Result<(), SendInvitationError> {
    authority.manages(Some(company_id), role)?;
    for module in &grants.modules {
        authority.may_grant_module(module)?;
    }
    for permission in &grants.permissions {
        authority.may_grant_permission(permission)?;
    }
    Ok(())
}

/// Why an invitation was not taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WithdrawInvitationError {
    /// None by that id.
    #[error("there is no such invitation")]
    Unknown,
    /// Whoever was invited is a member.
    #[error("the invitation was accepted")]
    Accepted,
    /// The acting person may not add, and so not uninvite, such members.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Takes an invitation back. Twice is once, and what has expired is over already.
///
/// # Errors
/// [`WithdrawInvitationError`], naming the rule.
pub fn withdraw(
    state: &Invitation,
    authority: &Authority<'_>,
) -> Result<Vec<InvitationEvent>, WithdrawInvitationError> {
    let company_id = known(state).ok_or(WithdrawInvitationError::Unknown)?;
    authority.manages(Some(company_id), state.role)?;
    match state.status {
        InvitationStatus::Unknown => Err(WithdrawInvitationError::Unknown),
        InvitationStatus::Accepted { .. } => Err(WithdrawInvitationError::Accepted),
        InvitationStatus::Pending { .. } => Ok(vec![InvitationEvent::Withdrawn]),
        InvitationStatus::Withdrawn | InvitationStatus::Expired => Ok(vec![]),
    }
}

/// Ends an invitation that waits, because whoever was invited is no more.
pub fn forget(state: &Invitation) -> Vec<InvitationEvent> {
    match state.status {
        InvitationStatus::Pending { .. } => vec![InvitationEvent::Withdrawn],
        InvitationStatus::Unknown
        | InvitationStatus::Accepted { .. }
        | InvitationStatus::Withdrawn
        | InvitationStatus::Expired => vec![],
    }
}

/// Ends an invitation whose time is over. Nothing happens to one that is good, or over already.
pub fn expire(state: &Invitation, now: Timestamp) -> Vec<InvitationEvent> {
    match state.status {
        InvitationStatus::Pending { expires_at, .. } if expires_at <= now => vec![InvitationEvent::Expired],
        InvitationStatus::Pending { .. }
        | InvitationStatus::Unknown
        | InvitationStatus::Accepted { .. }
        | InvitationStatus::Withdrawn
        | InvitationStatus::Expired => vec![],
    }
}

/// A token as somebody presents it.
#[derive(Clone, Debug)]
pub struct PresentedToken {
    /// Which secret it says it is.
    pub secret_id: SecretId,
    /// SHA-256 of what was presented, lower-case hex.
    pub hash: String,
}

/// The token is of no invitation, or of one that was accepted, withdrawn, sent again or is too old: which of these, nobody
/// is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token is good for nothing")]
pub struct NotGood;

/// What a token that is good belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// The company.
    pub company_id: CompanyId,
    /// The address that was invited.
    pub email: &'a str,
    /// The member on whose right it rests; absent where it is the platform's.
    pub invited_by: Option<MembershipId>,
}

/// The pending invitation that a token belongs to.
///
/// # Errors
/// [`NotGood`].
pub fn find<'a>(state: &'a Invitation, presented: &PresentedToken, now: Timestamp) -> Result<Found<'a>, NotGood> {
    match (state.status, state.company_id, state.email.get(), state.token_hash.get()) {
        (
            InvitationStatus::Pending { secret_id, invited_by, expires_at },
            Some(company_id),
            Some(email),
            Some(token_hash),
        ) if secret_id == presented.secret_id && *token_hash == presented.hash && now < expires_at => {
            Ok(Found { company_id, email, invited_by })
        }
        _ => Err(NotGood),
    }
}

/// Makes whoever was invited a member.
#[derive(Clone, Debug)]
pub struct AcceptInvitation {
    /// The token.
    pub token: PresentedToken,
    /// Who holds the address.
    pub user_id: UserId,
    /// The membership that begins.
    pub membership_id: MembershipId,
}

/// Why an invitation was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptInvitationError {
    /// The token is.
    #[error(transparent)]
    NotGood(#[from] NotGood),
    /// Whoever sent it could not add such a member any more.
    #[error("the invitation rests on nobody who may add such a member")]
    RestsOnNothing(#[source] Refused),
}

/// What an acceptance writes.
#[derive(Clone, Debug, PartialEq)]
pub struct Acceptance {
    /// To the invitation.
    pub invitation: Vec<InvitationEvent>,
    /// To the new membership.
    pub membership: Vec<MembershipEvent>,
}

/// Accepts an invitation. `authority` is that of whoever sent it, as it is now: what they could not grant now is withheld,
/// and if they could not add such a member now, the invitation is worth nothing.
///
/// # Errors
/// [`AcceptInvitationError`], naming the rule.
pub fn accept(
    state: &Invitation,
    authority: &Authority<'_>,
    command: &AcceptInvitation,
    now: Timestamp,
) -> Result<Acceptance, AcceptInvitationError> {
    let Found { company_id, .. } = find(state, &command.token, now)?;
    authority.manages(Some(company_id), state.role).map_err(AcceptInvitationError::RestsOnNothing)?;
    let of_modules = state.grants.modules.iter().cloned();
    let (modules, no_modules) = of_modules.partition(|module| authority.may_grant_module(module).is_ok());
    let of_permissions = state.grants.permissions.iter().cloned();
    let (permissions, no_permissions) =
        of_permissions.partition(|permission| authority.may_grant_permission(permission).is_ok());
    let given = InvitedGrants { modules, permissions };
    let withheld = InvitedGrants { modules: no_modules, permissions: no_permissions };
    let created = MembershipEvent::Created {
        company_id,
        user_id: command.user_id,
        tenant_role: state.role,
        via: "invitation".to_owned(),
    };
    let modules = given.modules.into_iter().map(|module| MembershipEvent::ModuleGranted { module });
    let permissions = given.permissions.into_iter().map(|permission| MembershipEvent::PermissionGranted { permission });
    Ok(Acceptance {
        invitation: vec![InvitationEvent::Accepted { membership_id: command.membership_id, withheld }],
        membership: std::iter::once(created).chain(modules).chain(permissions).collect(),
    })
}
