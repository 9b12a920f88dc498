//! Where the events of a company, of a person and of an actor stand in a log: an index beside the log, in the log's
//! own database, so that an append need not maintain it.
//!
//! It owns whom an event concerns, and keeping and searching the index by it. Whoever searches gets the right answer
//! however far the index lags, since what lies behind it is scanned ([`EventSearch`]).

mod search;
mod subject;

pub use search::EventSearch;
pub use subject::EventKey;

use crate::{ApplyError, Batch, Projection, Recorded, checkpoint};
use kisum_events::{Log, UserId};
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};
use subject::{inherits, persons_named};

/// One projection for each log: the same tables, each in its log's database.
macro_rules! event_index {
    ($(#[$doc:meta])* $name:ident, $log:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl Projection for $name {
            const NAME: &'static str = NAME;
            const LOG: Log = $log;
            const TABLES: &'static [&'static str] = &["event_index_v1", "event_index_stream_v1"];

            async fn apply(conn: &mut PgConnection, batch: &Batch<'_>) -> Result<(), ApplyError> {
                Ok(index(conn, batch.events).await?)
            }

            async fn clear(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
                sqlx::query!("delete from event_index_v1").execute(&mut *conn).await?;
                sqlx::query!("delete from event_index_stream_v1").execute(conn).await.map(drop)
            }
        }
    };
}

/// Its name in each database's `projection_checkpoint`.
const NAME: &str = "event_index_v1";

event_index!(
    /// `event_index_v1` of the auth log.
    AuthEventIndex,
    Log::Auth
);
event_index!(
    /// `event_index_v1` of the core log.
    CoreEventIndex,
    Log::Core
);

/// Writes what a batch adds, in one statement a table.
async fn index(conn: &mut PgConnection, events: &[Recorded<'_>]) -> Result<(), sqlx::Error> {
    let mut owners = owners_before(&mut *conn, events).await?;
    let (mut kinds, mut keys, mut positions) = (Vec::new(), Vec::new(), Vec::new());
    let (mut streams, mut people) = (Vec::new(), Vec::new());
    for Recorded { envelope, event } in events {
        let mut persons: BTreeSet<UserId> = persons_named(&envelope.stream, event).collect();
        if inherits(&envelope.stream) {
            let known = owners.entry(envelope.stream.as_str()).or_default();
            for person in persons.difference(known) {
                streams.push(envelope.stream.as_str().to_owned());
                people.push(person.uuid());
            }
            known.append(&mut persons);
            persons.clone_from(known);
        }
        let persons = persons.into_iter().map(EventKey::Person);
        let company = envelope.company_id.map(EventKey::Company);
        for key in persons.chain(company).chain([EventKey::Actor(envelope.meta.actor.clone())]) {
            kinds.push(key.kind().to_owned());
            keys.push(key.text());
            positions.push(checkpoint::to_stored(envelope.position));
        }
    }
    sqlx::query!(
        "insert into event_index_v1 (kind, key, position)
         select kind, key, position from unnest($1::text[], $2::text[], $3::bigint[]) as found (kind, key, position)
         on conflict do nothing",
        &kinds,
        &keys,
        &positions
    )
    .execute(&mut *conn)
    .await?;
    if !streams.is_empty() {
        sqlx::query!(
            "insert into event_index_stream_v1 (stream, person)
             select stream, person from unnest($1::text[], $2::uuid[]) as found (stream, person)
             on conflict do nothing",
            &streams,
            &people
        )
        .execute(conn)
        .await?;
    }
    Ok(())
}

/// Whom the batch's streams belonged to before it.
async fn owners_before<'a>(
    conn: &mut PgConnection,
    events: &[Recorded<'a>],
) -> Result<BTreeMap<&'a str, BTreeSet<UserId>>, sqlx::Error> {
    let streams = events.iter().map(|recorded| &recorded.envelope.stream).filter(|stream| inherits(stream));
    let mut owners: BTreeMap<&str, BTreeSet<UserId>> =
        streams.map(|stream| (stream.as_str(), BTreeSet::new())).collect();
    if owners.is_empty() {
        return Ok(owners);
    }
    let names: Vec<String> = owners.keys().map(|name| (*name).to_owned()).collect();
    let rows = sqlx::query!("select stream, person from event_index_stream_v1 where stream = any($1)", &names)
        .fetch_all(conn)
        .await?;
    for row in rows {
        if let Some(known) = owners.get_mut(row.stream.as_str()) {
            known.insert(UserId::new(row.person));
        }
    }
    Ok(owners)
}
