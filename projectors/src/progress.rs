//! How far a projection is, for those who wait for it in the same process.

use kisum_events::Cursor;
use tokio::sync::watch;

/// Where a projection stands, as its runner in this process last saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Everything up to here is committed.
    pub cursor: Cursor,
    /// Whether an event stopped it; it stands still until the process restarts or the log's epoch ends.
    pub poisoned: bool,
}

/// The projection will not get there in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the projection stands still")]
pub struct Stopped;

/// A view of one projection's progress; costs one lock to read and nothing to keep.
#[derive(Clone, Debug)]
pub struct Progress {
    receiver: watch::Receiver<Standing>,
}

impl Progress {
    pub(crate) const fn new(receiver: watch::Receiver<Standing>) -> Self {
        Self { receiver }
    }

    /// Where the projection stands.
    pub fn standing(&self) -> Standing {
        *self.receiver.borrow()
    }

    /// Whether everything up to `at` is committed. Every place of an older epoch is: a newer one starts from the
    /// whole log.
    pub fn has_reached(&self, at: Cursor) -> bool {
        reached(self.standing().cursor, at)
    }

    /// Waits until everything up to `at` is committed; the caller sets the time limit.
    ///
    /// # Errors
    /// [`Stopped`] when a poison event or the end of the process keeps it from getting there.
    pub async fn reached(&self, at: Cursor) -> Result<Cursor, Stopped> {
        let mut receiver = self.receiver.clone();
        let standing = *receiver
            .wait_for(|standing| standing.poisoned || reached(standing.cursor, at))
            .await
            .map_err(|_| Stopped)?;
        if reached(standing.cursor, at) { Ok(standing.cursor) } else { Err(Stopped) }
    }
}

const fn reached(cursor: Cursor, at: Cursor) -> bool {
    cursor.epoch > at.epoch || (cursor.epoch == at.epoch && cursor.position >= at.position)
}

#[cfg(test)]
mod tests {
    use super::{Progress, Standing, Stopped, watch};
    use kisum_events::Cursor;

    const fn at(epoch: u32, position: u64) -> Standing {
        Standing { cursor: Cursor { epoch, position }, poisoned: false }
    }

    #[tokio::test]
    async fn a_place_is_reached_by_a_later_position_or_a_later_epoch() {
        let (sender, receiver) = watch::channel(at(1, 5));
        let progress = Progress::new(receiver);
        assert!(progress.has_reached(Cursor { epoch: 1, position: 5 }));
        assert!(!progress.has_reached(Cursor { epoch: 1, position: 6 }));
        sender.send_replace(at(2, 1));
        assert_eq!(progress.reached(Cursor { epoch: 1, position: 6 }).await, Ok(at(2, 1).cursor));
    }

    #[tokio::test]
    async fn nobody_waits_for_a_projection_that_stands_still() {
        let (sender, receiver) = watch::channel(at(1, 5));
        let progress = Progress::new(receiver);
        sender.send_replace(Standing { poisoned: true, ..at(1, 5) });
        assert_eq!(progress.reached(Cursor { epoch: 1, position: 6 }).await, Err(Stopped));
        assert!(progress.reached(Cursor { epoch: 1, position: 5 }).await.is_ok());
        drop(sender);
        assert_eq!(progress.reached(Cursor { epoch: 1, position: 6 }).await, Err(Stopped));
    }
}
