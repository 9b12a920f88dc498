//! The one transaction of the runtime: lock the checkpoint, fold what is new, move the checkpoint.

use crate::{
    ApplyError, Batch, Poison, Projection, Recorded,
    checkpoint::{advance, lock},
    fail_points,
};
use kisum_events::{Cursor, Envelope, Timestamp};
use sqlx::{Connection as _, PgConnection};

/// What a commit came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Where the projection stands now; another process may have brought it further than these events.
    pub cursor: Cursor,
    /// When, by the database's clock.
    pub at: Timestamp,
    /// The event behind `cursor` that could not be applied, where there is one. It is not written down yet.
    pub poison: Option<Poison>,
}

/// Why nothing was committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The events do not follow on the checkpoint: what lies between must be read first.
    #[error("the events do not follow on position {} of epoch {}", after.position, after.epoch)]
    Hole {
        /// The checkpoint.
        after: Cursor,
    },
    /// The events come from an epoch that is over.
    #[error("epoch {offered} is over: the projection is in epoch {current}")]
    OlderEpoch {
        /// The epoch of the events.
        offered: u32,
        /// The checkpoint's.
        current: u32,
    },
    /// The database is not there, or asks to try again.
    #[error("the projection's database is unavailable")]
    Unavailable(#[from] sqlx::Error),
}

/// Why an attempt ended.
enum Attempt {
    Error(CommitError),
    /// The fold refused: the fault is in one of the events.
    Refused(ApplyError),
}

impl From<sqlx::Error> for Attempt {
    fn from(error: sqlx::Error) -> Self {
        Self::Error(CommitError::Unavailable(error))
    }
}

/// Applies events of one log, in order of position, to one projection.
///
/// Events at or below the checkpoint are ignored. A newer `epoch` empties the projection's tables and starts from
/// position 0 in the same transaction. When an event cannot be applied, those before it are committed and it is
/// named in the answer.
///
/// # Errors
/// [`CommitError`]; then nothing was changed, or (a connection lost during commit) it may be sent again.
pub async fn commit<P: Projection>(
    conn: &mut PgConnection,
    epoch: u32,
    events: &[Envelope],
) -> Result<Committed, CommitError> {
    match attempt::<P>(conn, epoch, events).await {
        Ok(committed) => Ok(committed),
        Err(Attempt::Error(error)) => Err(error),
        Err(Attempt::Refused(_)) => singly::<P>(conn, epoch, events).await,
    }
}

/// Commits event by event, up to the one at fault.
async fn singly<P: Projection>(
    conn: &mut PgConnection,
    epoch: u32,
    events: &[Envelope],
) -> Result<Committed, CommitError> {
    // The empty commit takes the projection into the epoch and answers where it stands.
    let mut reached = match attempt::<P>(conn, epoch, &[]).await {
        Ok(committed) => committed,
        Err(Attempt::Error(error)) => return Err(error),
        Err(Attempt::Refused(error)) => return Err(unforeseen(&error)),
    };
    for event in events {
        match attempt::<P>(conn, epoch, std::slice::from_ref(event)).await {
            Ok(Committed { poison: None, cursor, at }) => reached = Committed { cursor, at, poison: None },
            Ok(poisoned) => return Ok(poisoned),
            Err(Attempt::Error(error)) => return Err(error),
            Err(Attempt::Refused(error)) => {
                let poison = Poison { position: event.position, error: chain(&error) };
                return Ok(Committed { poison: Some(poison), ..reached });
            }
        }
    }
    Ok(reached)
}

fn unforeseen(error: &ApplyError) -> CommitError {
    CommitError::Unavailable(sqlx::Error::Protocol(format!("an empty batch was refused: {}", chain(error))))
}

async fn attempt<P: Projection>(
    conn: &mut PgConnection,
    epoch: u32,
    events: &[Envelope],
) -> Result<Committed, Attempt> {
    let mut tx = conn.begin().await?;
    match fold::<P>(&mut tx, epoch, events).await {
        Ok((committed, true)) => {
            fail_points::point("projection.before_commit");
            tx.commit().await?;
            fail_points::point("projection.committed");
            Ok(committed)
        }
        // Said aloud, since a transaction that is only dropped keeps its lock until the connection is used again.
        Ok((committed, false)) => tx.rollback().await.map(|()| committed).map_err(Attempt::from),
        Err(ended) => {
            // A connection that is lost has rolled back by itself; what ended the attempt says more.
            let _ = tx.rollback().await;
            Err(ended)
        }
    }
}

/// Everything between begin and end; answers also whether there is something to commit. What was applied before
/// costs no write: several processes are brought the same events.
async fn fold<P: Projection>(
    tx: &mut PgConnection,
    epoch: u32,
    events: &[Envelope],
) -> Result<(Committed, bool), Attempt> {
    let (stored, at) = lock(&mut *tx, P::NAME).await?;
    if stored.epoch > epoch {
        return Err(Attempt::Error(CommitError::OlderEpoch { offered: epoch, current: stored.epoch }));
    }
    let mut cursor = stored;
    if stored.epoch < epoch {
        P::clear(&mut *tx).await?;
        cursor = Cursor { epoch, position: 0 };
    }
    let mut recorded = Vec::with_capacity(events.len());
    let mut poison = None;
    for envelope in events.iter().filter(|event| event.position > cursor.position) {
        let follows = cursor.position.saturating_add(recorded.len() as u64).saturating_add(1);
        if envelope.position != follows {
            return Err(Attempt::Error(CommitError::Hole { after: stored }));
        }
        match envelope.decode() {
            Ok(event) => recorded.push(Recorded { envelope, event }),
            Err(error) => {
                poison = Some(Poison { position: envelope.position, error: chain(&error) });
                break;
            }
        }
    }
    if let Some(last) = recorded.last() {
        cursor.position = last.envelope.position;
        if let Err(error) = P::apply(&mut *tx, &Batch { epoch, events: &recorded }).await {
            return Err(match error {
                ApplyError::Database(error) if passes(&error) => error.into(),
                refused => Attempt::Refused(refused),
            });
        }
    }
    let has_moved = cursor != stored;
    if has_moved {
        fail_points::point("projection.rows_written");
        advance(tx, P::NAME, cursor, at).await?;
    }
    Ok((Committed { cursor, at, poison }, has_moved))
}

/// Whether an error says nothing about the event: the connection, the server or another transaction is to blame,
/// and the same rows may well be taken a moment later.
fn passes(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(database) => database.code().is_some_and(|code| {
            // PostgreSQL, appendix A: connection exception, insufficient resources, operator intervention (shutdown,
            // cancel), system error, serialization failure or deadlock, lock not available, read-only (a standby).
            ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class))
                || code == "55P03"
                || code == "25006"
        }),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        _ => false,
    }
}

/// An error with all its causes on one line; causes that a message repeats already are not repeated again.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
        source = cause.source();
    }
    line
}
