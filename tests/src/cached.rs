//! The Redis of a stack as its administrator: what is kept there, forgotten, and put where it does not belong.

use kisum::local::Stack;
use redis::{FromRedisValue, aio::MultiplexedConnection};
use std::collections::BTreeMap;

/// What Auth keeps of access; counters and marks of ended sessions are not among them.
const PATTERNS: [&str; 3] = ["access:*", "session:*", "company-map:*"];

/// Values by key, of whatever kind.
pub type Values = BTreeMap<String, Vec<u8>>;

/// A connection that may do anything.
pub struct Cached(MultiplexedConnection);

impl Cached {
    /// Connects.
    pub async fn of(stack: &Stack) -> Self {
        let url = stack.variable("REDIS_URL").unwrap_or_else(|failure| panic!("{failure}"));
        let client = redis::Client::open(url).unwrap_or_else(|error| panic!("{error}"));
        Self(client.get_multiplexed_async_connection().await.unwrap_or_else(|error| panic!("{error}")))
    }

    async fn ask<T: FromRedisValue>(&mut self, command: &redis::Cmd) -> T {
        command.query_async(&mut self.0).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Forgets everything.
    pub async fn flush(&mut self) {
        self.ask::<()>(&redis::cmd("FLUSHALL")).await;
    }

    /// Everything that is kept of access.
    pub async fn values(&mut self) -> Values {
        let mut values = Values::new();
        for pattern in PATTERNS {
            for key in self.ask::<Vec<String>>(redis::cmd("KEYS").arg(pattern)).await {
                if let Some(value) = self.ask::<Option<Vec<u8>>>(redis::cmd("DUMP").arg(&key)).await {
                    values.insert(key, value);
                }
            }
        }
        values
    }

    /// Puts a value under a key, whatever is there.
    pub async fn put(&mut self, key: &str, value: &[u8]) {
        self.ask::<()>(redis::cmd("RESTORE").arg(key).arg(0).arg(value).arg("REPLACE")).await;
    }

    /// Puts under each key the value of another company's key of its kind, another one every time; says how many keys have
    /// another company's value now.
    pub async fn rotate(&mut self) -> usize {
        let values = self.values().await;
        let mut moved = 0;
        for pattern in PATTERNS {
            let prefix = pattern.trim_end_matches('*');
            let kind: Vec<_> = values.iter().filter(|(key, _)| key.starts_with(prefix)).collect();
            for (at, (key, _)) in kind.iter().enumerate() {
                let is_another_s =
                    |(other, _): &&(&String, &Vec<u8>)| shape(other) == shape(key) && company(other) != company(key);
                if let Some((_, value)) = kind.iter().cycle().skip(at).take(kind.len()).find(is_another_s) {
                    self.put(key, value).await;
                    moved += 1;
                }
            }
        }
        moved
    }
}

/// How many parts a key has: places, contexts and names are not each other's kind.
fn shape(key: &str) -> usize {
    key.split(':').count()
}

/// The part of a key that names the company.
fn company(key: &str) -> &str {
    let mut parts = key.split(':').skip(1).filter(|part| *part != "at");
    parts.next().unwrap_or_default()
}
