//! A session, one sign-in and its refreshes: stream `session-{id}`.
//!
//! It owns the life of the session and the rotation of its refresh token. It refuses to know secrets: it sees SHA-256
//! of them, and the caller derives a successor's secret from its predecessor (contract, *refresh*).

use crate::User;
use kisum_events::{Aggregate, AuthMethod, Sealed, SessionEndCause, SessionEvent, StreamName, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use std::time::Duration;

mod assurance;
mod refresh;
pub use assurance::{Assurance, AssuranceLevel, STEP_UP_MAX, SessionOver, step_up};
pub use refresh::{
    GRACE_AFTER_ROTATION, GRACE_UNTIL_USED_MAX, PREDECESSORS_MAX, Presented, RefreshError, RefreshOutcome,
    RefreshPolicy, refresh,
};

/// How far a guard's clock may be off when it checks `exp` (security 18): an ended session is remembered that much
/// longer than its last token lasts.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(30);

/// Where a session stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "is")]
pub enum SessionStatus {
    /// No session by that id.
    #[default]
    Unknown,
    /// Not ended by anybody; whether its time has run out is asked with an instant.
    Live {
        /// Without a refresh it ends here.
        idle_until: Timestamp,
        /// It ends here whatever happens.
        absolute_until: Timestamp,
        /// The generation of the current refresh token, from 0.
        generation: u32,
        /// When the current token replaced its predecessor; absent for the first.
        rotated_at: Option<Timestamp>,
    },
    /// Over.
    Ended {
        /// Why.
        cause: SessionEndCause,
        /// The last access token of the session has expired by then.
        tokens_until: Timestamp,
    },
}

/// A refresh token that was rotated away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Predecessor {
    /// Its generation.
    pub generation: u32,
    /// SHA-256 of its secret, lower-case hex.
    pub token_hash: String,
    /// When its successor replaced it.
    pub rotated_at: Timestamp,
}

/// The state of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Whose it is; absent only while unknown.
    pub user_id: Option<UserId>,
    /// Where it stands.
    pub status: SessionStatus,
    /// How the person proved who they are.
    pub amr: Vec<AuthMethod>,
    /// SHA-256 of the current refresh token's secret, lower-case hex.
    #[serde(default)]
    pub token_hash: Sealed<String>,
    /// The tokens before it, latest last, at most [`PREDECESSORS_MAX`].
    #[serde(default)]
    pub predecessors: Sealed<Vec<Predecessor>>,
    /// No end of all the person's sessions up to this version of the person's stream was this one's; 0 when nobody
    /// wrote it down.
    #[serde(default)]
    pub user_version: u64,
    /// When the person last proved again who they are; absent while they did so only at the start.
    #[serde(default)]
    pub stepped_up_at: Option<Timestamp>,
}

impl Session {
    /// When a live session ends by itself: an access token should not outlive it.
    pub fn ends_at(&self) -> Option<Timestamp> {
        match self.status {
            SessionStatus::Live { idle_until, absolute_until, .. } => Some(idle_until.min(absolute_until)),
            SessionStatus::Unknown | SessionStatus::Ended { .. } => None,
        }
    }

    /// The generation of the current refresh token of a live session.
    pub const fn generation(&self) -> Option<u32> {
        match self.status {
            SessionStatus::Live { generation, .. } => Some(generation),
            SessionStatus::Unknown | SessionStatus::Ended { .. } => None,
        }
    }

    fn rotate(&mut self, successor: &Sealed<String>, rotated_at: Timestamp) {
        let mut kept = self.predecessors.get().cloned().unwrap_or_default();
        // Where the hash cannot be read (an erased person) there is nothing to compare a replay with.
        if let (Some(token_hash), Some(generation)) = (self.token_hash.get(), self.generation()) {
            kept.push(Predecessor { generation, token_hash: token_hash.clone(), rotated_at });
        }
        kept.drain(..kept.len().saturating_sub(PREDECESSORS_MAX));
        self.predecessors = if kept.is_empty() { Sealed::absent() } else { Sealed::new(kept) };
        self.token_hash = successor.clone();
    }
}

impl Aggregate for Session {
    type Event = SessionEvent;
    const STATE_SCHEMA: u16 = 2;
    const SEALED: &'static [&'static str] = &["tokenHash", "predecessors"];

    fn evolve(&mut self, event: &SessionEvent, _version: u64) {
        match event {
            SessionEvent::Started {
                user_id,
                amr,
                idle_until,
                absolute_until,
                token_hash,
                ip: _,
                agent: _,
                user_version,
            } => {
                self.user_id = Some(*user_id);
                self.user_version = user_version.unwrap_or_default();
                self.amr.clone_from(amr);
                self.token_hash = token_hash.clone();
                self.status = SessionStatus::Live {
                    idle_until: *idle_until,
                    absolute_until: *absolute_until,
                    generation: 0,
                    rotated_at: None,
                };
            }
            SessionEvent::Refreshed { generation, rotated_at, idle_until, token_hash } => {
                self.rotate(token_hash, *rotated_at);
                if let SessionStatus::Live { absolute_until, .. } = self.status {
                    self.status = SessionStatus::Live {
                        idle_until: *idle_until,
                        absolute_until,
                        generation: *generation,
                        rotated_at: Some(*rotated_at),
                    };
                }
            }
            SessionEvent::ReuseDetected { generation: _ } => {}
            SessionEvent::Kept { user_version } => self.user_version = *user_version,
            SessionEvent::SteppedUp { amr, at } => {
                let fresh: Vec<_> = amr.iter().filter(|method| !self.amr.contains(method)).copied().collect();
                self.amr.extend(fresh);
                self.stepped_up_at = Some(*at);
            }
            SessionEvent::Ended { user_id: _, cause, tokens_until } => {
                self.status = SessionStatus::Ended { cause: *cause, tokens_until: *tokens_until };
                // Nothing of an ended session is ever compared again, so nothing is kept.
                self.token_hash = Sealed::absent();
                self.predecessors = Sealed::absent();
            }
        }
    }

    fn person(&self, _stream: &StreamName) -> Option<UserId> {
        self.user_id
    }
}

