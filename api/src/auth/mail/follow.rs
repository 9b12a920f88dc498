//! Reading the log for what wants a mail.

use super::{interrupted, work};
use crate::shared::ambient::Clock;
use kisum_events::Cursor;
use kisum_log::{Backoff, EventLog, FollowError};
use tokio::sync::watch;

/// Positions that may be read again after a restart, rather than to note for each batch that nobody wanted a mail.
const UNNOTED_MAX: u64 = 1_000;
/// Most events in one transaction.
const TAKE_MAX: usize = 500;

/// Follows the log for ever; wakes the senders when there is work.
pub(super) async fn run(log: EventLog, clock: Clock, wake: watch::Sender<()>) {
    let (mut backoff, mut epoch) = (Backoff::default(), 0);
    loop {
        let error = match work::read_to(log.pool()).await {
            Ok(position) => follow(&log, &clock, &wake, Cursor { epoch, position }).await,
            Err(error) => Ended::Take(error.into()),
        };
        match error {
            // The checkpoint stands in the log's own database: positions mean the same in every epoch of it.
            Ended::Epoch(now) => {
                epoch = now;
                continue;
            }
            Ended::Take(error) => interrupted("the log is not read for mails", &error),
            Ended::Log(error) => interrupted("the log is not read for mails", &error),
        }
        tokio::time::sleep(backoff.next_wait()).await;
    }
}

/// Why following ended.
enum Ended {
    /// The log is in this epoch.
    Epoch(u32),
    Take(work::TakeError),
    Log(FollowError),
}

async fn follow(log: &EventLog, clock: &Clock, wake: &watch::Sender<()>, from: Cursor) -> Ended {
    let (mut follow, mut noted) = (log.follow(from), from.position);
    loop {
        let events = match follow.next().await {
            Ok(events) => events,
            Err(FollowError::OtherEpoch { now, .. }) => return Ended::Epoch(now),
            // It asks again by itself.
            Err(error @ FollowError::Interrupted { .. }) => {
                interrupted("the log is not read for mails", &error);
                continue;
            }
            Err(error @ FollowError::BeyondHead { .. }) => return Ended::Log(error),
        };
        let last = events.last().map_or(noted, |event| event.position);
        if !work::concerns(&events) && last.saturating_sub(noted) < UNNOTED_MAX {
            continue;
        }
        for events in events.chunks(TAKE_MAX) {
            match work::take(log.pool(), events, clock.now()).await {
                Ok(true) => wake.send_replace(()),
                Ok(false) => {}
                Err(error) => return Ended::Take(error),
            }
        }
        noted = last;
    }
}
