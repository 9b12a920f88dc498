//! Events of a log itself: stream `log`.

use crate::{CompanyId, Effect, Event, event::events};

events! {
    /// What happens to a log.
    LogEvent {
        /// A new epoch began: positions from here on belong to it, and every follower starts cold.
        EpochStarted = "log.epoch_started" Narrows {
            /// Its number, from 1.
            epoch: u32,
            /// Why.
            reason: String,
        },
    }
}

impl Event for LogEvent {
    const TYPES: &'static [&'static str] = Self::TYPES;
    fn event_type(&self) -> &'static str {
        self.row().0
    }
    fn effect(&self) -> Effect {
        self.row().1
    }
    fn company(&self) -> Option<CompanyId> {
        None
    }
}
