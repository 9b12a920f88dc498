//! Events of a person: stream `user-{id}`, claim on the HMAC of the e-mail address.

use crate::{Sealed, event::events};
use serde::{Deserialize, Serialize};

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
        },
        /// The person may not use the platform.
        Suspended = "user.suspended" Narrows,
        /// The person may again.
        Reactivated = "user.reactivated" Widens,
        /// The person signed out everywhere.
        SessionsEnded = "user.sessions_ended" Narrows,
    }
}
