//! Projections on a real database, a real log and a real bus.

mod commit;
mod follow;
mod starting_over;

use kisum::local::Stack;
use kisum_events::{
    Cursor, Envelope, Event, Log, ModuleEvent, Position, SessionEndCause, SessionEvent, SessionId, StreamName,
    Timestamp, UserId,
};
use kisum_projectors::read_checkpoint;
use kisum_tests::{
    owner,
    servers::{self, LogDatabase},
};
use sqlx::{Connection as _, PgConnection, Row as _};
use uuid::Uuid;

/// A database of Auth that belongs to one test, and a connection with Auth's rights.
async fn database() -> (&'static Stack, LogDatabase, PgConnection) {
    let stack = servers::shared().await;
    let database = servers::fresh_log(stack).await;
    let conn = PgConnection::connect(&database.run_url).await.unwrap_or_else(|error| panic!("{error}"));
    (stack, database, conn)
}

fn envelope(log: Log, position: Position, stream: &StreamName, event: &impl Event) -> Envelope {
    let data = event.encode().unwrap_or_else(|error| panic!("{error}")).data;
    let data = serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}"));
    owner::envelope(log, (position, 0), stream, (event.event_type(), event.effect(), data))
}

/// `module.defined`, recorded in epoch 1.
fn defined(position: Position, key: &str) -> Envelope {
    let key = key.parse().unwrap_or_else(|error| panic!("{error}"));
    let stream = StreamName::module(&key);
    envelope(Log::Core, position, &stream, &ModuleEvent::Defined { name: key.to_string(), key })
}

/// Modules `m1`, `m2`, … at positions 1, 2, ….
fn many_defined(positions: std::ops::RangeInclusive<Position>) -> Vec<Envelope> {
    positions.map(|position| defined(position, &format!("m{position}"))).collect()
}

/// What only a newer program understands.
fn invented_later(position: Position) -> Envelope {
    Envelope { event_type: "module.invented_later".to_owned(), ..defined(position, "x") }
}

fn session(number: u128) -> StreamName {
    StreamName::session(SessionId::new(Uuid::from_u128(number)))
}

fn session_ended(until: i64) -> SessionEvent {
    SessionEvent::Ended {
        user_id: UserId::new(Uuid::nil()),
        cause: SessionEndCause::Logout,
        tokens_until: Timestamp::from_micros(until),
    }
}

const fn at(epoch: u32, position: Position) -> Cursor {
    Cursor { epoch, position }
}

async fn modules(conn: &mut PgConnection) -> Vec<String> {
    let rows = sqlx::query("select key from catalog_module_v1 order by length(key), key").fetch_all(conn).await;
    rows.unwrap_or_else(|error| panic!("{error}")).iter().map(|row| row.get(0)).collect()
}

async fn ended_sessions(conn: &mut PgConnection) -> Vec<Uuid> {
    let rows = sqlx::query("select session_id from ended_session_v1 order by session_id").fetch_all(conn).await;
    rows.unwrap_or_else(|error| panic!("{error}")).iter().map(|row| row.get(0)).collect()
}

async fn stored(conn: &mut PgConnection, name: &str) -> kisum_projectors::Checkpoint {
    let checkpoint = read_checkpoint(conn, name).await.unwrap_or_else(|error| panic!("{error}"));
    checkpoint.unwrap_or_else(|| panic!("{name} has no checkpoint"))
}
