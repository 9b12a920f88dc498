//! How surely a session knows its person, and since when.

use super::{Session, SessionStatus};
use kisum_events::{AuthMethod, SessionEvent, Timestamp};
use std::time::Duration;

/// How long a proof is recent enough for what is sensitive (contract, *Auth*).
pub const STEP_UP_MAX: Duration = Duration::from_secs(600);

/// The contract's `acr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssuranceLevel {
    /// One factor.
    Aal1,
    /// Two, or a passkey whose authenticator verified its user.
    Aal2,
}

impl AssuranceLevel {
    /// As the claim `acr` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aal1 => "aal1",
            Self::Aal2 => "aal2",
        }
    }
}

/// How a person proved who they are, and when they last did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assurance {
    /// How surely.
    pub level: AssuranceLevel,
    /// When: the claim `auth_time`.
    pub at: Timestamp,
}

impl Assurance {
    /// Whether they did so recently, in whatever way.
    pub fn is_recent(&self, now: Timestamp) -> bool {
        now < self.at.plus(STEP_UP_MAX)
    }

    /// Whether they did so recently and with a second factor.
    pub fn is_stepped_up(&self, now: Timestamp) -> bool {
        self.level == AssuranceLevel::Aal2 && self.is_recent(now)
    }
}

impl Session {
    /// What the session, which started then, is worth.
    pub fn assurance(&self, started_at: Timestamp) -> Assurance {
        let level = if self.amr.iter().any(is_strong) { AssuranceLevel::Aal2 } else { AssuranceLevel::Aal1 };
        Assurance { level, at: self.stepped_up_at.unwrap_or(started_at) }
    }
}

/// Whether a method beside or without a password is a second factor.
const fn is_strong(method: &AuthMethod) -> bool {
    match method {
        AuthMethod::Pwd => false,
        AuthMethod::Otp | AuthMethod::Pop | AuthMethod::Recovery => true,
    }
}

/// A session that has ended cannot step up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session is over")]
pub struct SessionOver;

/// Notes that the person proved again who they are.
///
/// # Errors
/// [`SessionOver`] when the session cannot be used.
pub fn step_up(state: &Session, amr: Vec<AuthMethod>, now: Timestamp) -> Result<Vec<SessionEvent>, SessionOver> {
    match state.status {
        SessionStatus::Live { .. } if super::is_live(state, now) => Ok(vec![SessionEvent::SteppedUp { amr, at: now }]),
        SessionStatus::Unknown | SessionStatus::Live { .. } | SessionStatus::Ended { .. } => Err(SessionOver),
    }
}
