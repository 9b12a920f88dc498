//! A person: stream `user-{id}`.
//!
//! It owns the person's standing and credentials. It refuses to know how a hash is made or checked, and which companies
//! the person belongs to.

use crate::password::PasswordPolicy;
use kisum_events::{
    Aggregate, FactorId, FactorKind, FactorMaterial, PasswordCause, Sealed, SecretPurpose, Slug, StreamName, UserEvent,
    UserId,
};
use serde::{Deserialize, Serialize};

mod factors;
mod secret;
pub use factors::{
    AddFactor, ChangeFactorsError, FACTORS_MAX, Factor, Materials, NotAccepted, RECOVERY_CODES, add_factor,
    issue_recovery_codes, may_change_factors, remove_factor, use_passkey, use_recovery_code, use_totp,
};
pub use secret::{
    ExpireError, IssueSecret, IssueSecretError, LIVE_SECRETS_MAX, MailedSecret, PresentedSecret, UseSecretError,
    expire, find_secret, issue_secret, register_by_mail, reset_password, sign_up, verify_email,
};

/// Where a person stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum UserStatus {
    /// Nobody by that id.
    #[default]
    Unknown,
    /// May use the platform.
    Active,
    /// May not.
    Suspended {
        /// Version of the event that suspended them.
        since: u64,
    },
    /// Is no more; what was known of them cannot be read.
    Erased {
        /// Version of the event that erased them.
        since: u64,
    },
}

/// The state of a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Where they stand.
    pub status: UserStatus,
    /// Whether the address was shown to be theirs.
    pub email_verified: bool,
    /// Version of the event of this stream that last ended all their sessions, or all but one, 0 when none did. The position of that
    /// event is the contract's `tokenVersion`.
    pub sessions_ended: u64,
    /// The address as it was given.
    #[serde(default)]
    pub email: Sealed<String>,
    /// The display name.
    #[serde(default)]
    pub name: Sealed<String>,
    /// The PHC string of the password's hash.
    #[serde(default)]
    pub password_hash: Sealed<String>,
    /// Mailed secrets that were not used, the latest last; whether one is good still is asked with an instant. At most
    /// [`LIVE_SECRETS_MAX`] for each purpose.
    #[serde(default)]
    pub secrets: Sealed<Vec<MailedSecret>>,
    /// Whether the password is too short to be the only factor.
    #[serde(default)]
    pub password_beside_factor: bool,
    /// The company that they registered together with, until their address is shown to be theirs.
    #[serde(default)]
    pub requested_company: Sealed<RequestedCompany>,
    /// Second factors, in the order in which they were added.
    #[serde(default)]
    pub factors: Vec<Factor>,
    /// What the factors are checked with.
    #[serde(default)]
    pub factor_material: Sealed<Materials>,
    /// SHA-256 of the recovery codes that are left, lower-case hex.
    #[serde(default)]
    pub recovery_codes: Sealed<Vec<String>>,
}

/// A company that is registered with its founder's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestedCompany {
    /// Its name in `x-org`.
    pub slug: Slug,
    /// Its display name.
    pub name: String,
}

impl User {
    /// Whether they may use the platform.
    pub const fn is_active(&self) -> bool {
        matches!(self.status, UserStatus::Active)
    }

    /// What a password has to be that they set now (security 3).
    pub const fn password_policy(&self) -> PasswordPolicy {
        if self.has_second_factor() { PasswordPolicy::WithSecondFactor } else { PasswordPolicy::SingleFactor }
    }
}

