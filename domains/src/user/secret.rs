//! Secrets that a person gets by mail: issued, used once, forgotten.
//!
//! It owns how many are good at a time, until when, and that each is good once. It refuses to know a secret: it sees
//! SHA-256 of them. That two uses of one secret at the same moment do not both count follows from the versions of the
//! person's stream.

use super::{NewPassword, RegisterUser, RegisterUserError, RequestedCompany, User, UserStatus, register};
use kisum_events::{PasswordCause, Sealed, SecretId, SecretPurpose, Timestamp, UserEvent};
use serde::{Deserialize, Serialize};

/// Secrets of one purpose that a person may have at a time; one more makes the oldest good for nothing. It is as many
/// as may be asked for while one lasts: whoever asks in a victim's name takes nothing away from them.
pub const LIVE_SECRETS_MAX: usize = 5;

/// A secret that was mailed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MailedSecret {
    /// Which.
    pub id: SecretId,
    /// What it is good for.
    pub purpose: SecretPurpose,
    /// SHA-256 of it, lower-case hex.
    pub hash: String,
    /// It is good until then.
    pub expires_at: Timestamp,
}

impl User {
    pub(super) fn keep_secret(
        &mut self,
        id: SecretId,
        purpose: SecretPurpose,
        hash: &Sealed<String>,
        expires_at: Timestamp,
    ) {
        // Where the hash cannot be read (an erased person) there is nothing to compare a secret with.
        let Some(hash) = hash.get().cloned() else { return };
        let mut kept = self.secrets.get().cloned().unwrap_or_default();
        kept.push(MailedSecret { id, purpose, hash, expires_at });
        let mut surplus = kept.iter().filter(|it| it.purpose == purpose).count().saturating_sub(LIVE_SECRETS_MAX);
        kept.retain(|it| {
            let gives_way = it.purpose == purpose && surplus > 0;
            surplus = surplus.saturating_sub(usize::from(gives_way));
            !gives_way
        });
        self.set_secrets(kept);
    }

    pub(super) fn drop_secret(&mut self, id: SecretId) {
        self.retain_secrets(|secret| secret.id != id);
    }

    pub(super) fn forget_secrets(&mut self, purpose: SecretPurpose) {
        self.retain_secrets(|secret| secret.purpose != purpose);
    }

    fn retain_secrets(&mut self, stays: impl Fn(&MailedSecret) -> bool) {
        let mut kept = self.secrets.get().cloned().unwrap_or_default();
        kept.retain(stays);
        self.set_secrets(kept);
    }

    fn set_secrets(&mut self, kept: Vec<MailedSecret>) {
        self.secrets = if kept.is_empty() { Sealed::absent() } else { Sealed::new(kept) };
    }
}

/// Issues a secret.
#[derive(Clone, Debug)]
pub struct IssueSecret {
    /// Which.
    pub id: SecretId,
    /// What it is good for.
    pub purpose: SecretPurpose,
    /// SHA-256 of it, lower-case hex.
    pub hash: String,
    /// It is good until then.
    pub expires_at: Timestamp,
}

impl IssueSecret {
    fn into_event(self) -> UserEvent {
        let Self { id, purpose, hash, expires_at } = self;
        UserEvent::SecretIssued { id, purpose, hash: Sealed::new(hash), expires_at }
    }
}

/// Why no secret was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueSecretError {
    /// Nobody by that id.
    #[error("the person is unknown")]
    Unknown,
    /// A suspended person keeps the credentials they have.
    #[error("the person is suspended")]
    Suspended,
}

/// Issues a secret to an active person.
///
/// # Errors
/// [`IssueSecretError`] for anybody who is not active.
pub fn issue_secret(state: &User, command: IssueSecret) -> Result<Vec<UserEvent>, IssueSecretError> {
    match state.status {
        UserStatus::Unknown | UserStatus::Erased { .. } => Err(IssueSecretError::Unknown),
        UserStatus::Suspended { .. } => Err(IssueSecretError::Suspended),
        UserStatus::Active => Ok(vec![command.into_event()]),
    }
}

/// Registers somebody who came by themselves: known from now on, and found by their address once they have used the
/// secret that goes there. A company that they want is registered then, too.
///
/// # Errors
/// [`RegisterUserError`] when the id is taken.
pub fn sign_up(
    state: &User,
    command: RegisterUser,
    company: Option<RequestedCompany>,
    secret: IssueSecret,
) -> Result<Vec<UserEvent>, RegisterUserError> {
    let mut events = register(state, command)?;
    events.extend(company.map(|RequestedCompany { slug, name }| UserEvent::CompanyRequested {
        slug: Sealed::new(slug),
        name: Sealed::new(name),
    }));
    events.push(secret.into_event());
    Ok(events)
}

