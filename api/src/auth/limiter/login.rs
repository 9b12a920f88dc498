//! How often a sign-in may fail.
//!
//! An attempt is counted before its password is checked and taken back unless it fails, so that attempts in parallel
//! cannot slip under the limit. Networks from which somebody has signed in to an account are counted apart from all
//! others: whoever guesses from elsewhere cannot lock them out (ASVS 6.1.1).

use super::{Limit, Limited, Limiter};

/// Failures of one account within its window (security.md, 4).
const ACCOUNT: Limit = Limit { max: 20, window_s: 15 * 60 };
/// Failures from one network within its window.
const NETWORK: Limit = Limit { max: 300, window_s: 60 };
/// How long a network stays known to an account after a sign-in.
const KNOWN_S: u64 = 30 * 24 * 3600;

/// The limiter of sign-ins.
#[derive(Clone)]
pub(in crate::auth) struct LoginLimiter(Limiter);

/// An attempt that has been counted. Dropping it leaves it counted, as a failure is.
pub(in crate::auth) struct Attempt {
    keys: [(String, Limit); 2],
    known_key: String,
}

impl LoginLimiter {
    /// A limiter that counts there.
    pub(in crate::auth) const fn new(limiter: Limiter) -> Self {
        Self(limiter)
    }

    /// Counts an attempt, or refuses it.
    pub(in crate::auth) async fn begin(&self, account: &str, network: &str) -> Result<Attempt, Limited> {
        let known_key = format!("ratelimit:login:known:{account}:{network}");
        let account_key = match self.0.is_remembered(&known_key).await {
            true => format!("ratelimit:login:email:{account}:{network}"),
            false => format!("ratelimit:login:email:{account}"),
        };
        let keys = [(account_key, ACCOUNT), (format!("ratelimit:login:ip:{network}"), NETWORK)];
        let attempt = Attempt { keys, known_key };
        let mut limited = None;
        for (key, limit) in &attempt.keys {
            let (count, left_s) = self.0.count(key, *limit).await;
            if count > limit.max {
                limited = limited.max(Some(left_s));
            }
        }
        match limited {
            None => Ok(attempt),
            Some(left_s) => {
                // A refused attempt was none: it must not use up the other limit.
                self.take_back(&attempt).await;
                Err(Limited::until(left_s))
            }
        }
    }

    /// The attempt did not fail for its password: it was right, or nobody could tell.
    pub(in crate::auth) async fn take_back(&self, attempt: &Attempt) {
        for (key, limit) in &attempt.keys {
            self.0.take_back(key, *limit).await;
        }
    }

    /// The attempt succeeded: its network is known to the account from now on.
    pub(in crate::auth) async fn succeeded(&self, attempt: &Attempt) {
        self.take_back(attempt).await;
        self.0.remember(&attempt.known_key, KNOWN_S).await;
    }
}

#[cfg(test)]
mod tests {
    use super::{ACCOUNT, LoginLimiter};
    use crate::{
        auth::{limiter::Limiter, redis::Redis},
        shared::ambient::Clock,
    };
    use kisum_events::Timestamp;
    use std::time::Duration;

    const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    /// A limiter whose Redis nobody listens for.
    fn without_redis() -> (LoginLimiter, Clock) {
        let clock = Clock::manual(START);
        let redis = Redis::open("redis://127.0.0.1:1", clock.clone()).unwrap();
        (LoginLimiter::new(Limiter::new(redis, clock.clone())), clock)
    }

    #[tokio::test]
    async fn without_redis_the_limit_of_an_account_holds_until_its_window_ends() {
        let (limiter, clock) = without_redis();
        for attempt in 0..ACCOUNT.max {
            // A new address each time: the account alone is what they have in common.
            assert!(limiter.begin("account", &format!("192.0.2.{attempt}")).await.is_ok(), "{attempt}");
        }
        let limited = limiter.begin("account", "198.51.100.1").await.err();
        assert!(limited.is_some_and(|limited| (1..=901).contains(&limited.retry_after_s)));
        assert!(limiter.begin("another", "198.51.100.1").await.is_ok());
        clock.advance(Duration::from_secs(ACCOUNT.window_s));
        assert!(limiter.begin("account", "198.51.100.1").await.is_ok());
    }

    #[tokio::test]
    async fn only_failures_count() {
        let (limiter, _) = without_redis();
        for _ in 0..=ACCOUNT.max {
            let attempt = limiter.begin("account", "192.0.2.1").await.ok();
            limiter.take_back(&attempt.unwrap()).await;
        }
        assert!(limiter.begin("account", "192.0.2.1").await.is_ok());
    }

    #[tokio::test]
    async fn whoever_signed_in_before_is_not_locked_out_from_elsewhere() {
        let (limiter, _) = without_redis();
        let attempt = limiter.begin("account", "192.0.2.1").await.ok();
        limiter.succeeded(&attempt.unwrap()).await;
        for _ in 0..=ACCOUNT.max {
            let _failed_or_refused = limiter.begin("account", "203.0.113.66").await;
        }
        assert!(limiter.begin("account", "203.0.113.66").await.is_err());
        assert!(limiter.begin("account", "192.0.2.1").await.is_ok());
    }
}