/// Starts a session for somebody who has proved who they are.
#[derive(Clone, Debug)]
pub struct StartSession {
    /// Who.
    pub user_id: UserId,
    /// How.
    pub amr: Vec<AuthMethod>,
    /// SHA-256 of the first refresh token's secret, lower-case hex; its generation is 0.
    pub token_hash: String,
    /// The client's address, where it is known.
    pub ip: Option<String>,
    /// The client's user agent, where it names one.
    pub agent: Option<String>,
    /// How long it lasts without a refresh.
    pub idle_ttl: Duration,
    /// How long it lasts at most.
    pub absolute_ttl: Duration,
    /// The version of the person's stream that this is decided on, which the append has to guard.
    pub user_version: u64,
}

/// Why a session was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartSessionError {
    /// The id is taken.
    #[error("the session has already started")]
    AlreadyStarted,
}

/// Starts a session.
///
/// # Errors
/// [`StartSessionError`] when the id is taken.
pub fn start(state: &Session, command: StartSession, now: Timestamp) -> Result<Vec<SessionEvent>, StartSessionError> {
    match state.status {
        SessionStatus::Unknown => {
            let absolute_until = now.plus(command.absolute_ttl);
            Ok(vec![SessionEvent::Started {
                user_id: command.user_id,
                amr: command.amr,
                idle_until: now.plus(command.idle_ttl).min(absolute_until),
                absolute_until,
                token_hash: Sealed::new(command.token_hash),
                ip: command.ip.map_or_else(Sealed::absent, Sealed::new),
                agent: command.agent.map_or_else(Sealed::absent, Sealed::new),
                user_version: Some(command.user_version),
            }])
        }
        SessionStatus::Live { .. } | SessionStatus::Ended { .. } => Err(StartSessionError::AlreadyStarted),
    }
}

/// Why a session was not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndSessionError {
    /// No session by that id.
    #[error("the session is unknown")]
    Unknown,
}

/// Ends a session; one that has run out too, since its last access token may still be valid. Twice is once.
///
/// # Errors
/// [`EndSessionError`] when there is no such session.
pub fn end(
    state: &Session,
    cause: SessionEndCause,
    access_token_ttl: Duration,
    now: Timestamp,
) -> Result<Vec<SessionEvent>, EndSessionError> {
    match (state.status, state.user_id) {
        (SessionStatus::Unknown, _) | (SessionStatus::Live { .. }, None) => Err(EndSessionError::Unknown),
        (SessionStatus::Ended { .. }, _) => Ok(vec![]),
        (SessionStatus::Live { .. }, Some(user_id)) => Ok(vec![ended(user_id, cause, access_token_ttl, now)]),
    }
}

fn ended(user_id: UserId, cause: SessionEndCause, access_token_ttl: Duration, now: Timestamp) -> SessionEvent {
    SessionEvent::Ended { user_id, cause, tokens_until: now.plus(access_token_ttl).plus(CLOCK_SKEW_MAX) }
}

/// Lets a live session outlive the end of all others at that version of the person's stream. `before` is the person
/// before that end: what was over with all of theirs by then does not come back.
pub fn keep(state: &Session, before: &User, user_version: u64) -> Vec<SessionEvent> {
    match state.status {
        SessionStatus::Live { .. } if !is_superseded(state, before) => vec![SessionEvent::Kept { user_version }],
        SessionStatus::Unknown | SessionStatus::Live { .. } | SessionStatus::Ended { .. } => vec![],
    }
}

/// Whether the session was ended together with all others of the person by an append that did not know of it, because
/// it had just begun. Of a session that does not say when it began, the list of sessions knew.
pub const fn is_superseded(state: &Session, user: &User) -> bool {
    state.user_version > 0 && state.user_version < user.sessions_ended
}

/// Whether a person is signed in by the session: it is theirs and can be used, and they may use the platform.
pub fn is_signed_in(state: &Session, (id, user): (UserId, &User), now: Timestamp) -> bool {
    state.user_id == Some(id) && is_live(state, now) && !is_superseded(state, user) && user.is_active()
}

/// Whether the session itself can be used: nobody ended it and its time has not run out. Whether it ended with all
/// others of its person is [`is_superseded`].
pub fn is_live(state: &Session, now: Timestamp) -> bool {
    state.ends_at().is_some_and(|end| now < end)
}
