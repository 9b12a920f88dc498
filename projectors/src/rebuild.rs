//! Rebuilding a projection of the same version while it runs and is read.
//!
//! The whole log is folded anew into shadows: tables of the same names in the schema `rebuild`, by the code that folds
//! the running projection. Rows that differ are found without a lock. Those alone are looked at again, few at a time,
//! under the projection's lock and with the shadow folded as far as the projection is; what still differs is replaced
//! by what the shadow says. The running projection waits for a few rows at most, and readers for nothing.
//!
//! It owns folding aside, comparing and repairing. It refuses to know any projection: keys and columns are the
//! database's word.

mod shadow;
mod table;

use crate::{
    Poison, Projection,
    checkpoint::{lock, read_checkpoint},
};
use kisum_events::Cursor;
use kisum_log::{EventLog, Follow, FollowError, LogSource};
use shadow::{Shadow, hold};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};
use std::time::Duration;
use table::Table;

/// Most differing rows that one comparison names; there are as many comparisons as it takes.
const DIFFERING_MAX: usize = 100_000;
/// Most rows that are looked at again under one lock.
const REPAIR_MAX: usize = 500;
/// How long the lock is kept while the shadow folds the last events; then it is let go and taken once more.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);

/// What a rebuild came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// The projection was compared with its log up to here.
    pub through: Cursor,
    /// Every table of the projection, and how many of its rows were wrong, missing or too many.
    pub repaired: Vec<(&'static str, u64)>,
}

/// Why a rebuild ended. What was repaired by then is right; running it again is always safe.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Somebody else has begun to rebuild it, and emptied the shadow for that.
    #[error("another rebuild of this projection has begun")]
    Busy,
    /// The projection never ran: there is nothing to compare.
    #[error("this projection has not begun yet")]
    NotBegun,
    /// A table has no shadow: the database lacks a migration.
    #[error("the table {table} has no shadow in the schema rebuild")]
    NoShadow {
        /// Which.
        table: &'static str,
    },
    /// Rows of a table cannot be told apart.
    #[error("the table {table} has no primary key")]
    NoKey {
        /// Which.
        table: &'static str,
    },
    /// Another epoch began, and everything is folded anew anyway.
    #[error("epoch {now} began while epoch {folded} was folded")]
    OtherEpoch {
        /// The epoch that was folded.
        folded: u32,
        /// The epoch that began.
        now: u32,
    },
    /// An event that the projection has applied cannot be applied by this program.
    #[error("event {} cannot be applied: {}", .0.position, .0.error)]
    Poisoned(Poison),
    /// The log ends before what the projection has applied.
    #[error("the log cannot be folded as far as the projection is")]
    Log(#[from] FollowError),
    /// The projection's database is not there, or refused.
    #[error("the projection's database refused")]
    Database(#[from] sqlx::Error),
}

/// Rebuilds a projection of a log that lives in the same database.
///
/// # Errors
/// [`RebuildError`].
pub async fn rebuild_local<P: Projection>(log: &EventLog) -> Result<Rebuilt, RebuildError> {
    rebuild::<P>(&log.pool().connect_options(), &|at| log.follow(at)).await
}

/// Rebuilds a projection of a log that lives in another database.
///
/// # Errors
/// [`RebuildError`].
pub async fn rebuild_remote<P: Projection>(
    database: &PgConnectOptions,
    source: &LogSource,
) -> Result<Rebuilt, RebuildError> {
    rebuild::<P>(database, &|at| Follow::new(source.clone(), P::LOG, at)).await
}

async fn rebuild<P: Projection>(
    database: &PgConnectOptions,
    begin: &(impl Fn(Cursor) -> Follow + Sync),
) -> Result<Rebuilt, RebuildError> {
    let database = database.clone().application_name(&format!("kisum-rebuild-{}", P::NAME));
    let mut live = database.connect().await?;
    let mut shadow = Shadow::<P, _>::open(database.connect().await?, begin).await?;
    shadow.fold_through(standing::<P>(&mut live).await?).await?;
    let mut repaired = Vec::with_capacity(P::TABLES.len());
    for name in P::TABLES {
        let table = Table::read(&mut live, name).await?;
        let rows = repair(&mut live, &mut shadow, &table).await?;
        tracing::info!(event = "projection.rebuilt", projection = P::NAME, table = name, repaired = rows);
        repaired.push((*name, rows));
    }
    let through = shadow.at();
    shadow.empty().await?;
    Ok(Rebuilt { through, repaired })
}

/// Where the running projection is.
async fn standing<P: Projection>(live: &mut PgConnection) -> Result<Cursor, RebuildError> {
    let stored = read_checkpoint(live, P::NAME).await?.map(|stored| stored.cursor);
    stored.filter(|at| at.epoch > 0).ok_or(RebuildError::NotBegun)
}

/// Makes a table equal to its shadow; answers how many rows were not.
async fn repair<P: Projection, F: Fn(Cursor) -> Follow + Sync>(
    live: &mut PgConnection,
    shadow: &mut Shadow<'_, P, F>,
    table: &Table,
) -> Result<u64, RebuildError> {
    let mut repaired = 0;
    loop {
        // Whatever came while the log was folded would differ.
        shadow.fold_through(standing::<P>(live).await?).await?;
        let differing = table.differing(live, DIFFERING_MAX).await?;
        shadow.check().await?;
        for keys in differing.chunks(REPAIR_MAX) {
            repaired += repair_few(live, shadow, table, keys).await?;
        }
        if differing.len() < DIFFERING_MAX {
            return Ok(repaired);
        }
    }
}

/// Looks at few rows again under the projection's lock, and replaces what is wrong.
async fn repair_few<P: Projection, F: Fn(Cursor) -> Follow + Sync>(
    live: &mut PgConnection,
    shadow: &mut Shadow<'_, P, F>,
    table: &Table,
    keys: &[String],
) -> Result<u64, RebuildError> {
    loop {
        // Without the lock first, so that as little as may be is left to fold under it.
        shadow.fold_through(standing::<P>(live).await?).await?;
        let mut tx = live.begin().await?;
        let (at, _) = lock(&mut tx, P::NAME).await?;
        let caught_up = tokio::time::timeout(CATCH_UP_MAX, shadow.fold_through(at)).await;
        if let Ok(folded) = caught_up {
            folded?;
            // INVARIANT: a shadow that stands where the projection stands is what the projection has to be, whoever
            // folded it, and stays so until this transaction ends.
            hold(&mut tx, P::NAME, at).await?;
            let rows = table.repair(&mut tx, keys).await?;
            tx.commit().await?;
            return Ok(rows);
        }
        tx.rollback().await?;
    }
}
