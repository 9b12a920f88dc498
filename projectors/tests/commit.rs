//! The transaction of a projection against a real database: together or not at all, once or not at all.
//!
//! Each test has a database of its own, made on the server of `DATABASE_URL`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use kisum_events::{
    Cursor, Envelope, Event, EventId, Log, ModuleEvent, Position, SessionEndCause, SessionEvent, SubscriptionEvent,
    Timestamp, UserId,
};
use kisum_projectors::{Catalog, CommitError, Committed, EndedSessions, Entitlements, Poison, commit, read_checkpoint};
use serde_json::json;
use sqlx::{PgConnection, PgPool, Row as _};
use uuid::Uuid;

const TABLES: [&str; 5] = [
    include_str!("../../migrations/auth/0101_projection_checkpoint.sql"),
    include_str!("../../migrations/auth/0102_company_entitlement_v1.sql"),
    include_str!("../../migrations/auth/0103_catalog_module_v1.sql"),
    include_str!("../../migrations/auth/0104_catalog_permission_v1.sql"),
    include_str!("../../migrations/auth/0105_ended_session_v1.sql"),
];

/// Roles belong to the whole server, so another test may be making the same one.
const ROLE: &str =
    "do $$ begin create role kisum_auth; exception when duplicate_object or unique_violation then end $$";

async fn database(pool: &PgPool) -> sqlx::pool::PoolConnection<sqlx::Postgres> {
    let mut conn = pool.acquire().await.unwrap();
    sqlx::raw_sql(ROLE).execute(&mut *conn).await.unwrap();
    for table in TABLES {
        sqlx::raw_sql(table).execute(&mut *conn).await.unwrap();
    }
    conn
}

fn envelope(log: Log, epoch: u32, position: Position, stream: &str, event: &impl Event) -> Envelope {
    let data = event.encode().unwrap().data;
    let envelope = json!({
        "id": EventId::new(Uuid::from_u128(u128::from(position))), "log": log, "epoch": epoch, "position": position,
        "previousAccessPosition": 0, "stream": stream, "version": 1, "type": event.event_type(), "schema": 1,
        "effect": event.effect(), "recordedAt": Timestamp::from_micros(i64::try_from(position).unwrap() * 1_000_000),
        "data": serde_json::from_str::<serde_json::Value>(&data).unwrap(),
        "meta": { "actor": "system", "requestId": Uuid::nil() },
    });
    // Through text, as it arrives: a raw value cannot be taken from a parsed tree.
    serde_json::from_str(&envelope.to_string()).unwrap()
}

fn defined(position: Position, key: &str) -> Envelope {
    let event = ModuleEvent::Defined { key: key.parse().unwrap(), name: key.to_uppercase() };
    envelope(Log::Core, 1, position, &format!("module-{key}"), &event)
}

fn unknown(position: Position) -> Envelope {
    Envelope { event_type: "module.invented_later".to_owned(), ..defined(position, "x1") }
}

fn ended(position: Position, stream: &str, until: i64) -> Envelope {
    let event = SessionEvent::Ended {
        user_id: UserId::new(Uuid::nil()),
        cause: SessionEndCause::Logout,
        tokens_until: Timestamp::from_micros(until),
    };
    envelope(Log::Auth, 1, position, stream, &event)
}

fn session(number: u128) -> String {
    format!("session-{}", Uuid::from_u128(number))
}

const fn at(epoch: u32, position: Position) -> Cursor {
    Cursor { epoch, position }
}

