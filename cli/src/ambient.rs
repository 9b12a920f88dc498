//! Time, randomness and the process environment: the only module of this crate that reads them.
//!
//! It knows nothing of what the values are for.

use anyhow::{Context as _, Result};
use kisum_events::Timestamp;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "this module owns the clock of the crate")]
pub fn now() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp::from_micros(i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX))
}

/// Measures how long something takes, on the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    #[expect(clippy::disallowed_methods, reason = "this module owns the clock of the crate")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// One variable of the process environment, if it is set and not empty.
#[expect(clippy::disallowed_methods, reason = "this module owns the environment of the crate")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Every variable of the process environment whose name and value are Unicode.
pub fn variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// `N` bytes from the operating system's random source.
///
/// # Errors
/// When the operating system has none to give.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).ok().context("the operating system gave no random bytes")?;
    Ok(bytes)
}

/// A fresh version 7 UUID, for request and idempotency keys.
#[expect(clippy::disallowed_methods, reason = "this module owns the randomness of the crate")]
pub fn new_id() -> uuid::Uuid {
    uuid::Uuid::now_v7()
}
