//! Where the load generators meet time and chance.

use kisum_events::RequestId;
use std::time::Instant;
use uuid::Uuid;

/// Now, for measuring how long something takes.
#[expect(clippy::disallowed_methods, reason = "measuring is what this crate is for")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A new id.
#[expect(clippy::disallowed_methods, reason = "this is the module that owns randomness here")]
pub(crate) fn new_uuid() -> Uuid {
    Uuid::now_v7()
}

/// A new request id.
pub(crate) fn new_request() -> RequestId {
    RequestId::new(new_uuid())
}
