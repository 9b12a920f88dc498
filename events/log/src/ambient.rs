//! Where this crate meets chance and time. Nothing else in it reads a clock or draws an id.

use kisum_events::EventId;
use std::{hash::BuildHasher, time::Duration};
use uuid::Uuid;

/// A new event id, ordered by the time of its making (RFC 9562 §5.7).
#[expect(clippy::disallowed_methods, reason = "this is the module that owns randomness here")]
pub(crate) fn new_event_id() -> EventId {
    EventId::new(Uuid::now_v7())
}

/// A new id of a person's key: random, not telling when.
#[expect(clippy::disallowed_methods, reason = "this is the module that owns randomness here")]
pub(crate) fn new_key_id() -> Uuid {
    Uuid::new_v4()
}

/// Time since this machine booted, suspended time included (CLOCK_BOOTTIME): the clock of ages and leases.
pub(crate) fn boottime() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// A number in `[0, 1)`. Spreading load needs no more than the seed of a hash map.
pub(crate) fn random() -> f64 {
    let bits = std::hash::RandomState::new().hash_one(()) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

/// A new step's id in a trace: 64 bits, of which all but two are random.
#[expect(clippy::disallowed_methods, reason = "this is the module that owns randomness here")]
pub(crate) fn new_span_id() -> u64 {
    Uuid::new_v4().as_u64_pair().1
}
