//! How often something may be done: by account and by network.
//!
//! It owns counters in Redis and counters of the same shape in the process, for when Redis is gone. It refuses to know
//! who asks: an account is an HMAC, a network what `ClientIp::limit_key` makes of an address. What is counted, and how much
//! is too much, whoever counts says.

mod login;
mod rotations;

pub(super) use login::{Attempt, LoginLimiter, Trial};
pub(super) use rotations::RotationLimiter;

use super::{redis::Redis, seal::Seal};
use crate::shared::ambient::Clock;
use kisum_events::Timestamp;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Counters kept in the process; beyond that the oldest window gives way.
const LOCAL_MAX: usize = 50_000;

/// How often within how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    /// So many are allowed within one window.
    pub(super) max: u64,
    /// How long a window is.
    pub(super) window_s: u64,
}

/// Something may not be tried now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limited {
    /// Seconds until it may.
    pub(super) retry_after_s: u32,
}

impl Limited {
    fn until(left_s: u64) -> Self {
        Self { retry_after_s: u32::try_from(left_s).unwrap_or(u32::MAX).max(1) }
    }
}

/// Counts in Redis while it answers, and in the process always.
#[derive(Clone)]
pub(super) struct Limiter {
    redis: Redis,
    seal: Seal,
    local: Arc<LocalCounters>,
    clock: Clock,
}

impl Limiter {
    /// A limiter without counts of its own yet.
    pub(super) fn new(redis: Redis, seal: Seal, clock: Clock) -> Self {
        Self { redis, seal, local: Arc::default(), clock }
    }

    /// Counts once more under a key, unless that is too often.
    pub(super) async fn allow(&self, key: &str, limit: Limit) -> Result<(), Limited> {
        let (count, left_s) = self.count(key, limit).await;
        if count > limit.max { Err(Limited::until(left_s)) } else { Ok(()) }
    }

    /// Whether one more would be too often; counts none. Whatever else stands in Redis under the key is no count.
    async fn look(&self, key: &str, limit: Limit) -> Result<(), Limited> {
        let mut commands = redis::pipe();
        commands.cmd("GET").arg(key).cmd("TTL").arg(key);
        let shared: Option<(Option<i64>, i64)> = self.redis.ask(&commands).await;
        let (shared, left_s) = shared.map_or((0, 0), |(count, left_s)| (count.unwrap_or(0), left_s));
        let count = shared.max(self.local.get(key, self.clock.now()));
        if u64::try_from(count).unwrap_or(0) < limit.max {
            return Ok(());
        }
        Err(Limited::until(u64::try_from(left_s).ok().filter(|left_s| *left_s > 0).unwrap_or(limit.window_s)))
    }

    /// Takes back what was counted once.
    async fn take_back(&self, key: &str, limit: Limit) {
        let mut commands = redis::pipe();
        commands.atomic().cmd("SET").arg(key).arg(0).arg("EX").arg(limit.window_s).arg("NX").ignore();
        commands.cmd("DECR").arg(key).ignore();
        let _unavailable: Option<()> = self.redis.ask(&commands).await;
        self.local.add(key, -1, limit, self.clock.now());
    }

    /// Remembers a key for as long as the window. What stands in Redis of it names the key and when it ends, under a MAC: no
    /// counter, it would give whoever can write there a count of their own.
    async fn remember(&self, key: &str, window_s: u64) {
        let until = self.clock.now().plus(Duration::from_secs(window_s)).micros();
        let value = self.seal.close(format!("{key} {until}").as_bytes());
        let mut commands = redis::pipe();
        commands.cmd("SET").arg(key).arg(value).arg("EX").arg(window_s).ignore();
        let _unavailable: Option<()> = self.redis.ask(&commands).await;
        self.local.add(key, 1, Limit { max: 0, window_s }, self.clock.now());
    }

