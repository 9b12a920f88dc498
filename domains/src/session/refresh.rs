//! Rotation of a refresh token: which token is current, which replay is a lost answer, and which is a theft.
//!
//! It decides on generation and hash alone. It refuses to derive or hand out secrets.

use super::{Session, SessionStatus, ended};
use kisum_events::{Sealed, SessionEndCause, SessionEvent, Timestamp};
use std::time::Duration;

/// Within this after a rotation a replay of the predecessor is a lost answer, whatever became of the successor.
pub const GRACE_AFTER_ROTATION: Duration = Duration::from_secs(10);

/// And within this as long as the successor has not been used.
pub const GRACE_UNTIL_USED_MAX: Duration = Duration::from_secs(600);

/// Hashes of that many predecessors are kept. More than that many rotations within one grace do not happen to an
/// honest client: each needs the answer of the one before.
pub const PREDECESSORS_MAX: usize = 16;

/// A refresh token as it was presented, `sid.generation.secret`.
#[derive(Clone, Debug)]
pub struct Presented {
    /// The generation it claims.
    pub generation: u32,
    /// SHA-256 of its secret, lower-case hex.
    pub token_hash: String,
}

/// How long things last.
#[derive(Clone, Copy, Debug)]
pub struct RefreshPolicy {
    /// How long a session lasts without a refresh.
    pub idle_ttl: Duration,
    /// How long an access token lasts: an ended session is remembered until the last one has expired.
    pub access_token_ttl: Duration,
}

/// What a refresh came to.
#[derive(Clone, Debug, PartialEq)]
pub enum RefreshOutcome {
    /// The token was rotated: append, then hand out the successor.
    Rotated {
        /// What to append.
        events: Vec<SessionEvent>,
        /// The successor's generation.
        generation: u32,
    },
    /// The answer to an earlier rotation was lost: hand out the same successor, append nothing.
    Replayed {
        /// The successor's generation.
        generation: u32,
    },
    /// A token that was rotated away came back: append, which ends the session, and refuse.
    Reuse {
        /// What to append.
        events: Vec<SessionEvent>,
    },
}

/// Why a refresh was refused without any consequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefreshError {
    /// No session by that id.
    #[error("the session is unknown")]
    Unknown,
    /// Somebody ended it.
    #[error("the session has ended")]
    Ended,
    /// Its time has run out.
    #[error("the session has expired")]
    Expired,
    /// The token was never one of this session.
    #[error("the token does not belong to the session")]
    WrongSecret,
}

/// Decides what a presented refresh token is worth.
///
/// A wrong secret for a generation whose hash is kept, and a generation that does not exist yet, are merely invalid:
/// whoever knows only the session's id (it stands in access tokens) must not be able to end the session by guessing.
/// Below the kept generations nothing can be compared any more, and the contract decides: anything older ends the
/// session. Hashes are compared directly: they are digests of 128-bit secrets, so timing tells nothing of use.
///
/// # Errors
/// [`RefreshError`]; nothing is appended then.
pub fn refresh(
    state: &Session,
    presented: Presented,
    successor_hash: String,
    policy: RefreshPolicy,
    now: Timestamp,
) -> Result<RefreshOutcome, RefreshError> {
    let (idle_until, absolute_until, current) = match state.status {
        SessionStatus::Unknown => return Err(RefreshError::Unknown),
        SessionStatus::Ended { .. } => return Err(RefreshError::Ended),
        SessionStatus::Live { idle_until, absolute_until, generation, rotated_at: _ } => {
            (idle_until, absolute_until, generation)
        }
    };
    if now >= idle_until.min(absolute_until) {
        return Err(RefreshError::Expired);
    }
    if presented.generation > current {
        return Err(RefreshError::WrongSecret);
    }
    if presented.generation == current {
        if state.token_hash.get() != Some(&presented.token_hash) {
            return Err(RefreshError::WrongSecret);
        }
        let generation = current.checked_add(1).ok_or(RefreshError::Expired)?;
        let event = SessionEvent::Refreshed {
            generation,
            rotated_at: now,
            idle_until: now.plus(policy.idle_ttl).min(absolute_until),
            token_hash: Sealed::new(successor_hash),
        };
        return Ok(RefreshOutcome::Rotated { events: vec![event], generation });
    }
    refresh_with_old(state, &presented, current, policy, now)
}

fn refresh_with_old(
    state: &Session,
    presented: &Presented,
    current: u32,
    policy: RefreshPolicy,
    now: Timestamp,
) -> Result<RefreshOutcome, RefreshError> {
    let kept = state.predecessors.get().map(Vec::as_slice).unwrap_or_default();
    if let Some(predecessor) = kept.iter().find(|kept| kept.generation == presented.generation) {
        if predecessor.token_hash != presented.token_hash {
            return Err(RefreshError::WrongSecret);
        }
        let successor = predecessor.generation.saturating_add(1);
        let grace = if successor == current { GRACE_UNTIL_USED_MAX } else { GRACE_AFTER_ROTATION };
        if now < predecessor.rotated_at.plus(grace) {
            return Ok(RefreshOutcome::Replayed { generation: successor });
        }
    }
    let user_id = state.user_id.ok_or(RefreshError::Unknown)?;
    Ok(RefreshOutcome::Reuse {
        events: vec![
            SessionEvent::ReuseDetected { generation: presented.generation },
            ended(user_id, SessionEndCause::ReuseDetected, policy.access_token_ttl, now),
        ],
    })
}