async fn modules(conn: &mut PgConnection) -> Vec<String> {
    let rows = sqlx::query("select key from catalog_module_v1 order by key").fetch_all(conn).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn stored(conn: &mut PgConnection, name: &str) -> Cursor {
    read_checkpoint(conn, name).await.unwrap().unwrap().cursor
}

#[sqlx::test(migrations = false)]
async fn redelivery_in_any_shape_changes_nothing(pool: PgPool) {
    let mut conn = database(&pool).await;
    let log = [defined(1, "ai"), defined(2, "basic"), defined(3, "venue")];
    for (from, to) in [(0, 2), (0, 2), (1, 3), (0, 3)] {
        commit::<Catalog>(&mut conn, 1, &log[from..to]).await.unwrap();
    }
    assert_eq!(modules(&mut conn).await, ["ai", "basic", "venue"]);
    assert_eq!(stored(&mut conn, "catalog_v1").await, at(1, 3));
}

#[sqlx::test(migrations = false)]
async fn events_behind_a_hole_are_refused_and_change_nothing(pool: PgPool) {
    let mut conn = database(&pool).await;
    commit::<Catalog>(&mut conn, 1, &[defined(1, "ai")]).await.unwrap();
    let refused = commit::<Catalog>(&mut conn, 1, &[defined(3, "venue")]).await;
    assert!(matches!(refused, Err(CommitError::Hole { after }) if after == at(1, 1)), "{refused:?}");
    assert_eq!(modules(&mut conn).await, ["ai"]);
}

#[sqlx::test(migrations = false)]
async fn a_new_epoch_starts_from_its_whole_log_and_an_old_one_is_refused(pool: PgPool) {
    let mut conn = database(&pool).await;
    commit::<Catalog>(&mut conn, 1, &[defined(1, "ai"), defined(2, "basic")]).await.unwrap();
    let reached = commit::<Catalog>(&mut conn, 2, &[defined(1, "venue")]).await.unwrap();
    assert_eq!(reached.cursor, at(2, 1));
    assert_eq!(modules(&mut conn).await, ["venue"]);
    let refused = commit::<Catalog>(&mut conn, 1, &[defined(3, "market")]).await;
    assert!(matches!(refused, Err(CommitError::OlderEpoch { offered: 1, current: 2 })), "{refused:?}");
}

#[sqlx::test(migrations = false)]
async fn an_unknown_event_stops_the_projection_right_before_it(pool: PgPool) {
    let mut conn = database(&pool).await;
    let log = [defined(1, "ai"), unknown(2), defined(3, "venue")];
    let Committed { cursor, poison, .. } = commit::<Catalog>(&mut conn, 1, &log).await.unwrap();
    assert_eq!(cursor, at(1, 1));
    let Poison { position, error } = poison.unwrap();
    assert_eq!((position, error.contains("module.invented_later")), (2, true), "{error}");
    assert_eq!(modules(&mut conn).await, ["ai"]);
}

#[sqlx::test(migrations = false)]
async fn an_event_that_does_not_fit_leaves_those_before_it_applied(pool: PgPool) {
    let mut conn = database(&pool).await;
    let far = i64::MAX / 2;
    let log = [ended(1, &session(1), far), ended(2, "session-none", far), ended(3, &session(3), far)];
    let Committed { cursor, poison, .. } = commit::<EndedSessions>(&mut conn, 1, &log).await.unwrap();
    assert_eq!((cursor, poison.map(|poison| poison.position)), (at(1, 1), Some(2)));
    let rows = sqlx::query("select session_id from ended_session_v1").fetch_all(&mut *conn).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<Uuid, _>(0)).collect::<Vec<_>>(), [Uuid::from_u128(1)]);
}

#[sqlx::test(migrations = false)]
async fn sessions_whose_tokens_are_long_gone_are_forgotten(pool: PgPool) {
    let mut conn = database(&pool).await;
    let minute = 60_000_000;
    commit::<EndedSessions>(&mut conn, 1, &[ended(1, &session(1), minute)]).await.unwrap();
    // Recorded at second 2: the first session's tokens may still be presented then, an hour later they may not.
    commit::<EndedSessions>(&mut conn, 1, &[ended(2, &session(2), minute)]).await.unwrap();
    let count = "select count(*) from ended_session_v1";
    assert_eq!(sqlx::query(count).fetch_one(&mut *conn).await.unwrap().get::<i64, _>(0), 2);
    let later = Envelope { recorded_at: Timestamp::from_micros(60 * minute), ..ended(3, &session(3), 61 * minute) };
    commit::<EndedSessions>(&mut conn, 1, &[later]).await.unwrap();
    assert_eq!(sqlx::query(count).fetch_one(&mut *conn).await.unwrap().get::<i64, _>(0), 1);
}

#[sqlx::test(migrations = false)]
async fn processes_that_apply_the_same_events_at_once_apply_them_once(pool: PgPool) {
    let mut conn = database(&pool).await;
    let log: Vec<_> = (1..=40).map(|position| defined(position, &format!("m{position}"))).collect();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let (pool, log) = (pool.clone(), log.clone());
            tokio::spawn(async move {
                let mut conn = pool.acquire().await.unwrap();
                for event in &log {
                    commit::<Catalog>(&mut conn, 1, std::slice::from_ref(event)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(modules(&mut conn).await.len(), 40);
    assert_eq!(stored(&mut conn, "catalog_v1").await, at(1, 40));
}

#[sqlx::test(migrations = false)]
async fn the_last_schedule_of_a_company_counts(pool: PgPool) {
    let mut conn = database(&pool).await;
    let company = kisum_events::CompanyId::new(Uuid::from_u128(7));
    let changed = |position, entitlements: serde_json::Value| {
        let event = SubscriptionEvent::EntitlementChanged {
            company_id: company,
            entitlements: serde_json::from_value(entitlements).unwrap(),
            entitlement_version: position,
            previous_entitlement_version: 0,
            cause: kisum_events::EntitlementCause {
                event_id: EventId::new(Uuid::nil()),
                event_type: "addon.attached".to_owned(),
            },
        };
        envelope(Log::Core, 1, position, &format!("subscription-{company}"), &event)
    };
    let finance = json!([{ "module": "finance", "source": { "type": "addon", "id": "finance" },
        "from": "2026-01-01T00:00:00Z", "until": null }]);
    let log = [changed(1, json!([])), changed(2, finance), defined(3, "ai")];
    commit::<Entitlements>(&mut conn, 1, &log).await.unwrap();
    let row = sqlx::query("select schedule, entitlement_version, epoch from company_entitlement_v1")
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    let schedule: Vec<kisum_events::ModuleEntitlement> = serde_json::from_str(row.get(0)).unwrap();
    assert_eq!(schedule.iter().map(|one| one.module.as_str()).collect::<Vec<_>>(), ["finance"]);
    assert_eq!((row.get::<i64, _>(1), row.get::<i32, _>(2)), (2, 1));
    assert_eq!(stored(&mut conn, "entitlements_v1").await, at(1, 3));
}
