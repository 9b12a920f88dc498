//! Events of a log itself: stream `log`.

use crate::event::events;

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
