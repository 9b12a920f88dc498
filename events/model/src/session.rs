//! Events of a session: stream `session-{id}`.

use crate::{Sealed, Timestamp, UserId, event::events};
use serde::{Deserialize, Serialize};

/// How somebody proved who they are (RFC 8176 names).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMethod {
    /// A password.
    Pwd,
    /// A code of an app, by the clock.
    Otp,
    /// A passkey: possession of a key whose authenticator verified its user.
    Pop,
    /// A recovery code. RFC 8176 has no name for it.
    Recovery,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionEndCause {
    /// The person signed out.
    Logout,
    /// The person, or an administrator, ended it from outside.
    Revoked,
    /// A refresh token older than the predecessor came back (RFC 9700 §4.14.2).
    ReuseDetected,
    /// The person signed out everywhere.
    LogoutAll,
    /// The person was suspended.
    UserSuspended,
    /// The person's password was changed or reset (ASVS 7.4).
    PasswordSet,
    /// A second factor was added or removed.
    FactorsChanged,
    /// The person was erased.
    UserErased,
}

events! {
    /// What happens to a session.
    SessionEvent {
        /// Somebody signed in.
        Started = "session.started" None ["tokenHash", "ip", "agent"] {
            /// Who.
            user_id: UserId,
            /// How.
            amr: Vec<AuthMethod>,
            /// Without a refresh the session ends here.
            idle_until: Timestamp,
            /// Whatever happens the session ends here.
            absolute_until: Timestamp,
            /// SHA-256 of the refresh token's secret, lower-case hex.
            #[serde(default)] token_hash: Sealed<String>,
            /// The client's address.
            #[serde(default)] ip: Sealed<String>,
            /// The client's user agent.
            #[serde(default)] agent: Sealed<String>,
            /// The version of the person's stream that the start was decided on. An end of all their sessions at a later
            /// version is this one's too, whichever of both was committed first. Sessions of before this was written do
            /// not have it.
            #[serde(default, skip_serializing_if = "Option::is_none")] user_version: Option<u64>,
        },
        /// The refresh token was rotated.
        Refreshed = "session.refreshed" None ["tokenHash"] {
            /// The new token's generation, from 1.
            generation: u32,
            /// When it was rotated: the successor's grace counts from here.
            rotated_at: Timestamp,
            /// The new idle end.
            idle_until: Timestamp,
            /// SHA-256 of the new secret, lower-case hex.
            #[serde(default)] token_hash: Sealed<String>,
        },
        /// A token that was rotated away came back.
        ReuseDetected = "session.reuse_detected" None {
            /// The generation it claimed.
            generation: u32,
        },
        /// The session is over.
        Ended = "session.ended" Narrows {
            /// Whose it was.
            user_id: UserId,
            /// Why.
            cause: SessionEndCause,
            /// The last access token of the session has expired by then, so nobody need remember it longer.
            tokens_until: Timestamp,
        },
        /// The person's other sessions were ended and this one was not.
        Kept = "session.kept" None {
            /// The version of the person's stream that it outlives.
            user_version: u64,
        },
        /// The person proved again who they are, by a second factor.
        SteppedUp = "session.stepped_up" None {
            /// How.
            amr: Vec<AuthMethod>,
            /// When.
            at: Timestamp,
        },
    }
}