impl Aggregate for User {
    type Event = UserEvent;
    const STATE_SCHEMA: u16 = 2;
    const SEALED: &'static [&'static str] =
        &["email", "name", "passwordHash", "secrets", "requestedCompany", "factorMaterial", "recoveryCodes"];

    fn evolve(&mut self, event: &UserEvent, version: u64) {
        match event {
            UserEvent::Registered { email, name } => {
                self.status = UserStatus::Active;
                self.email = email.clone();
                self.name = name.clone();
            }
            UserEvent::EmailVerified => {
                self.email_verified = true;
                self.requested_company = Sealed::absent();
                self.forget_secrets(SecretPurpose::EmailVerification);
            }
            UserEvent::PasswordSet { hash, cause: _, beside_factor } => {
                self.password_hash = hash.clone();
                self.password_beside_factor = *beside_factor;
                if event.ends_sessions() {
                    // Whoever asked for a new password before has one.
                    self.forget_secrets(SecretPurpose::PasswordReset);
                }
            }
            UserEvent::Suspended => self.status = UserStatus::Suspended { since: version },
            UserEvent::Reactivated => self.status = UserStatus::Active,
            UserEvent::SessionsEnded | UserEvent::RegistrationAttempted => {}
            UserEvent::SecretIssued { id, purpose, hash, expires_at } => {
                self.keep_secret(*id, *purpose, hash, *expires_at);
            }
            UserEvent::SecretUsed { id } => self.drop_secret(*id),
            UserEvent::CompanyRequested { slug, name } => {
                let read = slug.get().cloned().zip(name.get().cloned());
                let requested = read.map(|(slug, name)| RequestedCompany { slug, name });
                self.requested_company = requested.map_or_else(Sealed::absent, Sealed::new);
            }
            UserEvent::FactorAdded { .. }
            | UserEvent::FactorRemoved { .. }
            | UserEvent::FactorUsed { .. }
            | UserEvent::RecoveryCodesIssued { .. }
            | UserEvent::RecoveryCodeUsed { .. } => self.evolve_factors(event),
            UserEvent::Erased => {
                self.status = UserStatus::Erased { since: version };
                self.email = Sealed::absent();
                self.name = Sealed::absent();
                self.password_hash = Sealed::absent();
                self.secrets = Sealed::absent();
                self.requested_company = Sealed::absent();
                self.factors = Vec::new();
                self.factor_material = Sealed::absent();
                self.recovery_codes = Sealed::absent();
            }
        }
        if event.ends_sessions() {
            self.sessions_ended = version;
        }
    }

    fn person(&self, stream: &StreamName) -> Option<UserId> {
        stream.id().parse().ok()
    }
}

/// Makes a person known.
#[derive(Clone, Debug)]
pub struct RegisterUser {
    /// The address as it was given.
    pub email: String,
    /// The display name.
    pub name: String,
    /// The PHC string of the first password's hash. Without one nobody can sign in as this person until they set one.
    pub password_hash: Option<String>,
    /// What their authenticator app holds already. Recovery codes they issue themselves.
    pub authenticator: Option<(FactorId, FactorMaterial)>,
}

/// Why a person was not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterUserError {
    /// The id is taken.
    #[error("the person is already registered")]
    AlreadyRegistered,
}

/// Registers a person, with a first password and an authenticator app where there are such. That the address is free is the claim's business.
///
/// # Errors
/// [`RegisterUserError`] when the id is taken.
pub fn register(state: &User, command: RegisterUser) -> Result<Vec<UserEvent>, RegisterUserError> {
    match state.status {
        UserStatus::Unknown => {
            let (email, name) = (Sealed::new(command.email), Sealed::new(command.name));
            let password = command.password_hash.map(|hash| UserEvent::PasswordSet {
                hash: Sealed::new(hash),
                cause: PasswordCause::Initial,
                beside_factor: false,
            });
            let factor = command.authenticator.map(|(id, material)| {
                let material = Sealed::new(material);
                UserEvent::FactorAdded { id, kind: FactorKind::Totp, material }
            });
            Ok(std::iter::once(UserEvent::Registered { email, name }).chain(password).chain(factor).collect())
        }
        UserStatus::Active | UserStatus::Suspended { .. } | UserStatus::Erased { .. } => {
            Err(RegisterUserError::AlreadyRegistered)
        }
    }
}

/// Why a password was not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetPasswordError {
    /// Nobody by that id, or nobody any more.
    #[error("the person is unknown")]
    Unknown,
    /// A suspended person keeps the credentials they have.
    #[error("the person is suspended")]
    Suspended,
    /// It is long enough beside a second factor, and the person has none.
    #[error("the password is too short to be the only factor")]
    TooShort,
}

/// A password that was checked, as a hash.
#[derive(Clone, Copy, Debug)]
pub struct NewPassword<'a> {
    /// The PHC string of its hash.
    pub hash: &'a str,
    /// Whether it is too short to be the only factor.
    pub beside_factor: bool,
}

