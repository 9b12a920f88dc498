//! Rebuilding a projection of the same version while it runs and is read.
//!
//! The whole log is folded anew into shadows: tables of the same names in the schema `rebuild`, by the code that folds
//! the running projection. Rows that differ are found without a lock. Those alone are looked at again, few at a time,
//! under the projection's lock and with the shadow folded as far as the projection is; what still differs is told, and
//! for a rebuild replaced by what the shadow says. The running projection waits for a few rows at most, and readers for
//! nothing.
//!
//! It owns folding aside, comparing and repairing. It refuses to know any projection: keys and columns are the
//! database's word.

mod difference;
mod shadow;
mod table;

pub use difference::{Compared, Difference, TableDifferences};

use crate::{
    Poison, Projection,
    checkpoint::{lock, read_checkpoint},
};
use kisum_events::{Cursor, Position};
use kisum_log::{EventLog, FollowError, LogSource, Pages};
use shadow::{Shadow, hold};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};
use std::time::Duration;
use table::Table;
use tokio::sync::watch;

/// Most differing rows that one comparison names; a rebuild makes as many comparisons as it takes.
const DIFFERING_MAX: usize = 100_000;
/// Most rows that are looked at again under one lock.
const REPAIR_MAX: usize = 500;
/// How long the lock is kept while the shadow folds the last events; then it is let go and taken once more.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);

/// What a comparison is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Rows that differ are made what the log says.
    Repair,
    /// They are told and left as they are.
    Tell,
}

/// What a comparison is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// It has not begun.
    #[default]
    Waiting,
    /// Folding the log aside.
    Folding {
        /// Everything up to here is folded.
        at: Position,
        /// The projection is here.
        to: Position,
    },
    /// The log cannot be read for now, and is asked again.
    Interrupted {
        /// Why, with the whole chain of causes.
        why: String,
    },
    /// Comparing, and repairing where it does.
    Comparing {
        /// Which table.
        table: &'static str,
        /// Rows that were found to differ so far.
        rows: u64,
    },
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
pub async fn rebuild_local<P: Projection>(log: &EventLog) -> Result<Compared, RebuildError> {
    let pages = Pages::from(log.pool().clone());
    compare::<P>(&log.pool().connect_options(), &pages, Purpose::Repair, &watch::Sender::default()).await
}

/// Rebuilds a projection of a log that lives in another database.
///
/// # Errors
/// [`RebuildError`].
pub async fn rebuild_remote<P: Projection>(
    database: &PgConnectOptions,
    source: &LogSource,
) -> Result<Compared, RebuildError> {
    compare::<P>(database, &Pages::from(source.clone()), Purpose::Repair, &watch::Sender::default()).await
}

/// Folds the log aside and compares; repairs, where that is the purpose.
pub(crate) async fn compare<P: Projection>(
    database: &PgConnectOptions,
    log: &Pages,
    purpose: Purpose,
    stage: &watch::Sender<Stage>,
) -> Result<Compared, RebuildError> {
    let database = database.clone().application_name(&format!("kisum-rebuild-{}", P::NAME));
    let mut live = database.connect().await?;
    let mut shadow = Shadow::<P>::open(database.connect().await?, log, stage).await?;
    shadow.fold_through(standing::<P>(&mut live).await?).await?;
    let mut tables = Vec::with_capacity(P::TABLES.len());
    for name in P::TABLES {
        let table = Table::read(&mut live, name).await?;
        let found = compare_table(&mut live, &mut shadow, &table, purpose).await?;
        tracing::info!(
            event = "projection.compared",
            projection = P::NAME,
            table = name,
            rows = found.rows(),
            repaired = purpose == Purpose::Repair
        );
        tables.push(found);
    }
    let through = shadow.at();
    shadow.empty().await?;
    Ok(Compared { through, tables })
}

/// Where the running projection is.
async fn standing<P: Projection>(live: &mut PgConnection) -> Result<Cursor, RebuildError> {
    let stored = read_checkpoint(live, P::NAME).await?.map(|stored| stored.cursor);
    stored.filter(|at| at.epoch > 0).ok_or(RebuildError::NotBegun)
}

/// Finds what differs between a table and its shadow.
async fn compare_table<P: Projection>(
    live: &mut PgConnection,
    shadow: &mut Shadow<'_, P>,
    table: &Table,
    purpose: Purpose,
) -> Result<TableDifferences, RebuildError> {
    let mut found = TableDifferences::of(table.name());
    loop {
        // Whatever came while the log was folded would differ.
        shadow.fold_through(standing::<P>(live).await?).await?;
        shadow.compares(table.name(), found.rows());
        let differing = table.differing(live, DIFFERING_MAX).await?;
        shadow.check().await?;
        for keys in differing.chunks(REPAIR_MAX) {
            compare_few(live, shadow, table, (keys, purpose), &mut found).await?;
            shadow.compares(table.name(), found.rows());
        }
        if differing.len() < DIFFERING_MAX {
            return Ok(found);
        }
        // What is left as it is would be found again and again.
        if purpose == Purpose::Tell {
            found.is_partial = true;
            return Ok(found);
        }
    }
}

/// Looks at few rows again under the projection's lock, and replaces what is wrong where that is the purpose.
async fn compare_few<P: Projection>(
    live: &mut PgConnection,
    shadow: &mut Shadow<'_, P>,
    table: &Table,
    (keys, purpose): (&[String], Purpose),
    found: &mut TableDifferences,
) -> Result<(), RebuildError> {
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
            let differences = table.judge(&mut tx, keys).await?;
            if purpose == Purpose::Repair && !differences.is_empty() {
                table.repair(&mut tx, keys).await?;
            }
            tx.commit().await?;
            found.add(differences);
            return Ok(());
        }
        tx.rollback().await?;
    }
}
