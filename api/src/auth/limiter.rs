//! How often a sign-in may fail: by account and by network.
//!
//! It owns the limits, their keys in Redis and a limiter of the same shape for when Redis is gone. It refuses to know
//! who asks: an account is an HMAC, a network what `ClientIp::limit_key` makes of an address.
//!
//! An attempt is counted before its password is checked and taken back unless it fails, so that attempts in parallel
//! cannot slip under the limit. Networks from which somebody has signed in to an account are counted apart from all
//! others: whoever guesses from elsewhere cannot lock them out (ASVS 6.1.1).

use super::redis::Redis;
use crate::shared::ambient::Clock;
use kisum_events::Timestamp;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Failures of one account within its window (security.md, 4).
const ACCOUNT: Limit = Limit { failures_max: 20, window_s: 15 * 60 };
/// Failures from one network within its window.
const NETWORK: Limit = Limit { failures_max: 300, window_s: 60 };
/// How long a network stays known to an account after a sign-in.
const KNOWN_S: u64 = 30 * 24 * 3600;
/// Counters kept in the process; beyond that the oldest window gives way.
const LOCAL_MAX: usize = 50_000;

#[derive(Clone, Copy)]
struct Limit {
    failures_max: u64,
    window_s: u64,
}

/// A sign-in may not be tried now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limited {
    /// Seconds until it may.
    pub(super) retry_after_s: u32,
}

/// The limiter of sign-ins.
#[derive(Clone)]
pub(super) struct LoginLimiter {
    redis: Redis,
    local: Arc<LocalCounters>,
    clock: Clock,
}

/// An attempt that has been counted. Dropping it leaves it counted, as a failure is.
pub(super) struct Attempt {
    keys: [(String, Limit); 2],
    known_key: String,
}

impl LoginLimiter {
    /// A limiter that counts in Redis while it answers.
    pub(super) fn new(redis: Redis, clock: Clock) -> Self {
        Self { redis, local: Arc::default(), clock }
    }

    /// Counts an attempt, or refuses it.
    pub(super) async fn begin(&self, account: &str, network: &str) -> Result<Attempt, Limited> {
        let known_key = format!("ratelimit:login:known:{account}:{network}");
        let known = self.is_known(&known_key).await;
        let account_key = match known {
            true => format!("ratelimit:login:email:{account}:{network}"),
            false => format!("ratelimit:login:email:{account}"),
        };
        let keys = [(account_key, ACCOUNT), (format!("ratelimit:login:ip:{network}"), NETWORK)];
        let attempt = Attempt { keys, known_key };
        let mut limited = None;
        for (key, limit) in &attempt.keys {
            let (count, left_s) = self.count(key, *limit).await;
            if count > limit.failures_max {
                limited = limited.max(Some(left_s));
            }
        }
        match limited {
            None => Ok(attempt),
            Some(left_s) => {
                // A refused attempt was none: it must not use up the other limit.
                self.take_back(&attempt).await;
                Err(Limited { retry_after_s: u32::try_from(left_s).unwrap_or(u32::MAX).max(1) })
            }
        }
    }

    /// The attempt did not fail for its password: it was right, or nobody could tell.
    pub(super) async fn take_back(&self, attempt: &Attempt) {
        for (key, limit) in &attempt.keys {
            let mut commands = redis::pipe();
            commands.atomic().cmd("SET").arg(key).arg(0).arg("EX").arg(limit.window_s).arg("NX").ignore();
            commands.cmd("DECR").arg(key).ignore();
            let _unavailable: Option<()> = self.redis.ask(&commands).await;
            self.local.add(key, -1, *limit, self.clock.now());
        }
    }

    /// The attempt succeeded: its network is known to the account from now on.
    pub(super) async fn succeeded(&self, attempt: &Attempt) {
        self.take_back(attempt).await;
        let mut commands = redis::pipe();
        commands.cmd("SET").arg(&attempt.known_key).arg(1).arg("EX").arg(KNOWN_S).ignore();
        let _unavailable: Option<()> = self.redis.ask(&commands).await;
        let known = Limit { failures_max: 0, window_s: KNOWN_S };
        self.local.add(&attempt.known_key, 1, known, self.clock.now());
    }

    async fn is_known(&self, key: &str) -> bool {
        let mut commands = redis::pipe();
        commands.cmd("EXISTS").arg(key);
        let in_redis: Option<(bool,)> = self.redis.ask(&commands).await;
        in_redis.is_some_and(|(known,)| known) || self.local.get(key, self.clock.now()) > 0
    }

