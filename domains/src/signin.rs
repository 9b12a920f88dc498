//! Failed attempts to sign in to an account on one day: stream `signin-{userId}-{day}`.
//!
//! It owns no rule: what has failed has failed. How often somebody may try is the limiter's business.

use kisum_events::{Aggregate, SigninEvent, StreamName, UserId};
use serde::{Deserialize, Serialize};

/// The state of one account's day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signins {
    /// Attempts that failed.
    pub failures: u64,
}

impl Aggregate for Signins {
    type Event = SigninEvent;
    const STATE_SCHEMA: u16 = 1;

    fn evolve(&mut self, event: &SigninEvent, _version: u64) {
        match event {
            SigninEvent::Failed { count, .. } => self.failures = self.failures.saturating_add(u64::from(*count)),
        }
    }

    fn person(&self, stream: &StreamName) -> Option<UserId> {
        stream.person()
    }
}
