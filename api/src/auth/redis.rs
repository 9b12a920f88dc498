//! The way to Redis: one multiplexed connection, a short time-out, and a breaker.
//!
//! It owns what happens when Redis is slow, gone or wrong: nobody waits for it, and for a second nobody asks it. It
//! refuses to know what is stored.

use crate::shared::ambient::Clock;
use redis::{
    Client, FromRedisValue, Pipeline, RedisError,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

/// Longest wait for an answer: what Redis would save is not worth more.
const ANSWER_MS_MAX: u64 = 25;
/// Longest wait for a connection.
const CONNECT_MS_MAX: u64 = 500;
/// How long Redis is left alone after it failed.
const QUIET_MS: u64 = 1000;

/// A handle on Redis that never fails its caller: it answers, or it says nothing.
#[derive(Clone)]
pub(super) struct Redis {
    connection: ConnectionManager,
    clock: Clock,
    quiet_until: Arc<AtomicI64>,
}

impl Redis {
    /// Prepares a connection, made when it is first used and again whenever it is lost.
    pub(super) fn open(url: &str, clock: Clock) -> Result<Self, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_millis(CONNECT_MS_MAX)))
            .set_response_timeout(Some(Duration::from_millis(CONNECT_MS_MAX)))
            .set_max_delay(Duration::from_secs(1));
        let connection = ConnectionManager::new_lazy_with_config(Client::open(url)?, config)?;
        Ok(Self { connection, clock, quiet_until: Arc::default() })
    }

    /// Sends commands. Nothing comes back while the breaker is open, and whatever goes wrong opens it.
    pub(super) async fn ask<T: FromRedisValue>(&self, commands: &Pipeline) -> Option<T> {
        if self.is_quiet() {
            return None;
        }
        self.send(commands, Duration::from_millis(ANSWER_MS_MAX)).await
    }

    /// Whether Redis failed just now and is left alone.
    pub(super) fn is_quiet(&self) -> bool {
        self.clock.now().micros() < self.quiet_until.load(Ordering::Relaxed)
    }

    /// Whether Redis answers, given the time to connect; for readiness and for the start.
    pub(super) async fn is_up(&self) -> bool {
        let ping = redis::pipe().cmd("PING").ignore().to_owned();
        self.send::<()>(&ping, Duration::from_millis(CONNECT_MS_MAX)).await.is_some()
    }

    async fn send<T: FromRedisValue>(&self, commands: &Pipeline, patience: Duration) -> Option<T> {
        let mut connection = self.connection.clone();
        let problem = match tokio::time::timeout(patience, commands.query_async(&mut connection)).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => error.category().to_owned(),
            Err(_elapsed) => "no answer in time".to_owned(),
        };
        let quiet_until = self.clock.now().plus(Duration::from_millis(QUIET_MS)).micros();
        self.quiet_until.store(quiet_until, Ordering::Relaxed);
        metrics::counter!("kisum_redis_errors_total").increment(1);
        tracing::warn!(event = "redis.unavailable", problem, "Redis is left alone for a second");
        None
    }
}
