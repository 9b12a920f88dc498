//! Tokens that were checked already, so that a signature is verified once.
//!
//! It owns forgetting: at a token's end, at its session's end, and when there are too many. It holds digests, never
//! tokens.

use crate::token::AccessClaims;
use kisum_events::{SessionId, Timestamp};
use std::{collections::HashMap, sync::Arc};

/// Tokens remembered at once; about 15 MB.
const TOKENS_MAX: usize = 50_000;

/// SHA-256 of the whole token.
type Name = [u8; 32];

#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// Counts [`Remembered::forget_everything`]: a check that began before one must not be remembered after it.
    generation: u64,
    claims: HashMap<Name, Arc<AccessClaims>>,
    by_session: HashMap<SessionId, Vec<Name>>,
}

impl Remembered {
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<Arc<AccessClaims>> {
        self.claims.get(name).cloned()
    }

    /// Remembers a checked token. Tokens that ended before `ended_before` give way first; if none did, all do:
    /// checking again costs little, and which token is used next cannot be known.
    pub(crate) fn insert(&mut self, name: &[u8], claims: Arc<AccessClaims>, ended_before: Timestamp) {
        let Ok(name) = Name::try_from(name) else { return };
        if self.claims.len() >= TOKENS_MAX {
            self.claims.retain(|_, claims| claims.exp > ended_before);
            if self.claims.len() >= TOKENS_MAX {
                self.claims.clear();
            }
            let claims = &self.claims;
            self.by_session.retain(|_, names| {
                names.retain(|name| claims.contains_key(name));
                !names.is_empty()
            });
        }
        let session = claims.sid;
        if self.claims.insert(name, claims).is_none() {
            self.by_session.entry(session).or_default().push(name);
        }
    }

    pub(crate) fn forget_everything(&mut self) {
        *self = Self { generation: self.generation.wrapping_add(1), ..Self::default() };
    }

    pub(crate) fn forget_session(&mut self, session: SessionId) {
        for name in self.by_session.remove(&session).unwrap_or_default() {
            self.claims.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Remembered, TOKENS_MAX};
    use crate::token::AccessClaims;
    use kisum_events::{SessionId, Timestamp, UserId};
    use std::sync::Arc;
    use uuid::Uuid;

    fn claims(session: u128, exp_s: i64) -> Arc<AccessClaims> {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        Arc::new(AccessClaims {
            sub: UserId::new(Uuid::from_u128(1)),
            sid: SessionId::new(Uuid::from_u128(session)),
            jti: String::new(),
            iat: at(0),
            exp: at(exp_s),
            auth_time: at(0),
            acr: "aal1".to_owned(),
        })
    }

    fn name(n: usize) -> [u8; 32] {
        let mut name = [0; 32];
        name[..8].copy_from_slice(&n.to_be_bytes());
        name
    }

    #[test]
    fn ending_a_session_forgets_its_tokens_and_no_others() {
        let mut remembered = Remembered::default();
        let epoch = Timestamp::from_micros(0);
        remembered.insert(&name(1), claims(1, 10), epoch);
        remembered.insert(&name(2), claims(1, 10), epoch);
        remembered.insert(&name(3), claims(2, 10), epoch);
        remembered.forget_session(SessionId::new(Uuid::from_u128(1)));
        assert!(remembered.get(&name(1)).is_none() && remembered.get(&name(2)).is_none());
        assert!(remembered.get(&name(3)).is_some());
    }

    #[test]
    fn the_memory_is_bounded_and_drops_ended_tokens_first() {
        let mut remembered = Remembered::default();
        remembered.insert(&name(0), claims(0, 500), Timestamp::from_micros(0));
        for n in 1..=TOKENS_MAX {
            remembered.insert(&name(n), claims(n as u128, 10), Timestamp::from_micros(20_000_000));
        }
        assert!(remembered.claims.len() <= TOKENS_MAX && remembered.by_session.len() <= TOKENS_MAX);
        assert!(remembered.get(&name(0)).is_some());
    }
}
