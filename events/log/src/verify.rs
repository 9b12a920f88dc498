//! Verifying a log against itself: contiguity, every event's hash, the predecessors, the versions of streams, the chain
//! of batches, and that streams stand where their last events do.
//!
//! Whoever owns the database could compute everything anew; signed checkpoints outside it are for that.

use crate::{LoadError, load::unsigned, read_head};
use kisum_events::Position;
use sqlx::{Connection as _, PgConnection};

/// Positions checked at once: long enough to be fast, short enough to show progress.
const CHUNK: i64 = 50_000;

/// The first thing that is not as the log wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("position {position}: {what}")]
pub struct Difference {
    /// Where.
    pub position: Position,
    /// What.
    pub what: String,
}

/// What a log without a difference holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Events.
    pub events: u64,
    /// Batches.
    pub batches: u64,
}

/// Why verifying came to no verdict, or to a bad one.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The log is not what was written.
    #[error(transparent)]
    Different(#[from] Difference),
    /// The log cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl From<sqlx::Error> for VerifyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Load(error.into())
    }
}

/// Verifies the whole log as it stands now; `progress` hears of each position up to which all is well.
///
/// # Errors
/// [`VerifyError::Different`] with the first position that differs.
pub async fn verify(conn: &mut PgConnection, mut progress: impl FnMut(Position)) -> Result<Verified, VerifyError> {
    let head = read_head(&mut *conn).await?;
    let end = i64::try_from(head.position).unwrap_or(i64::MAX);
    let mut from = 0_i64;
    while from < end {
        let to = from.saturating_add(CHUNK).min(end);
        if let Err(error) = apart(&mut *conn, from, to).await {
            return Err(if is_damage(&error) { unreadable(conn, from, to).await } else { error });
        }
        progress(unsigned(to));
        from = to;
    }
    beyond(&mut *conn, end).await?;
    let batches = batches(&mut *conn, end).await?;
    streams(conn, end).await?;
    Ok(Verified { events: head.position, batches })
}

/// Looks at `(from, to]` so that a failure spoils no transaction that the caller may be in.
async fn apart(conn: &mut PgConnection, from: i64, to: i64) -> Result<(), VerifyError> {
    let mut tx = conn.begin().await?;
    let outcome = events(&mut tx, from, to).await;
    tx.rollback().await?;
    outcome
}

/// Whether the server says that a stored value is none of its type: a flipped byte can do that, too (PostgreSQL,
/// appendix A: data exception, internal error).
fn is_damage(error: &VerifyError) -> bool {
    let VerifyError::Load(LoadError::Database(error)) = error else { return false };
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code.starts_with("22") || code.starts_with("XX"))
}

/// Finds the first event within `(from, to]` that the server cannot read, by halves.
async fn unreadable(conn: &mut PgConnection, from: i64, to: i64) -> VerifyError {
    let (mut well, mut bad) = (from, to);
    while bad.saturating_sub(well) > 1 {
        let middle = well.saturating_add(bad.saturating_sub(well) / 2);
        match apart(&mut *conn, well, middle).await {
            Ok(()) => well = middle,
            Err(error) if is_damage(&error) => bad = middle,
            Err(error) => return error,
        }
    }
    Difference { position: unsigned(bad), what: "it cannot be read".to_owned() }.into()
}

/// Contiguity, hashes and predecessors within `(from, to]`.
async fn events(conn: &mut PgConnection, from: i64, to: i64) -> Result<(), VerifyError> {
    let row = sqlx::query!(
        r#"with chunk as (
               select e.*, event_hash(position, epoch, previous_access_position, id, stream, version, type, schema,
                          company_id, effect, recorded_at, data, sealed, person, meta) as expected,
                      lag(position, 1, $1) over w as before,
                      lag(recorded_at) over w as recorded_before,
                      max(position) filter (where effect <> 'none')
                          over (order by position rows between unbounded preceding and 1 preceding) as access_before
               from event e where position > $1 and position <= $2
               window w as (order by position)),
           earlier as (
               select coalesce((select e.position from event e where e.position <= $1 and e.effect <> 'none'
                                order by e.position desc limit 1), 0) as access_position)
           select position as "position!",
                  case when position <> before + 1 then 'the event before it is missing'
                       when hash <> expected then 'it is not what was hashed'
                       when recorded_at < recorded_before then 'it is older than the event before it'
                       else 'it names another access event before it than there is' end as "what!"
           from chunk, earlier
           where position <> before + 1 or hash <> expected or recorded_at < recorded_before
              or previous_access_position <> coalesce(access_before, earlier.access_position)
           order by position limit 1"#,
        from,
        to
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(row) = row {
        return Err(Difference { position: unsigned(row.position), what: row.what }.into());
    }
    let last = sqlx::query_scalar!("select max(position) from event where position > $1 and position <= $2", from, to)
        .fetch_one(conn)
        .await?
        .unwrap_or(from);
    if last != to {
        let what = "the event is missing".to_owned();
        return Err(Difference { position: unsigned(last.saturating_add(1)), what }.into());
    }
    Ok(())
}