    /// Counts in both places, so that neither losing Redis nor getting it back opens the gate; the higher count is
    /// the truth. Answers with the count and the seconds left in the window.
    async fn count(&self, key: &str, limit: Limit) -> (u64, u64) {
        let mut commands = redis::pipe();
        commands.atomic().cmd("SET").arg(key).arg(0).arg("EX").arg(limit.window_s).arg("NX").ignore();
        commands.cmd("INCR").arg(key).cmd("TTL").arg(key);
        let shared: Option<(i64, i64)> = self.redis.ask(&commands).await;
        let (local, left_s) = self.local.add(key, 1, limit, self.clock.now());
        match shared {
            Some((count, ttl)) if count >= local => {
                (u64::try_from(count).unwrap_or(0), u64::try_from(ttl).unwrap_or(limit.window_s))
            }
            Some(_) | None => (u64::try_from(local).unwrap_or(0), left_s),
        }
    }
}

/// Counters of this process, in fixed windows.
#[derive(Default)]
struct LocalCounters {
    counters: Mutex<HashMap<String, Counter>>,
}

#[derive(Clone, Copy)]
struct Counter {
    count: i64,
    ends: Timestamp,
}

impl LocalCounters {
    fn add(&self, key: &str, change: i64, limit: Limit, now: Timestamp) -> (i64, u64) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        if counters.len() >= LOCAL_MAX && !counters.contains_key(key) {
            make_room(&mut counters, now);
        }
        let fresh = Counter { count: 0, ends: now.plus(Duration::from_secs(limit.window_s)) };
        let counter = counters.entry(key.to_owned()).or_insert(fresh);
        if counter.ends <= now {
            *counter = fresh;
        }
        counter.count = counter.count.saturating_add(change).max(0);
        (counter.count, counter.ends.since(now).as_secs().saturating_add(1))
    }

    fn get(&self, key: &str, now: Timestamp) -> i64 {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters.get(key).filter(|counter| now < counter.ends).map_or(0, |counter| counter.count)
    }
}

/// Drops what has ended and, where that is not enough, the half that ends first: one pass pays for many inserts.
fn make_room(counters: &mut HashMap<String, Counter>, now: Timestamp) {
    counters.retain(|_, counter| now < counter.ends);
    if counters.len() >= LOCAL_MAX {
        let mut ends: Vec<Timestamp> = counters.values().map(|counter| counter.ends).collect();
        let middle = ends.len() / 2;
        let median = *ends.select_nth_unstable(middle).1;
        counters.retain(|_, counter| median < counter.ends);
    }
}

#[cfg(test)]
mod tests {
    use super::{ACCOUNT, LOCAL_MAX, Limit, LocalCounters, LoginLimiter};
    use crate::{auth::redis::Redis, shared::ambient::Clock};
    use kisum_events::Timestamp;
    use std::time::Duration;

    const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    #[test]
    fn a_window_starts_with_its_first_failure_and_ends_by_itself() {
        let counters = LocalCounters::default();
        for expected in 1..=3 {
            assert_eq!(counters.add("a", 1, ACCOUNT, START).0, expected);
        }
        assert_eq!(counters.add("a", -1, ACCOUNT, START).0, 2);
        let later = START.plus(Duration::from_secs(ACCOUNT.window_s));
        assert_eq!(counters.get("a", later), 0);
        assert_eq!(counters.add("a", 1, ACCOUNT, later).0, 1);
    }

    #[test]
    fn taking_back_more_than_was_counted_gives_no_credit() {
        let counters = LocalCounters::default();
        assert_eq!(counters.add("a", -1, ACCOUNT, START).0, 0);
        assert_eq!(counters.add("a", 1, ACCOUNT, START).0, 1);
    }

    #[test]
    fn a_flood_of_accounts_keeps_the_newest_windows() {
        let counters = LocalCounters::default();
        let limit = Limit { failures_max: 1, window_s: 3600 };
        for number in 0..=LOCAL_MAX {
            let now = START.plus(Duration::from_millis(u64::try_from(number).unwrap_or(0)));
            counters.add(&number.to_string(), 1, limit, now);
        }
        let kept = counters.counters.lock().map_or(0, |counters| counters.len());
        assert!((LOCAL_MAX / 2 - 1..=LOCAL_MAX).contains(&kept), "{kept}");
        assert_eq!(counters.get(&LOCAL_MAX.to_string(), START), 1);
    }

    /// A limiter whose Redis nobody listens for.
    fn without_redis() -> (LoginLimiter, Clock) {
        let clock = Clock::manual(START);
        let redis = Redis::open("redis://127.0.0.1:1", clock.clone()).unwrap();
        (LoginLimiter::new(redis, clock.clone()), clock)
    }

    #[tokio::test]
    async fn without_redis_the_limit_of_an_account_holds_until_its_window_ends() {
        let (limiter, clock) = without_redis();
        for attempt in 0..ACCOUNT.failures_max {
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
        for _ in 0..=ACCOUNT.failures_max {
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
        for _ in 0..=ACCOUNT.failures_max {
            let _failed_or_refused = limiter.begin("account", "203.0.113.66").await;
        }
        assert!(limiter.begin("account", "203.0.113.66").await.is_err());
        assert!(limiter.begin("account", "192.0.2.1").await.is_ok());
    }
}
