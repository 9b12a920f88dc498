//! Epochs: one unbroken history of a log each, and the beginning of a new one on a restored or promoted database.
//!
//! It owns what identifies a history, and the one transaction that begins another. Only the database's owner may: what
//! run-time roles may do is append. What becomes of the streams that carried the histories before is `streams`'.

mod streams;

pub(crate) use streams::failed;
pub use streams::{LogStream, LogStreams, Published, StreamsError, UnknownEvent};

use crate::{
    AppendError, Loaded, Receipt,
    append::Append,
    arrays::{Arrays, Prepared},
    load::unsigned,
};
use kisum_events::{Actor, Aggregate, Log, LogEvent, Meta, Position, RequestId, StreamName, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection};
use std::fmt;

/// What only one database on one timeline has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogIdentity {
    /// Of the cluster, drawn by initdb.
    pub system: i64,
    /// Of its write-ahead log, as in its files' names; `standby` where the server is one.
    pub timeline: String,
    /// Of the database within the cluster.
    pub database: i64,
}

impl fmt::Display for LogIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "system {}, timeline {}, database {}", self.system, self.timeline, self.database)
    }
}

/// The newest epoch of a log beside the database that it is found in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochStanding {
    /// The newest epoch's number, from 1.
    pub number: u32,
    /// When it was started.
    pub started_at: Timestamp,
    /// Why.
    pub reason: String,
    /// The database that it was started on.
    pub recorded: LogIdentity,
    /// This database.
    pub found: LogIdentity,
    /// Where the log ends; nothing vouches for it unless the epoch is this database's.
    pub head: Position,
    /// Whether the server is a standby, which can begin nothing.
    pub is_standby: bool,
    /// Whether the role that asks may begin an epoch.
    pub may_begin: bool,
}

impl EpochStanding {
    /// Whether the epoch was started on this very database. While it was not, nothing is appended, proven or relayed.
    pub fn is_here(&self) -> bool {
        self.recorded == self.found
    }

    /// Reads it. Unlike every other read of the log this one is not refused on another history.
    ///
    /// # Errors
    /// [`EpochError::Database`].
    pub async fn read(conn: &mut PgConnection) -> Result<Self, EpochError> {
        let row = sqlx::query!(
            r#"select e.number, e.started_at, e.reason, e.system_identifier, e.timeline,
                      e.database_oid::bigint as "database_oid!", i.system_identifier as "system_here!",
                      i.timeline as "timeline_here!", i.database_oid::bigint as "database_here!",
                      coalesce((select last_position from log_batch order by last_position desc limit 1), 0) as "head!",
                      pg_is_in_recovery() as "is_standby!", has_table_privilege('log_epoch', 'insert') as "may_begin!"
               from log_epoch e, log_identity() i order by e.number desc limit 1"#
        )
        .fetch_one(conn)
        .await?;
        Ok(Self {
            number: u32::try_from(row.number).unwrap_or(0),
            started_at: Timestamp::from_micros(row.started_at),
            reason: row.reason,
            recorded: LogIdentity { system: row.system_identifier, timeline: row.timeline, database: row.database_oid },
            found: LogIdentity { system: row.system_here, timeline: row.timeline_here, database: row.database_here },
            head: unsigned(row.head),
            is_standby: row.is_standby,
            may_begin: row.may_begin,
        })
    }
}