/// Nothing may stand behind the head.
async fn beyond(conn: &mut PgConnection, end: i64) -> Result<(), VerifyError> {
    let stray = sqlx::query_scalar!(
        "select min(e.position) from event e where e.position > (select max(last_position) from log_batch) or
             (e.position > $1 and not exists (select from log_batch))",
        end
    )
    .fetch_one(conn)
    .await?;
    match stray {
        Some(position) => {
            Err(Difference { position: unsigned(position), what: "it stands behind the head".to_owned() }.into())
        }
        None => Ok(()),
    }
}

/// The chain of batches, and that they cover the log without gap or overlap.
async fn batches(conn: &mut PgConnection, end: i64) -> Result<u64, VerifyError> {
    let row = sqlx::query!(
        r#"with chain as (
               select b.*, lag(last_position, 1, 0::bigint) over w as before, lag(hash, 1, ''::bytea) over w as hash_before
               from log_batch b where last_position <= $1 window w as (order by last_position)),
           checked as (
               select c.*, batch_hash(c.hash_before, c.first_position, c.last_position, c.epoch, c.recorded_at,
                       (select string_agg(e.hash, ''::bytea order by e.position) from event e
                        where e.position between c.first_position and c.last_position)) as expected,
                      coalesce((select e.position from event e where e.position <= c.last_position
                                and e.effect <> 'none' order by e.position desc limit 1), 0) as expected_access
               from chain c)
           select first_position as "position!",
                  case when first_position <> before + 1 then 'its batch does not follow the one before'
                       when previous_hash <> hash_before then 'its batch is not chained to the one before'
                       when access_position <> expected_access then 'its batch names another last access event'
                       else 'its batch is not what was hashed' end as "what!"
           from checked
           where first_position <> before + 1 or previous_hash <> hash_before or hash <> expected
              or access_position <> expected_access
           order by first_position limit 1"#,
        end
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(row) = row {
        return Err(Difference { position: unsigned(row.position), what: row.what }.into());
    }
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from log_batch where last_position <= $1"#, end)
        .fetch_one(conn)
        .await?;
    Ok(unsigned(count))
}

/// Versions count 1, 2, 3, … in each stream, and the stream's row stands at its last event.
async fn streams(conn: &mut PgConnection, end: i64) -> Result<(), VerifyError> {
    let row = sqlx::query!(
        r#"with counted as (
               select position, stream, version, previous_in_stream,
                      row_number() over (partition by stream order by position) as expected,
                      lag(position, 1, 0::bigint) over (partition by stream order by position) as expected_previous
               from event where position <= $1),
           last as (
               select stream, max(version) as version, max(position) as position from counted group by stream)
           select position as "position!", what as "what!" from (
               select position, 'it has version ' || version || ' in its stream, not ' || expected as what
               from counted where version <> expected
               union all
               select position, 'it names position ' || previous_in_stream || ' as the one before it in its stream, not '
                                || expected_previous
               from counted where previous_in_stream <> expected_previous
               union all
               select coalesce(l.position, s.position),
                      'the state of its stream does not stand at its last event'
               from last l full join (select * from stream where position <= $1) s on s.name = l.stream
               where (s.version, s.position) is distinct from (l.version, l.position)
                 and not exists (select from event e where e.stream = l.stream and e.position > $1)) differences
           order by position limit 1"#,
        end
    )
    .fetch_optional(conn)
    .await?;
    match row {
        Some(row) => Err(Difference { position: unsigned(row.position), what: row.what }.into()),
        None => Ok(()),
    }
}
