//! Loading streams: one row each, whatever their age.

use crate::{ClaimKey, LoadError, Sealer, reads::Group, seal::Place};
use kisum_events::{Aggregate, Log, Position, StreamName, UserId, decode_as};
use serde_json::{Map, Value};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// A stream as it was loaded: what a decision is made on.
#[derive(Clone, Debug)]
pub struct Loaded<A> {
    /// Its name.
    pub stream: StreamName,
    /// Its version, 0 when it has no events.
    pub version: u64,
    /// Position of its last event, 0 when it has none.
    pub position: Position,
    /// The fold of its events.
    pub state: A,
}

impl<A: Default> Loaded<A> {
    /// A stream that has no events yet, known to be new because its id was just drawn.
    pub fn new_stream(stream: StreamName) -> Self {
        Self { stream, version: 0, position: 0, state: A::default() }
    }
}

/// Reads bytes that the log wrote as unsigned.
pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A stream's row, with the key that opens what is sealed of it.
pub(crate) struct Row {
    name: String,
    version: i64,
    position: i64,
    schema: i16,
    state: String,
    sealed_state: Option<Vec<u8>>,
    person: Option<Uuid>,
    key_id: Option<Uuid>,
    wrapped: Option<Vec<u8>>,
    wrapped_by: Option<String>,
}

/// What is looked up in one statement together with whatever else is wanted at that moment.
pub(crate) enum Wanted {
    /// A stream.
    Stream(StreamName),
    /// Who holds a unique value.
    Holder(ClaimKey),
}

/// What was found.
pub(crate) struct Found {
    /// Where a stream was wanted and has events.
    pub(crate) stream: Option<Row>,
    /// Where a holder was wanted and there is one.
    pub(crate) holder: Option<StreamName>,
}

/// Streams and claims.
pub(crate) struct Streams;

impl Group for Streams {
    type Question = Wanted;
    type Answer = Found;

    async fn read(&self, conn: &mut PgConnection, wanted: &[&Wanted]) -> Result<Vec<Found>, LoadError> {
        let names: Vec<Option<&str>> = wanted
            .iter()
            .map(|one| match one {
                Wanted::Stream(name) => Some(name.as_str()),
                Wanted::Holder(_) => None,
            })
            .collect();
        let claims: Vec<Option<&str>> = wanted
            .iter()
            .map(|one| match one {
                Wanted::Stream(_) => None,
                Wanted::Holder(key) => Some(key.as_str()),
            })
            .collect();
        let rows = sqlx::query!(
            r#"select c.holder as "holder?", s.name as "name?", s.version as "version?", s.position as "position?",
                      s.schema as "schema?", s.state as "state?", s.sealed_state as "sealed_state?",
                      s.person as "person?", k.key_id as "key_id?", k.wrapped as "wrapped?",
                      k.wrapped_by as "wrapped_by?"
               from unnest($1::text[], $2::text[]) with ordinality as a(name, claim, n)
               left join claim c on c.key = a.claim
               left join stream s on s.name = a.name
               left join person_key k on k.person = s.person
               order by a.n"#,
            &names as &[Option<&str>],
            &claims as &[Option<&str>],
        )
        .fetch_all(conn)
        .await?;
        let found = rows.into_iter().map(|row| Found {
            holder: row.holder.map(StreamName::from_stored),
            stream: row.name.map(|name| Row {
                name,
                version: row.version.unwrap_or(0),
                position: row.position.unwrap_or(0),
                schema: row.schema.unwrap_or(0),
                state: row.state.unwrap_or_default(),
                sealed_state: row.sealed_state,
                person: row.person,
                key_id: row.key_id,
                wrapped: row.wrapped,
                wrapped_by: row.wrapped_by,
            }),
        });
        Ok(found.collect())
    }
}

