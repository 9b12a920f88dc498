//! Reading the log in order: `position > after order by position` is enough, because position order is commit order.

use crate::{LoadError, load::unsigned};
use futures_util::{TryStreamExt as _, stream::BoxStream};
use kisum_events::{Class, CompanyId, Envelope, EventId, Log, Position, StreamName, Timestamp};
use serde_json::value::RawValue;
use sqlx::PgConnection;
use uuid::Uuid;

struct Row {
    position: i64,
    epoch: i32,
    previous_access_position: i64,
    id: Uuid,
    stream: String,
    version: i64,
    event_type: String,
    schema: i16,
    company_id: Option<Uuid>,
    effect: String,
    recorded_at: i64,
    data: String,
    meta: String,
}

/// Reads up to `limit` events behind `after`, in position order, of one class or all.
///
/// # Errors
/// [`LoadError`] when the database fails or a row is not what the log writes.
pub async fn read(
    conn: &mut PgConnection,
    log: Log,
    after: Position,
    limit: i64,
    class: Option<Class>,
) -> Result<Vec<Envelope>, LoadError> {
    read_through(conn, log, (after, Position::MAX), limit, class).await
}

/// Reads as [`read`], behind the first position of `between` and up to the second.
pub(crate) async fn read_through(
    conn: &mut PgConnection,
    log: Log,
    between: (Position, Position),
    limit: i64,
    class: Option<Class>,
) -> Result<Vec<Envelope>, LoadError> {
    let (after, through) = (stored(between.0), stored(between.1));
    let mut rows: BoxStream<'_, Result<Row, sqlx::Error>> = match class {
        None => sqlx::query_as!(
            Row,
            r#"select position, epoch, previous_access_position, id, stream, version, type as event_type, schema,
                          company_id, effect, recorded_at, data, meta
                   from event where position > $1 and position <= $2 order by position limit $3"#,
            after,
            through,
            limit
        )
        .fetch(conn),
        Some(Class::Access) => sqlx::query_as!(
            Row,
            r#"select position, epoch, previous_access_position, id, stream, version, type as event_type, schema,
                          company_id, effect, recorded_at, data, meta
                   from event where position > $1 and position <= $2 and effect <> 'none' order by position limit $3"#,
            after,
            through,
            limit
        )
        .fetch(conn),
        Some(Class::Info) => sqlx::query_as!(
            Row,
            r#"select position, epoch, previous_access_position, id, stream, version, type as event_type, schema,
                          company_id, effect, recorded_at, data, meta
                   from event where position > $1 and position <= $2 and effect = 'none' order by position limit $3"#,
            after,
            through,
            limit
        )
        .fetch(conn),
    };
    // Row by row, as they come: what was just received is still in the processor's cache.
    let mut events = Vec::with_capacity(usize::try_from(limit.clamp(0, 1024)).unwrap_or(0));
    while let Some(row) = rows.try_next().await? {
        events.push(envelope(log, row)?);
    }
    Ok(events)
}

/// Reads the events at some positions, in position order; a position without an event is left out.
///
/// # Errors
/// As [`read`].
pub async fn read_at(conn: &mut PgConnection, log: Log, positions: &[i64]) -> Result<Vec<Envelope>, LoadError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select position, epoch, previous_access_position, id, stream, version, type as event_type, schema,
                  company_id, effect, recorded_at, data, meta
           from event where position = any($1) order by position"#,
        positions
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| envelope(log, row)).collect()
}

/// A position as stored: logs end long before `bigint` does.
fn stored(position: Position) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

fn envelope(log: Log, row: Row) -> Result<Envelope, LoadError> {
    let position = unsigned(row.position);
    let unreadable = |why: String| LoadError::Stored { what: format!("event {position}"), why };
    Ok(Envelope {
        id: EventId::new(row.id),
        log,
        epoch: u32::try_from(row.epoch).unwrap_or(0),
        position,
        previous_access_position: unsigned(row.previous_access_position),
        stream: StreamName::from_stored(row.stream),
        version: unsigned(row.version),
        event_type: row.event_type,
        schema: u16::try_from(row.schema).unwrap_or(u16::MAX),
        company_id: row.company_id.map(CompanyId::new),
        effect: row.effect.parse().map_err(unreadable)?,
        recorded_at: Timestamp::from_micros(row.recorded_at),
        data: RawValue::from_string(row.data).map_err(|error| unreadable(error.to_string()))?,
        meta: serde_json::from_str(&row.meta).map_err(|error| unreadable(error.to_string()))?,
    })
}
