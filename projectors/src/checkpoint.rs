//! The row that says how far a projection has folded its log.

use kisum_events::{Cursor, Position, Timestamp};
use sqlx::PgConnection;

/// How far a projection is, as its database says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Everything up to here is applied.
    pub cursor: Cursor,
    /// When the checkpoint last moved, by the database's clock.
    pub updated_at: Timestamp,
    /// Whether the epoch's log is not folded to its end yet: what is not in the rows may well exist.
    pub starting_over: bool,
    /// The event that stopped the projection, where one did.
    pub poison: Option<Poison>,
}

/// An event that could not be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poison {
    /// Where it stands.
    pub position: Position,
    /// Why, with the whole chain of causes.
    pub error: String,
}

/// Reads a projection's checkpoint, in the caller's snapshot: rows read in the same snapshot are the fold of exactly
/// the events up to it. `None` before it first ran.
///
/// # Errors
/// Whatever the database says.
pub async fn read_checkpoint(conn: &mut PgConnection, name: &str) -> Result<Option<Checkpoint>, sqlx::Error> {
    let row = sqlx::query!(
        "select epoch, position, updated_at, starting_over, poison_position, poison_error
         from projection_checkpoint where name = $1",
        name
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Checkpoint {
        cursor: cursor(row.epoch, row.position),
        updated_at: Timestamp::from_micros(row.updated_at),
        starting_over: row.starting_over,
        poison: row
            .poison_position
            .zip(row.poison_error)
            .map(|(position, error)| Poison { position: from_stored(position), error }),
    }))
}

/// Locks a projection's checkpoint until the transaction ends, making it where it does not exist. Answers where it
/// stands and the time, by the database's clock.
pub(crate) async fn lock(conn: &mut PgConnection, name: &str) -> Result<(Cursor, Timestamp), sqlx::Error> {
    loop {
        let row = sqlx::query!(
            r#"select epoch, position, (extract(epoch from clock_timestamp()) * 1000000)::bigint as "now!"
               from projection_checkpoint where name = $1 for update"#,
            name
        )
        .fetch_optional(&mut *conn)
        .await?;
        if let Some(row) = row {
            return Ok((cursor(row.epoch, row.position), Timestamp::from_micros(row.now)));
        }
        sqlx::query!(
            "insert into projection_checkpoint (name, epoch, position, updated_at) values ($1, 0, 0, 0)
             on conflict (name) do nothing",
            name
        )
        .execute(&mut *conn)
        .await?;
    }
}

/// Moves a locked checkpoint. Moving on proves that whatever stopped the projection before is overcome; another epoch
/// has to be folded to its end before its rows say what does not exist.
pub(crate) async fn advance(
    conn: &mut PgConnection,
    name: &str,
    to: Cursor,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update projection_checkpoint
         set epoch = $2, position = $3, updated_at = $4, starting_over = starting_over or epoch <> $2,
             poison_position = null, poison_error = null
         where name = $1",
        name,
        to_stored_epoch(to.epoch),
        to_stored(to.position),
        now.micros()
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Says that everything is applied that an epoch's log held when its end was seen.
pub(crate) async fn record_whole(conn: &mut PgConnection, name: &str, epoch: u32) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update projection_checkpoint set starting_over = false where name = $1 and epoch = $2 and starting_over",
        name,
        to_stored_epoch(epoch)
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Writes down which event stopped a projection, unless another process has got past it.
pub(crate) async fn record_poison(conn: &mut PgConnection, name: &str, poison: &Poison) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update projection_checkpoint set poison_position = $2, poison_error = $3 where name = $1 and position < $2",
        name,
        to_stored(poison.position),
        // PostgreSQL text holds no NUL, and a malformed event may well be full of them.
        poison.error.replace('\0', "\u{fffd}")
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn cursor(epoch: i32, position: i64) -> Cursor {
    Cursor { epoch: u32::try_from(epoch).unwrap_or(0), position: from_stored(position) }
}

/// A stored position; the table's checks keep it from being negative.
fn from_stored(position: i64) -> Position {
    Position::try_from(position).unwrap_or(0)
}

/// A position as stored: logs end long before `bigint` does.
pub(crate) fn to_stored(position: Position) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

/// An epoch as stored.
pub(crate) fn to_stored_epoch(epoch: u32) -> i32 {
    i32::try_from(epoch).unwrap_or(i32::MAX)
}