/// Loads the streams among these that have events, in one statement and in no order.
pub(crate) async fn load_all<A: Aggregate>(
    pool: &PgPool,
    log: Log,
    sealer: &Sealer,
    streams: &[String],
) -> Result<Vec<Loaded<A>>, LoadError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select s.name as "name!", s.version as "version!", s.position as "position!", s.schema as "schema!",
                  s.state as "state!", s.sealed_state, s.person,
                  k.key_id as "key_id?", k.wrapped as "wrapped?", k.wrapped_by as "wrapped_by?"
           from stream s left join person_key k on k.person = s.person where s.name = any($1)"#,
        streams
    )
    .fetch_all(pool)
    .await?;
    let mut loaded = Vec::with_capacity(rows.len());
    for row in rows {
        loaded.push(open(pool, log, sealer, row).await?);
    }
    Ok(loaded)
}

/// Reads a row, unsealing what is sealed; one of another schema is folded anew.
pub(crate) async fn open<A: Aggregate>(
    pool: &PgPool,
    log: Log,
    sealer: &Sealer,
    row: Row,
) -> Result<Loaded<A>, LoadError> {
    let (version, position) = (unsigned(row.version), unsigned(row.position));
    let stream = StreamName::from_stored(row.name);
    if row.schema != i16::try_from(A::STATE_SCHEMA).unwrap_or(i16::MAX) {
        let mut conn = pool.acquire().await?;
        let state = refold::<A>(&mut conn, log, sealer, &stream, version).await?;
        return Ok(Loaded { stream, version, position, state });
    }
    let what = || format!("the state of {stream}");
    let mut fields: Map<String, Value> =
        serde_json::from_str(&row.state).map_err(|error| LoadError::Stored { what: what(), why: error.to_string() })?;
    if let (Some(sealed), Some(person)) = (&row.sealed_state, row.person)
        && let (Some(key_id), Some(wrapped), Some(by)) = (row.key_id, &row.wrapped, &row.wrapped_by)
    {
        let person = UserId::new(person);
        let opened = sealer
            .unwrap(person, key_id, by, wrapped)
            .and_then(|key| sealer.open(&key, (log, person), &Place::State(&stream, version), sealed))
            .map_err(|source| LoadError::Seal { what: what(), source })?;
        fields.extend(opened);
    }
    let state = serde_json::from_value(Value::Object(fields))
        .map_err(|error| LoadError::Stored { what: what(), why: error.to_string() })?;
    Ok(Loaded { stream, version, position, state })
}

/// Folds a stream from its events: for a state that another version of this program wrote.
pub(crate) async fn refold<A: Aggregate>(
    conn: &mut PgConnection,
    log: Log,
    sealer: &Sealer,
    stream: &StreamName,
    version_max: u64,
) -> Result<A, LoadError> {
    let rows = sqlx::query!(
        r#"with recursive back as (
               select e.position, e.previous_in_stream
               from stream s join event e on e.position = s.position where s.name = $1
               union all
               select e.position, e.previous_in_stream from back b join event e on e.position = b.previous_in_stream)
           select e.position, e.id, e.version, e.type as event_type, e.schema, e.data, e.sealed, e.person,
                  k.key_id as "key_id?", k.wrapped as "wrapped?", k.wrapped_by as "wrapped_by?"
           from back b join event e on e.position = b.position left join person_key k on k.person = e.person
           where e.version <= $2 order by e.version"#,
        stream.as_str(),
        i64::try_from(version_max).unwrap_or(i64::MAX)
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut state = A::default();
    for row in rows {
        let position = unsigned(row.position);
        let mut unsealed = None;
        if let (Some(sealed), Some(person)) = (&row.sealed, row.person)
            && let (Some(key_id), Some(wrapped), Some(by)) = (row.key_id, &row.wrapped, &row.wrapped_by)
        {
            let person = UserId::new(person);
            let place = Place::Event(kisum_events::EventId::new(row.id));
            let opened = sealer
                .unwrap(person, key_id, by, wrapped)
                .and_then(|key| sealer.open(&key, (log, person), &place, sealed))
                .map_err(|source| LoadError::Seal { what: format!("event {position}"), source })?;
            unsealed = Some(opened);
        }
        let schema = u16::try_from(row.schema).unwrap_or(u16::MAX);
        let event: A::Event = decode_as(position, &row.event_type, schema, &row.data, unsealed.as_ref())?;
        state.evolve(&event, unsigned(row.version));
    }
    Ok(state)
}
