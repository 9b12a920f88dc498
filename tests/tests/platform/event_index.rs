//! The index of events by company, person and actor: what it holds, and that nobody can tell how far it is.

mod search;

use kisum::local::databases::Database;
use kisum_events::{Cursor, Envelope, Log};
use kisum_log::{read, read_head};
use kisum_projectors::{AuthEventIndex, CoreEventIndex, Projection, commit, read_checkpoint};
use kisum_tests::{demo, servers};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

const NAME: &str = "event_index_v1";

/// What the tables hold: kind, key and position; stream and person.
#[derive(Clone, Debug, Default, PartialEq)]
struct Index {
    found: BTreeSet<(String, String, u64)>,
    owners: BTreeSet<(String, String)>,
}

impl Index {
    async fn stored(conn: &mut PgConnection) -> Self {
        let rows = sqlx::query("select kind, key, position from event_index_v1").fetch_all(&mut *conn).await;
        let found = rows
            .unwrap_or_else(|error| panic!("{error}"))
            .iter()
            .map(|row| (row.get(0), row.get(1), u64::try_from(row.get::<i64, _>(2)).unwrap_or_default()))
            .collect();
        let rows = sqlx::query("select stream, person::text from event_index_stream_v1").fetch_all(conn).await;
        let owners =
            rows.unwrap_or_else(|error| panic!("{error}")).iter().map(|row| (row.get(0), row.get(1))).collect();
        Self { found, owners }
    }

    /// The same from the events' JSON, knowing nothing of event types but how fields that name persons are called.
    fn folded(events: &[Envelope]) -> Self {
        let mut index = Self::default();
        let mut owners: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for event in events {
            let data: Value = serde_json::from_str(event.data.get()).unwrap_or_else(|error| panic!("{error}"));
            let named = ["userId", "owner"].iter().filter_map(|field| data.get(field)?.as_str().map(str::to_owned));
            let mut persons: BTreeSet<String> = named.collect();
            match event.stream.kind() {
                "user" | "staff" => persons.extend([event.stream.id().to_owned()]),
                "session" | "membership" => {
                    let known = owners.entry(event.stream.to_string()).or_default();
                    known.append(&mut persons);
                    persons.clone_from(known);
                }
                _ => {}
            }
            let mut add = |kind: &str, key: String| index.found.insert((kind.to_owned(), key, event.position));
            for person in persons {
                add("person", person);
            }
            if let Some(company) = event.company_id {
                add("company", company.to_string());
            }
            add("actor", event.meta.actor.to_string());
        }
        for (stream, persons) in owners {
            index.owners.extend(persons.into_iter().map(|person| (stream.clone(), person)));
        }
        index
    }

    fn kinds(&self) -> BTreeSet<&str> {
        self.found.iter().map(|(kind, ..)| kind.as_str()).collect()
    }
}

async fn run(conn: &mut PgConnection, sql: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn whole_log(conn: &mut PgConnection, log: Log) -> Vec<Envelope> {
    read(conn, log, 0, i64::MAX, None).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Brings the index up to the last of these events, so many in a transaction.
async fn follow<P: Projection>(conn: &mut PgConnection, epoch: u32, events: &[Envelope], at_once: usize) {
    for batch in events.chunks(at_once) {
        let committed = commit::<P>(conn, epoch, batch).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(committed.poison, None);
    }
}

/// A log of the demo as far as its index goes, which is at least where the log stood at first; and the index.
async fn demo_log(log: Log) -> (Vec<Envelope>, Index) {
    let database = match log {
        Log::Auth => Database::Auth,
        Log::Core => Database::Core,
    };
    let url = demo::database_url(database).await;
    let mut conn = PgConnection::connect(&url).await.unwrap_or_else(|error| panic!("{error}"));
    let head = read_head(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    let snapshot = async {
        loop {
            run(&mut conn, "begin isolation level repeatable read").await;
            let stored = read_checkpoint(&mut conn, NAME).await.unwrap_or_else(|error| panic!("{error}"));
            let at = stored.map_or_else(Cursor::default, |stored| stored.cursor);
            if at.position >= head.position {
                let mut events = whole_log(&mut conn, log).await;
                events.retain(|event| event.position <= at.position);
                return (events, Index::stored(&mut conn).await);
            }
            run(&mut conn, "rollback").await;
            tokio::task::yield_now().await;
        }
    };
    let snapshot = tokio::time::timeout(Duration::from_secs(20), snapshot).await;
    snapshot.unwrap_or_else(|_| panic!("the index of the {log} log does not reach position {}", head.position))
}

#[tokio::test(flavor = "multi_thread")]
async fn both_logs_are_indexed_as_a_fold_of_all_their_events_says() {
    let (events, stored) = demo_log(Log::Auth).await;
    assert_eq!(stored, Index::folded(&events));
    assert_eq!(stored.kinds(), BTreeSet::from(["actor", "company", "person"]));
    assert!(stored.owners.len() > 20, "every member of the demo has a membership: {}", stored.owners.len());

    let (events, stored) = demo_log(Log::Core).await;
    assert_eq!(stored, Index::folded(&events));
    assert_eq!(stored.kinds(), BTreeSet::from(["actor", "company"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_built_anew_in_other_batches_is_the_same() {
    let (events, running) = demo_log(Log::Auth).await;
    let (core, running_core) = demo_log(Log::Core).await;
    let database = servers::fresh_log(servers::shared().await).await;
    let mut conn = PgConnection::connect(&database.run_url).await.unwrap_or_else(|error| panic!("{error}"));
    follow::<AuthEventIndex>(&mut conn, 1, &events, 7).await;
    assert_eq!(Index::stored(&mut conn).await, running);
    follow::<AuthEventIndex>(&mut conn, 1, &events, 1000).await;
    assert_eq!(Index::stored(&mut conn).await, running, "what comes again changes nothing");
    // A new epoch empties it first: nothing of a longer history may stay.
    follow::<AuthEventIndex>(&mut conn, 2, &events[..events.len() / 2], 1).await;
    assert_eq!(Index::stored(&mut conn).await, Index::folded(&events[..events.len() / 2]));
    follow::<AuthEventIndex>(&mut conn, 3, &events, 1000).await;
    assert_eq!(Index::stored(&mut conn).await, running);
    follow::<CoreEventIndex>(&mut conn, 4, &core, 13).await;
    assert_eq!(Index::stored(&mut conn).await, running_core);
}
