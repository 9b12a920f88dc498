//! The head of a log.

use crate::{LoadError, load::unsigned};
use kisum_events::Position;
use sqlx::PgConnection;

/// Where a log ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogHead {
    /// The current epoch.
    pub epoch: u32,
    /// Position of the last event, 0 when there is none.
    pub position: Position,
    /// Position of the last access event, 0 when there is none.
    pub access_position: Position,
}

/// Reads the head, refusing while the database is not the one that the epoch was started on.
///
/// # Errors
/// [`LoadError::Epoch`] then; [`LoadError::Database`] when the database fails.
pub async fn read_head(conn: &mut PgConnection) -> Result<LogHead, LoadError> {
    let row = sqlx::query!(
        r#"select log_epoch_check() as "epoch!", coalesce(b.last_position, 0) as "position!",
                  coalesce(b.access_position, 0) as "access_position!"
           from (select 1) one
           left join lateral (select last_position, access_position from log_batch order by last_position desc limit 1) b
                on true"#
    )
    .fetch_one(conn)
    .await?;
    Ok(LogHead {
        epoch: u32::try_from(row.epoch).unwrap_or(0),
        position: unsigned(row.position),
        access_position: unsigned(row.access_position),
    })
}

/// Reads the head and proves that this primary can still commit, so that one that was cut off proves nothing.
///
/// # Errors
/// As [`read_head`].
pub async fn read_head_with_barrier(conn: &mut PgConnection) -> Result<LogHead, LoadError> {
    let head = read_head(&mut *conn).await?;
    sqlx::query!(r#"select log_head_barrier()::text as "done""#).fetch_one(conn).await?;
    Ok(head)
}
