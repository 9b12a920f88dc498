//! Sessions that are over while tokens of theirs may still be in circulation.
//!
//! It owns remembering them for that long and no longer.

use kisum_events::{SessionId, Timestamp};
use std::{collections::HashMap, time::Duration};

/// Kept for this long after the last token's end: a token is accepted for 30 s after it, by a clock that may be 30 s
/// late.
const MARGIN: Duration = Duration::from_secs(60);

/// Looking for sessions to forget costs one pass; it is made when the number has doubled since the last.
const SWEEP_MIN: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct EndedSessions {
    until: HashMap<SessionId, Timestamp>,
    sweep_at: usize,
}

impl EndedSessions {
    pub(crate) fn contains(&self, session: SessionId) -> bool {
        self.until.contains_key(&session)
    }

    /// Records that a session is over; its last token ends at `tokens_until`.
    pub(crate) fn insert(&mut self, session: SessionId, tokens_until: Timestamp, now: Timestamp) {
        let until = tokens_until.plus(MARGIN);
        let kept = self.until.entry(session).or_insert(until);
        *kept = (*kept).max(until);
        if self.until.len() > self.sweep_at.max(SWEEP_MIN) {
            self.until.retain(|_, until| now < *until);
            self.sweep_at = self.until.len().saturating_mul(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{EndedSessions, SWEEP_MIN};
    use kisum_events::{SessionId, Timestamp};
    use uuid::Uuid;

    fn session(n: u128) -> SessionId {
        SessionId::new(Uuid::from_u128(n))
    }

    #[test]
    fn an_ended_session_is_forgotten_only_after_its_last_token() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let mut ended = EndedSessions::default();
        ended.insert(session(0), at(1000), at(0));
        for n in 1..=SWEEP_MIN as u128 {
            ended.insert(session(n), at(10), at(100));
        }
        assert!(ended.contains(session(0)));
        assert!(!ended.contains(session(1)));
    }
}