/// Registers somebody who showed by a mailed secret that is not theirs yet, such as an invitation's, that they read the
/// address's mail. That the address is free is the claim's business.
///
/// # Errors
/// [`RegisterUserError`] when the id is taken.
pub fn register_by_mail(state: &User, command: RegisterUser) -> Result<Vec<UserEvent>, RegisterUserError> {
    let mut events = register(state, command)?;
    events.push(UserEvent::EmailVerified);
    Ok(events)
}

/// A secret as somebody presents it.
#[derive(Clone, Debug)]
pub struct PresentedSecret {
    /// Which it says it is.
    pub id: SecretId,
    /// What it is presented for.
    pub purpose: SecretPurpose,
    /// SHA-256 of what was presented, lower-case hex.
    pub hash: String,
}

/// Why a secret was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UseSecretError {
    /// It was never issued, is another, was used, gave way to newer ones, or is too old: which of these, nobody is told.
    #[error("the secret is good for nothing")]
    NotGood,
    /// A suspended person keeps the credentials they have.
    #[error("the person is suspended")]
    Suspended,
    /// The password is long enough beside a second factor, and the person has none.
    #[error("the password is too short to be the only factor")]
    PasswordTooShort,
}

/// The live secret that was presented.
///
/// # Errors
/// [`UseSecretError`] when it is not good, or not now.
pub fn find_secret<'a>(
    state: &'a User,
    presented: &PresentedSecret,
    now: Timestamp,
) -> Result<&'a MailedSecret, UseSecretError> {
    let mut kept = state.secrets.get().into_iter().flatten();
    let found = kept.find(|it| {
        it.id == presented.id && it.purpose == presented.purpose && it.hash == presented.hash && now < it.expires_at
    });
    let found = found.ok_or(UseSecretError::NotGood)?;
    match state.status {
        UserStatus::Unknown | UserStatus::Erased { .. } => Err(UseSecretError::NotGood),
        UserStatus::Suspended { .. } => Err(UseSecretError::Suspended),
        UserStatus::Active => Ok(found),
    }
}

/// Uses a secret to show that the address is the person's. That nobody else holds the address is the claim's business.
///
/// # Errors
/// [`UseSecretError`] when the secret is not good.
pub fn verify_email(
    state: &User,
    presented: &PresentedSecret,
    now: Timestamp,
) -> Result<Vec<UserEvent>, UseSecretError> {
    let secret = find_secret(state, presented, now)?;
    Ok(vec![UserEvent::SecretUsed { id: secret.id }, UserEvent::EmailVerified])
}

/// Why a registration does not expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpireError {
    /// The address may be verified still.
    #[error("the address may be verified still")]
    NotYet,
}

/// Erases somebody who has registered by themselves and not verified their address while they could. Nothing happens to
/// whoever has, or is nobody.
///
/// # Errors
/// [`ExpireError`] while a secret is good that verifies.
pub fn expire(state: &User, now: Timestamp) -> Result<Vec<UserEvent>, ExpireError> {
    match state.status {
        UserStatus::Unknown | UserStatus::Erased { .. } => Ok(vec![]),
        UserStatus::Active | UserStatus::Suspended { .. } if state.email_verified => Ok(vec![]),
        UserStatus::Active | UserStatus::Suspended { .. } => {
            let mut kept = state.secrets.get().into_iter().flatten();
            let may_verify = |it: &MailedSecret| it.purpose == SecretPurpose::EmailVerification && now < it.expires_at;
            if kept.any(may_verify) { Err(ExpireError::NotYet) } else { Ok(vec![UserEvent::Erased]) }
        }
    }
}

/// Uses a secret to set a password without the former one, which ends all sessions. Whoever can do that reads the
/// address's mail, so it is verified by it. No factor is touched.
///
/// # Errors
/// [`UseSecretError`] when the secret is not good, or the person's second factor is gone since the password was checked.
pub fn reset_password(
    state: &User,
    presented: &PresentedSecret,
    password: NewPassword<'_>,
    now: Timestamp,
) -> Result<Vec<UserEvent>, UseSecretError> {
    let secret = find_secret(state, presented, now)?;
    if !password.suits(state) {
        return Err(UseSecretError::PasswordTooShort);
    }
    let used = UserEvent::SecretUsed { id: secret.id };
    let set = password.event(PasswordCause::Reset);
    let verified = (!state.email_verified).then_some(UserEvent::EmailVerified);
    Ok([used, set].into_iter().chain(verified).chain([UserEvent::SessionsEnded]).collect())
}
