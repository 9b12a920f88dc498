//! Following a log in its own database: in order, without a hole, from any cursor, for ever.
//!
//! Position order is commit order, so reading behind the last position is all there is to it. What arrives over the bus
//! can only wake a follower; it is never what it reads.

use crate::{LoadError, read, read_head};
use kisum_events::{Class, Cursor, Envelope, Log, Position};
use sqlx::PgPool;
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

/// How long an idle follower waits before it looks again, unless it is woken.
const POLL: Duration = Duration::from_millis(10);
/// Events read at once.
const BATCH_MAX: i64 = 1000;

/// Why a follower cannot go on from where it stands.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The log has another epoch than the cursor: what was derived from it must be derived anew.
    #[error("the log is in epoch {now}, the cursor in epoch {cursor}: start over from position 0")]
    OtherEpoch {
        /// The log's epoch.
        now: u32,
        /// The cursor's.
        cursor: u32,
    },
    /// The cursor lies behind the end of the log.
    #[error("position {cursor} is beyond the head of the log, {head}")]
    BeyondHead {
        /// The cursor's position.
        cursor: Position,
        /// Where the log ends.
        head: Position,
    },
    /// The log cannot be read; trying again is right.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// A place in a log that moves with it.
#[derive(Clone)]
pub struct Follow {
    pool: PgPool,
    log: Log,
    class: Option<Class>,
    at: Cursor,
    wake: Arc<Notify>,
}

impl Follow {
    /// A follower of what comes behind `after`, of one class or all.
    pub fn new(pool: PgPool, log: Log, after: Cursor, class: Option<Class>) -> Self {
        Self { pool, log, class, at: after, wake: Arc::new(Notify::new()) }
    }

    /// Where it stands: everything up to here was handed out.
    pub const fn at(&self) -> Cursor {
        self.at
    }

    /// Wakes it; whoever learns that the log has grown calls this.
    pub fn waker(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    /// The next events in order, at least one; waits until there are.
    ///
    /// # Errors
    /// [`FollowError`]; the follower stays where it stood.
    pub async fn next(&mut self) -> Result<Vec<Envelope>, FollowError> {
        loop {
            let mut conn = self.pool.acquire().await.map_err(LoadError::from)?;
            // The epoch is read with every batch: a promoted database must not be followed as if nothing had happened.
            let head = read_head(&mut conn).await?;
            if head.epoch != self.at.epoch {
                return Err(FollowError::OtherEpoch { now: head.epoch, cursor: self.at.epoch });
            }
            if self.at.position > head.position {
                return Err(FollowError::BeyondHead { cursor: self.at.position, head: head.position });
            }
            if head.position > self.at.position {
                let events = read(&mut conn, self.log, self.at.position, BATCH_MAX, self.class).await?;
                if let Some(last) = events.last() {
                    self.at.position = last.position;
                    return Ok(events);
                }
                // Nothing of this class up to the head: there is no need to look at those again.
                self.at.position = head.position;
            }
            drop(conn);
            let _woken_or_over = tokio::time::timeout(POLL, self.wake.notified()).await;
        }
    }
}