/// Why an epoch could not be looked at or begun. Nothing was changed, except after [`EpochError::Database`], where it
/// may have been: look again.
#[derive(Debug, thiserror::Error)]
pub enum EpochError {
    /// A standby can begin nothing.
    #[error("this server is a standby: promote it first, or name the primary")]
    Standby,
    /// Only the owner of the database may.
    #[error("this role may not begin an epoch: only the owner of the database may")]
    NotOwner,
    /// The function that begins epochs is missing.
    #[error("this database does not know how to begin an epoch yet: run `kisum migrate` on it first")]
    NotMigrated,
    /// Something holds the log's lock.
    #[error("something holds the log's lock: nothing was changed; look for long transactions and try again")]
    Busy,
    /// The event of the new epoch was refused, so there is no new epoch.
    #[error("the event of the new epoch was refused")]
    Refused(#[from] AppendError),
    /// The database failed or cannot be reached.
    #[error("the log's database failed")]
    Database(#[source] sqlx::Error),
}

impl From<sqlx::Error> for EpochError {
    fn from(error: sqlx::Error) -> Self {
        // PostgreSQL, appendix A: read-only transaction, insufficient privilege, undefined function, lock not had.
        match error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() {
            Some("25006") => Self::Standby,
            Some("42501") => Self::NotOwner,
            Some("42883") => Self::NotMigrated,
            Some("55P03") => Self::Busy,
            _ => Self::Database(error),
        }
    }
}

/// What came of the wish to begin an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochBegun {
    /// It has begun; the receipt is that of its event.
    Begun(Receipt),
    /// Somebody else had begun this one meanwhile; nothing was changed.
    Overtaken(u32),
}

/// The log as an aggregate: the stream `log` of every log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct LogState {
    epoch: u32,
}

impl Aggregate for LogState {
    type Event = LogEvent;
    const STATE_SCHEMA: u16 = 1;
    fn evolve(&mut self, event: &LogEvent, _version: u64) {
        match event {
            LogEvent::EpochStarted { epoch, .. } => self.epoch = *epoch,
        }
    }
}

/// Begins the epoch after `seen`, the newest one that the caller saw, with a number above `above`: the epoch's row and
/// its event `log.epoch_started`, in one transaction under the log's lock.
///
/// # Errors
/// [`EpochError`].
pub async fn begin_epoch(
    conn: &mut PgConnection,
    log: Log,
    (seen, above): (u32, u32),
    reason: &str,
) -> Result<EpochBegun, EpochError> {
    let stored = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let mut tx = conn.begin().await?;
    let row = sqlx::query!(
        r#"select number as "number!", begun as "begun!" from log_epoch_start($1, $2, $3)"#,
        stored(seen),
        stored(above),
        reason
    )
    .fetch_one(&mut *tx)
    .await?;
    let epoch = u32::try_from(row.number).unwrap_or(0);
    if !row.begun {
        tx.rollback().await?;
        return Ok(EpochBegun::Overtaken(epoch));
    }
    let receipt = append_event(&mut tx, log, epoch, reason).await?;
    tx.commit().await?;
    Ok(EpochBegun::Begun(receipt))
}

/// The epoch's event, by the same call as every other append.
async fn append_event(tx: &mut PgConnection, log: Log, epoch: u32, reason: &str) -> Result<Receipt, EpochError> {
    let stream = StreamName::log();
    let row = sqlx::query!("select version, position from stream where name = $1", stream.as_str())
        .fetch_optional(&mut *tx)
        .await?;
    let (version, position) = row.map_or((0, 0), |row| (unsigned(row.version), unsigned(row.position)));
    // Every event of this stream replaces its whole state, so none needs to be read to fold the next.
    let loaded = Loaded { stream, version, position, state: LogState::default() };
    let request_id = RequestId::derived(log, &format!("epoch:{epoch}"));
    let meta = Meta::new(Actor::System, request_id);
    let meta_text = serde_json::to_string(&meta).map_err(|error| AppendError::Refused(error.to_string()))?;
    let mut append = Append::new(request_id, meta);
    append.write(&loaded, vec![LogEvent::EpochStarted { epoch, reason: reason.to_owned() }])?;
    append.check()?;
    let prepared = Prepared { append, meta: meta_text, sealed_events: vec![None], sealed_states: vec![None] };
    let verdicts = Arrays::new([&prepared]).call(tx).await?;
    Ok(verdicts.read(log, 0, &prepared.append)?)
}
