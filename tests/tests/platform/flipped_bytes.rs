//! A flipped bit anywhere in the tables of a log is found by verifying it, with its position.
//!
//! Constraints and keys are dropped first: a disk knows none. Not looked at is what another program is for: a state is a
//! fold, and whether it is the right one only folding tells.

use kisum_events::Sealed;
use kisum_log::{Loaded, VerifyError, verify};
use kisum_tests::{
    counted::{Counted, Happened, append, new_request, new_stream},
    seeded::Seeded,
    servers,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row as _};

const FLIPS_PER_COLUMN: usize = 30;

/// What a column holds, and so how a bit of it is flipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Number { type_name: &'static str, bits: u64 },
    Text,
    Bytes,
    Uuid,
}

const BIGINT: Holds = Holds::Number { type_name: "bigint", bits: 64 };
const INTEGER: Holds = Holds::Number { type_name: "integer", bits: 32 };
/// Without the sign, which the cast has no room for.
const SMALLINT: Holds = Holds::Number { type_name: "smallint", bits: 15 };

const EVENT: [(&str, Holds); 16] = [
    ("position", BIGINT),
    ("epoch", INTEGER),
    ("previous_access_position", BIGINT),
    ("id", Holds::Uuid),
    ("stream", Holds::Text),
    ("version", BIGINT),
    ("type", Holds::Text),
    ("schema", SMALLINT),
    ("company_id", Holds::Uuid),
    ("effect", Holds::Text),
    ("recorded_at", BIGINT),
    ("data", Holds::Text),
    ("sealed", Holds::Bytes),
    ("person", Holds::Uuid),
    ("meta", Holds::Text),
    ("hash", Holds::Bytes),
];
const BATCH: [(&str, Holds); 7] = [
    ("last_position", BIGINT),
    ("first_position", BIGINT),
    ("epoch", INTEGER),
    ("access_position", BIGINT),
    ("recorded_at", BIGINT),
    ("previous_hash", Holds::Bytes),
    ("hash", Holds::Bytes),
];
const STREAM: [(&str, Holds); 3] = [("name", Holds::Text), ("version", BIGINT), ("position", BIGINT)];

async fn run(conn: &mut PgConnection, sql: &str) -> Result<u64, sqlx::Error> {
    Ok(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await?.rows_affected())
}