    async fn is_remembered(&self, key: &str) -> bool {
        let mut commands = redis::pipe();
        commands.cmd("GET").arg(key);
        let in_redis: Option<(Option<Vec<u8>>,)> = self.redis.ask(&commands).await;
        let value = in_redis.and_then(|(value,)| value);
        value.is_some_and(|value| self.is_remembrance(key, &value)) || self.local.get(key, self.clock.now()) > 0
    }

    /// Whether a value is what was remembered under this key, and for now.
    fn is_remembrance(&self, key: &str, value: &[u8]) -> bool {
        let until = || {
            let body = std::str::from_utf8(self.seal.open(value)?).ok()?;
            let (named, until) = body.rsplit_once(' ')?;
            (named == key).then(|| until.parse().ok()).flatten()
        };
        let is_ours = until().is_some_and(|until| self.clock.now() < Timestamp::from_micros(until));
        if !is_ours {
            metrics::counter!("kisum_redis_values_refused_total").increment(1);
        }
        is_ours
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
    use super::{LOCAL_MAX, Limit, Limiter, LocalCounters};
    use crate::{
        auth::{redis::Redis, seal::Seal},
        shared::ambient::Clock,
    };
    use kisum_events::Timestamp;
    use std::time::Duration;

    const LIMIT: Limit = Limit { max: 20, window_s: 900 };
    const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    #[test]
    fn a_window_starts_with_its_first_failure_and_ends_by_itself() {
        let counters = LocalCounters::default();
        for expected in 1..=3 {
            assert_eq!(counters.add("a", 1, LIMIT, START).0, expected);
        }
        assert_eq!(counters.add("a", -1, LIMIT, START).0, 2);
        let later = START.plus(Duration::from_secs(LIMIT.window_s));
        assert_eq!(counters.get("a", later), 0);
        assert_eq!(counters.add("a", 1, LIMIT, later).0, 1);
    }

    #[test]
    fn taking_back_more_than_was_counted_gives_no_credit() {
        let counters = LocalCounters::default();
        assert_eq!(counters.add("a", -1, LIMIT, START).0, 0);
        assert_eq!(counters.add("a", 1, LIMIT, START).0, 1);
    }

    /// security 17: a mark gives a network a count of its own, so nobody but us may set one.
    #[tokio::test]
    async fn a_mark_in_redis_counts_under_its_own_key_until_it_ends_and_if_it_is_ours() {
        let clock = Clock::manual(START);
        let redis = Redis::open("redis://127.0.0.1:1", clock.clone()).unwrap();
        let limiter = Limiter::new(redis, Seal::new(&[1; 32]), clock.clone());
        let mark = |key: &str, seconds| {
            let until = START.plus(Duration::from_secs(seconds)).micros();
            Seal::new(&[1; 32]).close(format!("{key} {until}").as_bytes())
        };
        assert!(limiter.is_remembrance("known:a:b", &mark("known:a:b", 60)));
        assert!(!limiter.is_remembrance("known:a:b", &mark("known:a:c", 60)), "moved here from another key");
        let forged = Seal::new(&[2; 32]).close(format!("known:a:b {}", i64::MAX).as_bytes());
        for value in [b"1".as_slice(), b"", &forged, b"known:a:b 9999999999999999"] {
            assert!(!limiter.is_remembrance("known:a:b", value));
        }
        let kept = mark("known:a:b", 60);
        clock.advance(Duration::from_secs(60));
        assert!(!limiter.is_remembrance("known:a:b", &kept), "kept beyond its time, or put back");
    }

    #[test]
    fn a_flood_of_accounts_keeps_the_newest_windows() {
        let counters = LocalCounters::default();
        let limit = Limit { max: 1, window_s: 3600 };
        for number in 0..=LOCAL_MAX {
            let now = START.plus(Duration::from_millis(u64::try_from(number).unwrap_or(0)));
            counters.add(&number.to_string(), 1, limit, now);
        }
        let kept = counters.counters.lock().map_or(0, |counters| counters.len());
        assert!((LOCAL_MAX / 2 - 1..=LOCAL_MAX).contains(&kept), "{kept}");
        assert_eq!(counters.get(&LOCAL_MAX.to_string(), START), 1);
    }
}
