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
/// Wrong second factors of one account within its window. Whoever knows a password and guesses at six digits, of which
/// three are right at any time, finds them within a year with a chance of one in twenty.
const SECOND_FACTOR: Limit = Limit { max: 50, window_s: 24 * 3600 };
/// Sign-ins by passkey that one network begins or finishes within its window.
const PASSKEYS: Limit = Limit { max: 300, window_s: 60 };
/// How long a network stays known to an account after a sign-in.
const KNOWN_S: u64 = 30 * 24 * 3600;

/// The limiter of sign-ins.
#[derive(Clone)]
pub(in crate::auth) struct LoginLimiter(Limiter);

/// An attempt that has been counted. Dropping it leaves it counted, as a failure is.
pub(in crate::auth) struct Attempt {
    keys: Vec<(String, Limit)>,
    known_key: String,
}

impl LoginLimiter {
    /// A limiter that counts there.
    pub(in crate::auth) const fn new(limiter: Limiter) -> Self {
        Self(limiter)
    }

    /// Counts an attempt, or refuses it.
    pub(in crate::auth) async fn begin(&self, account: &str, network: &str) -> Result<Attempt, Limited> {
        self.begin_with(account, network, None).await
    }

    /// Counts an attempt at a second factor like one at a password, and against a limit of its own: a password cannot be
    /// found by trying, six digits can.
    pub(in crate::auth) async fn begin_second_factor(&self, account: &str, network: &str) -> Result<Attempt, Limited> {
        self.begin_with(account, network, Some(("ratelimit:second-factor", SECOND_FACTOR))).await
    }

    /// Counts what a network asks of passkeys, or refuses it.
    pub(in crate::auth) async fn pass_passkey(&self, network: &str) -> Result<(), Limited> {
        self.0.allow(&format!("ratelimit:passkey:ip:{network}"), PASSKEYS).await
    }

    async fn begin_with(
        &self,
        account: &str,
        network: &str,
        besides: Option<(&str, Limit)>,
    ) -> Result<Attempt, Limited> {
        let known_key = format!("ratelimit:login:known:{account}:{network}");
        let known = self.0.is_remembered(&known_key).await;
        let of_account = |prefix: &str| match known {
            true => format!("{prefix}:{account}:{network}"),
            false => format!("{prefix}:{account}"),
        };
        let mut keys =
            vec![(of_account("ratelimit:login:email"), ACCOUNT), (format!("ratelimit:login:ip:{network}"), NETWORK)];
        keys.extend(besides.map(|(prefix, limit)| (of_account(prefix), limit)));
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
    use super::{ACCOUNT, LoginLimiter, SECOND_FACTOR};
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
    async fn wrong_second_factors_are_limited_by_the_day_and_a_known_network_has_its_own_count() {
        let (limiter, clock) = without_redis();
        let attempt = limiter.begin("account", "192.0.2.1").await.ok();
        limiter.succeeded(&attempt.unwrap()).await;
        for attempt in 0..SECOND_FACTOR.max {
            if attempt % ACCOUNT.max == 0 {
                clock.advance(Duration::from_secs(ACCOUNT.window_s));
            }
            assert!(limiter.begin_second_factor("account", "203.0.113.66").await.is_ok(), "{attempt}");
        }
        clock.advance(Duration::from_secs(ACCOUNT.window_s));
        assert!(limiter.begin_second_factor("account", "203.0.113.66").await.is_err());
        assert!(limiter.begin_second_factor("account", "192.0.2.1").await.is_ok());
        assert!(limiter.begin("account", "203.0.113.66").await.is_ok(), "their passwords are another matter");
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
