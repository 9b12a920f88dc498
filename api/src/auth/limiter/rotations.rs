//! How often a session may rotate its refresh token (contract, *Redis*: `ratelimit:refresh:{sessionId}`).
//!
//! Only a rotation that was written counts: a replay, or a request that lost a race to another with the same token, is an
//! answer that is asked for again.

use super::{Limit, Limited, Limiter};
use kisum_events::SessionId;

/// The window; how many there may be in it is the environment's.
const WINDOW_S: u64 = 60;

/// The limiter of rotations.
#[derive(Clone)]
pub(in crate::auth) struct RotationLimiter {
    limiter: Limiter,
    limit: Limit,
}

impl RotationLimiter {
    /// So many a minute for each session.
    pub(in crate::auth) const fn new(limiter: Limiter, max: u64) -> Self {
        Self { limiter, limit: Limit { max, window_s: WINDOW_S } }
    }

    /// Refuses a rotation where the session has had too many; counts none.
    pub(in crate::auth) async fn may_rotate(&self, session: SessionId) -> Result<(), Limited> {
        self.limiter.look(&key(session), self.limit).await
    }

    /// Counts a rotation that was written. Nothing waits for it.
    pub(in crate::auth) fn rotated(&self, session: SessionId) {
        let Self { limiter, limit } = self.clone();
        tokio::spawn(async move { limiter.count(&key(session), limit).await });
    }
}

fn key(session: SessionId) -> String {
    format!("ratelimit:refresh:{session}")
}

#[cfg(test)]
mod tests {
    use super::{Limiter, RotationLimiter, WINDOW_S, key};
    use crate::{
        auth::{redis::Redis, seal::Seal},
        shared::ambient::Clock,
    };
    use kisum_events::{SessionId, Timestamp};
    use std::time::Duration;
    use uuid::Uuid;

    #[tokio::test]
    async fn without_redis_a_session_rotates_no_more_often_than_it_may_within_a_minute() {
        let clock = Clock::manual(Timestamp::from_micros(1_700_000_000_000_000));
        let redis = Redis::open("redis://127.0.0.1:1", clock.clone()).unwrap();
        let rotations = RotationLimiter::new(Limiter::new(redis, Seal::new(&[1; 32]), clock.clone()), 3);
        let session = SessionId::new(Uuid::from_u128(1));
        for _ in 0..3 {
            assert!(rotations.may_rotate(session).await.is_ok());
            rotations.limiter.count(&key(session), rotations.limit).await;
        }
        assert!(rotations.may_rotate(session).await.is_err_and(|limited| limited.retry_after_s <= 60));
        assert!(rotations.may_rotate(SessionId::new(Uuid::from_u128(2))).await.is_ok());
        clock.advance(Duration::from_secs(WINDOW_S + 1));
        assert!(rotations.may_rotate(session).await.is_ok());
    }
}