impl<'a> NewPassword<'a> {
    /// One that may be the only factor.
    pub const fn alone(hash: &'a str) -> Self {
        Self { hash, beside_factor: false }
    }

    fn event(self, cause: PasswordCause) -> UserEvent {
        let Self { hash, beside_factor } = self;
        UserEvent::PasswordSet { hash: Sealed::new(hash.to_owned()), cause, beside_factor }
    }

    /// Whether it is long enough for the person as they are now.
    const fn suits(self, state: &User) -> bool {
        !self.beside_factor || state.has_second_factor()
    }
}

/// Sets the hash of a password that was checked before; another password ends all sessions.
///
/// # Errors
/// [`SetPasswordError`] for anybody who is not active, or whose second factor is gone since the password was checked.
pub fn set_password(
    state: &User,
    password: NewPassword<'_>,
    cause: PasswordCause,
) -> Result<Vec<UserEvent>, SetPasswordError> {
    match state.status {
        UserStatus::Unknown | UserStatus::Erased { .. } => Err(SetPasswordError::Unknown),
        UserStatus::Suspended { .. } => Err(SetPasswordError::Suspended),
        UserStatus::Active if !password.suits(state) => Err(SetPasswordError::TooShort),
        UserStatus::Active => {
            let ends = cause.ends_sessions().then_some(UserEvent::SessionsEnded);
            Ok([password.event(cause)].into_iter().chain(ends).collect())
        }
    }
}

/// Replaces the hash of the same password by one with stronger parameters.
///
/// # Errors
/// [`SetPasswordError`] for anybody who is not active.
pub fn upgrade_password(state: &User, hash: &str) -> Result<Vec<UserEvent>, SetPasswordError> {
    let password = NewPassword { hash, beside_factor: state.password_beside_factor };
    set_password(state, password, PasswordCause::Upgraded)
}

/// Why a person's standing was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserStandingError {
    /// Nobody by that id, or nobody any more.
    #[error("the person is unknown")]
    Unknown,
}

/// Suspends a person, which also ends their sessions. Twice is once.
///
/// # Errors
/// [`UserStandingError`] when there is no such person.
pub fn suspend(state: &User) -> Result<Vec<UserEvent>, UserStandingError> {
    match state.status {
        UserStatus::Unknown | UserStatus::Erased { .. } => Err(UserStandingError::Unknown),
        UserStatus::Active => Ok(vec![UserEvent::Suspended]),
        UserStatus::Suspended { .. } => Ok(vec![]),
    }
}

/// Lets a suspended person back. Twice is once.
///
/// # Errors
/// [`UserStandingError`] when there is no such person.
pub fn reactivate(state: &User) -> Result<Vec<UserEvent>, UserStandingError> {
    match state.status {
        UserStatus::Unknown | UserStatus::Erased { .. } => Err(UserStandingError::Unknown),
        UserStatus::Suspended { .. } => Ok(vec![UserEvent::Reactivated]),
        UserStatus::Active => Ok(vec![]),
    }
}

/// Why a person was not signed out everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndSessionsError {
    /// Nobody by that id, or nobody any more.
    #[error("the person is unknown")]
    Unknown,
}

/// Signs a person out everywhere. Each time ends what has begun since the last.
///
/// # Errors
/// [`EndSessionsError`] when there is no such person.
pub fn end_sessions(state: &User) -> Result<Vec<UserEvent>, EndSessionsError> {
    match state.status {
        UserStatus::Unknown | UserStatus::Erased { .. } => Err(EndSessionsError::Unknown),
        UserStatus::Active | UserStatus::Suspended { .. } => Ok(vec![UserEvent::SessionsEnded]),
    }
}

/// Erases a person, active or suspended. Twice is once. What else they leave behind (sessions, memberships, staff roles,
/// their address) goes by the same append.
///
/// # Errors
/// [`UserStandingError`] when there is no such person.
pub fn erase(state: &User) -> Result<Vec<UserEvent>, UserStandingError> {
    match state.status {
        UserStatus::Unknown => Err(UserStandingError::Unknown),
        UserStatus::Active | UserStatus::Suspended { .. } => Ok(vec![UserEvent::Erased]),
        UserStatus::Erased { .. } => Ok(vec![]),
    }
}
