//! Events of a person: stream `user-{id}`, claim on the HMAC of the e-mail address.

use crate::{FactorId, Sealed, SecretId, Slug, Timestamp, UpcastError, event::events};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Why a password was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PasswordCause {
    /// The first one.
    Initial,
    /// Changed by the person, who knew the old one.
    Changed,
    /// Reset through a mailed secret.
    Reset,
    /// Same password, stronger parameters, at login (ASVS 5.0 app. C).
    Upgraded,
}

/// What a mailed secret is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretPurpose {
    /// Shows that an address is the person's.
    EmailVerification,
    /// Sets a password without the former one.
    PasswordReset,
}

impl SecretPurpose {
    /// Its name, as in the event.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EmailVerification => "email_verification",
            Self::PasswordReset => "password_reset",
        }
    }
}

/// What kind of second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactorKind {
    /// An app that shows codes by the clock (RFC 6238).
    Totp,
    /// A key pair of an authenticator (WebAuthn).
    Passkey,
}

/// What a second factor is checked with, and what its owner calls it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FactorMaterial {
    /// The owner's name for it.
    pub label: String,
    /// TOTP: the shared secret in base32. Passkey: the credential as JSON.
    pub secret: String,
}

impl std::fmt::Debug for FactorMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FactorMaterial(…)")
    }
}

events! {
    /// What happens to a person.
    UserEvent {
        /// The person became known.
        Registered = "user.registered" None ["email", "name"] {
            /// The address as it was given.
            #[serde(default)] email: Sealed<String>,
            /// The display name.
            #[serde(default)] name: Sealed<String>,
        },
        /// The address was shown to be theirs.
        EmailVerified = "user.email_verified" None,
        /// A password was set; the hash is a PHC string.
        PasswordSet = "user.password_set" None ["hash"] {
            /// The argon2id hash with its parameters.
            #[serde(default)] hash: Sealed<String>,
            /// Why.
            cause: PasswordCause,
            /// Whether it is too short to be the only factor: it was set by somebody who has a second one.
            #[serde(default, skip_serializing_if = "std::ops::Not::not")] beside_factor: bool,
        },
        /// The person may not use the platform.
        Suspended = "user.suspended" Narrows,
        /// The person may again.
        Reactivated = "user.reactivated" Widens,
        /// All sessions of the person are over, but one that the same append keeps: they signed out everywhere, or an event
        /// before it in the append did that and does not say so to guards.
        SessionsEnded = "user.sessions_ended" Narrows,
        /// A secret was issued that goes to the person by mail. The secret itself is derived when the mail is sent and
        /// stands nowhere.
        SecretIssued = "user.secret_issued" None ["hash"] {
            /// Which.
            id: SecretId,
            /// What it is good for.
            purpose: SecretPurpose,
            /// SHA-256 of the secret, lower-case hex.
            #[serde(default)] hash: Sealed<String>,
            /// It is good until then.
            expires_at: Timestamp,
        },
        /// A mailed secret was used; it is good for nothing any more.
        SecretUsed = "user.secret_used" None {
            /// Which.
            id: SecretId,
        },
        /// Somebody tried to register with the person's address.
        RegistrationAttempted = "user.registration_attempted" None,
        /// The person registered together with a company, which is registered once their address is shown to be theirs.
        CompanyRequested = "user.company_requested" None ["slug", "name"] upcast [was_public] {
            /// The company's name in `x-org`, if it is still free by then.
            #[serde(default)] slug: Sealed<Slug>,
            /// Its display name.
            #[serde(default)] name: Sealed<String>,
        },
        /// A second factor was added. All other sessions end with it.
        FactorAdded = "user.factor_added" None ["material"] {
            /// Which.
            id: FactorId,
            /// What kind.
            kind: FactorKind,
            /// What it is checked with.
            #[serde(default)] material: Sealed<FactorMaterial>,
        },
        /// A second factor was removed. All other sessions end with it.
        FactorRemoved = "user.factor_removed" None {
            /// Which.
            id: FactorId,
        },
        /// A second factor was used, and something of it must not be used again.
        FactorUsed = "user.factor_used" None ["secret"] {
            /// Which.
            id: FactorId,
            /// TOTP: the step of the code, which is 30 s of the clock since 1970. No code up to it is good any more.
            #[serde(default, skip_serializing_if = "Option::is_none")] step: Option<u64>,
            /// Passkey: the credential as it is now, with its counter.
            #[serde(default)] secret: Sealed<String>,
        },
        /// Recovery codes were issued; those before them are good no more.
        RecoveryCodesIssued = "user.recovery_codes_issued" None ["hashes"] {
            /// SHA-256 of each, lower-case hex.
            #[serde(default)] hashes: Sealed<Vec<String>>,
        },
        /// A recovery code was used, and is good no more.
        RecoveryCodeUsed = "user.recovery_code_used" None ["hash"] {
            /// SHA-256 of it, lower-case hex.
            #[serde(default)] hash: Sealed<String>,
        },
        /// The person is no more: their key is gone with this event, and whatever was sealed under it.
        Erased = "user.erased" Narrows,
    }
}

/// The fields were public in schema 1, and are read from there: what is sealed and what is public reach an upcaster as one.
fn was_public(data: Map<String, Value>) -> Result<Map<String, Value>, UpcastError> {
    Ok(data)
}

impl PasswordCause {
    /// Whether setting a password for that reason ends the person's sessions (ASVS 7.4). The first password finds none,
    /// and new parameters for the same password change nothing that a thief could know.
    pub const fn ends_sessions(self) -> bool {
        match self {
            Self::Changed | Self::Reset => true,
            Self::Initial | Self::Upgraded => false,
        }
    }
}

impl UserEvent {
    /// Whether the event ends every session that the person had before it, but one that the same append keeps.
    pub const fn ends_sessions(&self) -> bool {
        match self {
            Self::PasswordSet { cause, .. } => cause.ends_sessions(),
            Self::Suspended
            | Self::SessionsEnded
            | Self::FactorAdded { .. }
            | Self::FactorRemoved { .. }
            | Self::Erased => true,
            Self::Registered { .. }
            | Self::EmailVerified
            | Self::Reactivated
            | Self::FactorUsed { .. }
            | Self::RecoveryCodesIssued { .. }
            | Self::RecoveryCodeUsed { .. }
            | Self::SecretIssued { .. }
            | Self::SecretUsed { .. }
            | Self::RegistrationAttempted
            | Self::CompanyRequested { .. } => false,
        }
    }
}
