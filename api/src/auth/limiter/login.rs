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
/// Wrong recovery codes and signatures of one account from one network within its window: what they cost us, since nobody
/// finds one by trying. Nobody elsewhere can use them up, so whoever is locked out with their app has these.
const UNGUESSABLE: Limit = Limit { max: 20, window_s: 15 * 60 };
/// Sign-ins by passkey that one network begins or finishes within its window.
const PASSKEYS: Limit = Limit { max: 300, window_s: 60 };
/// How long a network stays known to an account after a sign-in.
const KNOWN_S: u64 = 30 * 24 * 3600;

/// The limiter of sign-ins.
#[derive(Clone)]
pub(in crate::auth) struct LoginLimiter(Limiter);

/// What is tried as a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::auth) enum Trial {
    /// Six digits, which are found by trying often enough.
    Digits,
    /// A recovery code or a passkey's signature, which are not.
    Unguessable,
}

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
        let known = self.known(account, network).await;
        let keys = vec![known.key("ratelimit:login:email", ACCOUNT), of_network(network)];
        self.count(Attempt { keys, known_key: known.key }).await
    }

    /// Counts an attempt at a second factor, of sign-in and step-up together. Digits count like a password and against a limit
    /// of their own: a password cannot be found by trying, six digits can.
    pub(in crate::auth) async fn begin_second_factor(
        &self,
        account: &str,
        network: &str,
        trial: Trial,
    ) -> Result<Attempt, Limited> {
        let known = self.known(account, network).await;
        let mut keys = match trial {
            Trial::Digits => {
                vec![known.key("ratelimit:login:email", ACCOUNT), known.key("ratelimit:second-factor", SECOND_FACTOR)]
            }
            Trial::Unguessable => vec![(format!("ratelimit:unguessable:{account}:{network}"), UNGUESSABLE)],
        };
        keys.push(of_network(network));
        self.count(Attempt { keys, known_key: known.key }).await
    }

    /// Counts what a network asks of passkeys, or refuses it.
    pub(in crate::auth) async fn pass_passkey(&self, network: &str) -> Result<(), Limited> {
        self.0.allow(&format!("ratelimit:passkey:ip:{network}"), PASSKEYS).await
    }

    /// How attempts at an account from a network are counted.
    async fn known<'a>(&self, account: &'a str, network: &'a str) -> Counted<'a> {
        // It outlives what is known of a person who is erased, so it must not tell where they were.
        let key = format!("ratelimit:login:known:{}", digest(&format!("{account}|{network}")));
        let is_known = self.0.is_remembered(&key).await;
        Counted { account, apart: is_known.then_some(network), key }
    }

    async fn count(&self, attempt: Attempt) -> Result<Attempt, Limited> {
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

/// How attempts are counted: from networks that are known to the account apart from all others.
struct Counted<'a> {
    account: &'a str,
    /// The network, where it is known.
    apart: Option<&'a str>,
    /// What remembers that it is.
    key: String,
}

impl Counted<'_> {
    fn key(&self, prefix: &str, limit: Limit) -> (String, Limit) {
        let Self { account, .. } = self;
        let key = match self.apart {
            Some(network) => format!("{prefix}:{account}:{network}"),
            None => format!("{prefix}:{account}"),
        };
        (key, limit)
    }
}

fn of_network(network: &str) -> (String, Limit) {
    (format!("ratelimit:login:ip:{network}"), NETWORK)
}

/// SHA-256 in hex.
fn digest(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{ACCOUNT, LoginLimiter, SECOND_FACTOR, Trial, UNGUESSABLE};
    use crate::{
        auth::{limiter::Limiter, redis::Redis, seal::Seal},
        shared::ambient::Clock,
    };
    use kisum_events::Timestamp;
    use std::time::Duration;

    const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    /// A limiter whose Redis nobody listens for.
    fn without_redis() -> (LoginLimiter, Clock) {
        let clock = Clock::manual(START);
        let redis = Redis::open("redis://127.0.0.1:1", clock.clone()).unwrap();
        (LoginLimiter::new(Limiter::new(redis, Seal::new(&[1; 32]), clock.clone())), clock)
    }

    /// security 4
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
            assert!(limiter.begin_second_factor("account", "203.0.113.66", Trial::Digits).await.is_ok(), "{attempt}");
        }
        clock.advance(Duration::from_secs(ACCOUNT.window_s));
        assert!(limiter.begin_second_factor("account", "203.0.113.66", Trial::Digits).await.is_err());
        assert!(limiter.begin_second_factor("account", "192.0.2.1", Trial::Digits).await.is_ok());
        assert!(limiter.begin("account", "203.0.113.66").await.is_ok(), "their passwords are another matter");
    }

    /// security 4
    #[tokio::test]
    async fn digits_that_others_tried_take_no_recovery_code_or_passkey_away() {
        let (limiter, clock) = without_redis();
        for attempt in 0..SECOND_FACTOR.max {
            if attempt % ACCOUNT.max == 0 {
                clock.advance(Duration::from_secs(ACCOUNT.window_s));
            }
            assert!(limiter.begin_second_factor("account", "203.0.113.66", Trial::Digits).await.is_ok(), "{attempt}");
        }
        assert!(limiter.begin_second_factor("account", "198.51.100.7", Trial::Digits).await.is_err(), "for a day");
        for _ in 0..UNGUESSABLE.max {
            assert!(limiter.begin_second_factor("account", "203.0.113.66", Trial::Unguessable).await.is_ok());
        }
        assert!(limiter.begin_second_factor("account", "203.0.113.66", Trial::Unguessable).await.is_err());
        assert!(limiter.begin_second_factor("account", "198.51.100.7", Trial::Unguessable).await.is_ok());
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

    /// security 4
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
