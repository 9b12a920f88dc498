//! Time, identifiers and randomness: the one place in this crate where they enter.
//!
//! Everything else takes a [`Clock`], so that a test moves time by hand. It refuses to know what they are used for.

use kisum_events::{EventId, RequestId};
use std::time::{Duration, Instant};
use tokio::{sync::watch, time::MissedTickBehavior};
use uuid::Uuid;

/// What says what time it is: the machine, or a test. One type for a service and the guard that it links, so that
/// both see the same instant.
pub use kisum_guard::Clock;

/// How long something takes, by a clock that never goes back.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "this module owns the machine's clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Looks after something now and then until shutdown, the first time at once. A look that takes longer puts the next one off.
pub async fn every<F>(period: Duration, mut shutdown: watch::Receiver<bool>, look: impl Fn() -> F)
where
    F: Future<Output = ()>,
{
    let mut due = tokio::time::interval(period);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = shutdown.wait_for(|over| *over) => return,
            _ = due.tick() => {}
        }
        look().await;
    }
}

/// A new id, UUID version 7: ids made later sort later.
#[expect(clippy::disallowed_methods, reason = "this module owns randomness")]
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}

/// A new trace's id.
#[expect(clippy::disallowed_methods, reason = "this module owns randomness")]
pub fn new_trace_id() -> u128 {
    Uuid::new_v4().as_u128()
}

/// A new step's id in a trace: 64 bits, of which all but two are random.
#[expect(clippy::disallowed_methods, reason = "this module owns randomness")]
pub fn new_span_id() -> u64 {
    Uuid::new_v4().as_u64_pair().1
}

/// A new event's id.
pub fn new_event_id() -> EventId {
    EventId::new(new_id())
}

/// The id of an append that no idempotency key names.
pub fn new_request_id() -> RequestId {
    RequestId::new(new_id())
}

/// The machine's random source failed; nothing secret can be made.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the machine's random source failed")]
pub struct RandomError;

/// `N` random bytes for a secret.
///
/// # Errors
/// [`RandomError`] when the machine has none to give.
pub fn random<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| RandomError)?;
    Ok(bytes)
}