async fn done(conn: &mut PgConnection, sql: &str) {
    run(conn, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// A log in which every column of an event is used somewhere.
async fn log_with_everything() -> PgConnection {
    let database = servers::fresh_log(servers::shared().await).await;
    let log = servers::open(&database).await;
    for round in 0..12 {
        let mut one = append(new_request());
        let secret = Sealed::new(format!("secret {round}"));
        let mut events = vec![Happened::Noted { note: format!("note {round}"), secret }];
        if round % 3 == 0 {
            events.push(Happened::Widened { note: "wide".to_owned() });
            events.push(Happened::Placed { own: 0 });
        }
        one.write(&Loaded::<Counted>::new_stream(new_stream()), events).unwrap_or_else(|error| panic!("{error}"));
        log.append(one).await.unwrap_or_else(|error| panic!("{error}"));
    }
    let mut conn = PgConnection::connect(&database.superuser_url).await.unwrap_or_else(|error| panic!("{error}"));
    done(&mut conn, "create cast (bytea as text) without function").await;
    let constraints: Vec<(String, String)> = sqlx::query_as(
        "select conrelid::regclass::text, conname::text from pg_constraint
         where conrelid in ('event'::regclass, 'log_batch'::regclass, 'stream'::regclass)",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap_or_else(|error| panic!("{error}"));
    for (table, name) in constraints {
        done(&mut conn, &format!("alter table {table} drop constraint {name}")).await;
    }
    conn
}

/// The expression with one bit flipped; none where the value is null or empty.
fn flipped(column: &str, holds: Holds, bytes: u64, chance: &mut Seeded) -> Option<String> {
    let bit_of = |bytes: &str, bit: u64| format!("set_bit({bytes}, {bit}, 1 - get_bit({bytes}, {bit}))");
    Some(match holds {
        Holds::Number { type_name, bits } => {
            format!("({column}::bigint # (1::bigint << {}))::{type_name}", chance.below(bits))
        }
        _ if bytes == 0 => return None,
        Holds::Bytes => bit_of(column, chance.below(bytes * 8)),
        Holds::Uuid => format!("encode({}, 'hex')::uuid", bit_of(&format!("uuid_send({column})"), chance.below(128))),
        // As the bytes lie on disk: the highest bit of one leaves no UTF-8.
        Holds::Text => format!("({})::text", bit_of(&format!("convert_to({column}, 'UTF8')"), chance.below(bytes * 8))),
    })
}

/// Where verifying finds the first difference; none when it finds nothing.
async fn found(conn: &mut PgConnection) -> Option<u64> {
    match verify(conn, |_| {}).await {
        Ok(_) => None,
        Err(VerifyError::Different(difference)) => Some(difference.position),
        Err(VerifyError::Load(error)) => panic!("{error}: {:?}", std::error::Error::source(&error)),
    }
}

/// One row: how it is addressed, and the first and last position that it speaks of.
struct Place {
    at: String,
    first: u64,
    last: u64,
}

async fn places(conn: &mut PgConnection, sql: &str) -> Vec<Place> {
    let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(conn).await;
    let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let position = |row: &sqlx::postgres::PgRow, n: usize| u64::try_from(row.get::<i64, _>(n)).unwrap_or(0);
    rows.iter().map(|row| Place { at: row.get(0), first: position(row, 1), last: position(row, 2) }).collect()
}

/// Flips bits of a table's columns, and asserts that each is found; at exactly its position, unless the column is one
/// that says where the row stands.
async fn flip_everywhere(
    conn: &mut PgConnection,
    (table, places): (&str, &[Place]),
    columns: &[(&'static str, Holds)],
    chance: &mut Seeded,
) {
    for (column, holds) in columns {
        let mut flips = 0;
        for _ in 0..FLIPS_PER_COLUMN * 10 {
            if flips == FLIPS_PER_COLUMN {
                break;
            }
            let index = usize::try_from(chance.below(places.len() as u64)).unwrap_or_else(|error| panic!("{error}"));
            let place = &places[index];
            let length = match holds {
                Holds::Number { .. } => "0".to_owned(),
                Holds::Uuid => format!("octet_length(uuid_send({column}))"),
                Holds::Text | Holds::Bytes => format!("octet_length({column})"),
            };
            let sql = format!("select coalesce({length}, 0)::bigint from {table} where {}", place.at);
            let bytes: i64 = sqlx::query_scalar(AssertSqlSafe(sql.clone()))
                .fetch_one(&mut *conn)
                .await
                .unwrap_or_else(|error| panic!("{sql}: {error}"));
            let Some(to) = flipped(column, *holds, u64::try_from(bytes).unwrap_or(0), chance) else { continue };
            let mut tx = conn.begin().await.unwrap_or_else(|error| panic!("{error}"));
            let sql = format!("update {table} set {column} = {to} where {}", place.at);
            // The server itself refuses a NUL, and a position that no partition is for.
            if run(&mut tx, &sql).await.is_ok_and(|rows| rows == 1) {
                flips += 1;
                let position = found(&mut tx).await.unwrap_or_else(|| panic!("not found: {sql}"));
                let moves =
                    column.contains("position") && !["previous_access_position", "access_position"].contains(column);
                assert!(moves || (place.first..=place.last).contains(&position), "found at {position}: {sql}");
            }
            tx.rollback().await.unwrap_or_else(|error| panic!("{error}"));
        }
        assert_eq!(flips, FLIPS_PER_COLUMN, "{table}.{column} was not flipped often enough");
    }
}

/// security 29
#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_anywhere_in_the_log_is_found_with_its_position() {
    let mut conn = log_with_everything().await;
    let mut chance = Seeded::new(9);
    assert_eq!(found(&mut conn).await, None, "as it was written");
    let events = places(&mut conn, "select 'position = ' || position, position, position from event").await;
    flip_everywhere(&mut conn, ("event", &events), &EVENT, &mut chance).await;
    let batches = "select 'last_position = ' || last_position, first_position, first_position from log_batch";
    let batches = places(&mut conn, batches).await;
    flip_everywhere(&mut conn, ("log_batch", &batches), &BATCH, &mut chance).await;
    let streams = places(&mut conn, "select 'name = ''' || name || '''', position, position from stream").await;
    flip_everywhere(&mut conn, ("stream", &streams), &STREAM, &mut chance).await;
    assert_eq!(found(&mut conn).await, None, "everything was put back");
}
