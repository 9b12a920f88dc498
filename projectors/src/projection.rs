//! What a read model is to the runtime: a name, a log, tables, and a fold in batches.

use kisum_events::{AnyEvent, Envelope, Log};
use sqlx::PgConnection;

/// A read model. Stateless: everything it knows stands in its tables.
///
/// The version is part of [`Self::NAME`] and of the tables' names; a new version is another projection, built beside
/// the old one.
pub trait Projection: Send + Sync + 'static {
    /// Its name in `projection_checkpoint`, such as `entitlements_v1`.
    const NAME: &'static str;
    /// The log that it folds.
    const LOG: Log;
    /// The tables that it alone writes.
    const TABLES: &'static [&'static str];

    /// Folds events that follow directly on what is applied. Runs inside the transaction that moves the checkpoint.
    ///
    /// # Errors
    /// [`ApplyError`]; the transaction is then rolled back.
    fn apply(conn: &mut PgConnection, batch: &Batch<'_>) -> impl Future<Output = Result<(), ApplyError>> + Send;

    /// Empties its tables, because a new epoch starts from position 0. `delete`, never `truncate`: readers in a
    /// snapshot must go on seeing the rows that belong to the checkpoint they see.
    ///
    /// # Errors
    /// Whatever the database says.
    fn clear(conn: &mut PgConnection) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

/// Events in order of position, without holes.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The log's epoch. Its older events keep the epoch they were written in, so theirs may be lower.
    pub epoch: u32,
    /// At least one event.
    pub events: &'a [Recorded<'a>],
}

/// An event and its typed form.
#[derive(Clone, Debug)]
pub struct Recorded<'a> {
    /// As it was published.
    pub envelope: &'a Envelope,
    /// What it says.
    pub event: AnyEvent,
}

/// Why a batch could not be folded.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The database refused or was not there.
    #[error("the database did not take the rows")]
    Database(#[from] sqlx::Error),
    /// The event says something that the read model cannot hold.
    #[error("{0}")]
    Refused(String),
}
