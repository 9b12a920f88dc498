//! The read models that lists are made from: each holds what a fold of the whole log says, however it was followed.

mod routes;

use kisum::local::databases::Database;
use kisum_events::{
    CompanyId, Cursor, Envelope, Event, Log, MembershipEvent, MembershipId, SessionEndCause, SessionEvent, SessionId,
    StreamName, TenantRole, Timestamp, UserEvent, UserId,
};
use kisum_log::{read, read_head};
use kisum_projectors::{Committed, MemberList, Projection, SessionList, commit, read_checkpoint};
use kisum_tests::{demo, owner, servers};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use std::{collections::BTreeMap, time::Duration};
use uuid::Uuid;

/// Rows by their key, as JSON.
type Rows = BTreeMap<String, Value>;

/// What a table holds.
async fn stored<P: Projection>(conn: &mut PgConnection, key: &str) -> Rows {
    let table = P::TABLES[0];
    let sql = format!("select {key}::text, to_jsonb(t) - '{key}' from {table} t");
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(conn).await.unwrap_or_else(|error| panic!("{error}"));
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

async fn members(conn: &mut PgConnection) -> Rows {
    stored::<MemberList>(conn, "membership_id").await
}

async fn sessions(conn: &mut PgConnection) -> Rows {
    stored::<SessionList>(conn, "session_id").await
}

fn data_of(event: &Envelope) -> Value {
    serde_json::from_str(event.data.get()).unwrap_or_else(|error| panic!("{error}"))
}

fn micros(value: &Value) -> Value {
    json!(serde_json::from_value::<Timestamp>(value.clone()).unwrap_or_else(|error| panic!("{error}")).micros())
}

/// `member_list_v1` from the events' JSON alone.
fn members_folded(events: &[Envelope]) -> Rows {
    let mut rows = Rows::new();
    for event in events.iter().filter(|event| event.stream.kind() == "membership") {
        let (id, data) = (event.stream.id().to_owned(), data_of(event));
        match event.event_type.as_str() {
            "membership.created" => {
                let row = json!({ "company_id": data["companyId"], "user_id": data["userId"], "status": "active",
                    "tenant_role": data["tenantRole"], "position": event.position,
                    "joined_at": event.recorded_at.micros() });
                rows.insert(id, row);
            }
            "membership.tenant_role_changed" => rows.entry(id).or_default()["tenant_role"] = data["to"].clone(),
            "membership.suspended" => rows.entry(id).or_default()["status"] = json!("suspended"),
            "membership.reactivated" => rows.entry(id).or_default()["status"] = json!("active"),
            "membership.revoked" => rows.entry(id).or_default()["status"] = json!("revoked"),
            _ => {}
        }
    }
    rows
}

/// `session_list_v1` from the events' JSON alone.
fn sessions_folded(events: &[Envelope]) -> Rows {
    let (mut rows, mut newest) = (Rows::new(), i64::MIN);
    for event in events.iter().filter(|event| matches!(event.stream.kind(), "session" | "user")) {
        let (id, data) = (event.stream.id().to_owned(), data_of(event));
        match event.event_type.as_str() {
            "user.suspended"
            | "user.sessions_ended"
            | "user.erased"
            | "user.password_set"
            | "user.factor_added"
            | "user.factor_removed" => {
                let changes_nothing = ["initial", "upgraded"].contains(&data["cause"].as_str().unwrap_or_default());
                let live = rows.values_mut().filter(|row| row["user_id"] == id.as_str() && row["ended_at"].is_null());
                if !changes_nothing {
                    live.for_each(|row| row["is_over"] = json!(true));
                }
                continue;
            }
            "session.started" => {
                let row = json!({ "user_id": data["userId"], "amr": data["amr"].to_string(),
                    "started_at": event.recorded_at.micros(), "refreshed_at": null,
                    "idle_until": micros(&data["idleUntil"]), "absolute_until": micros(&data["absoluteUntil"]),
                    "ended_at": null, "is_over": false });
                rows.insert(id, row);
            }
            "session.refreshed" => {
                let row = rows.entry(id).or_default();
                row["refreshed_at"] = micros(&data["rotatedAt"]);
                row["idle_until"] = micros(&data["idleUntil"]);
            }
            "session.kept" => rows.entry(id).or_default()["is_over"] = json!(false),
            "session.ended" => rows.entry(id).or_default()["ended_at"] = json!(event.recorded_at.micros()),
            _ => continue,
        }
        newest = event.recorded_at.micros();
    }
    rows.retain(|_, row| row["absolute_until"].as_i64().is_some_and(|until| until >= newest));
    rows
}

async fn run(conn: &mut PgConnection, sql: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn follow<P: Projection>(conn: &mut PgConnection, epoch: u32, events: &[Envelope], at_once: usize) -> Committed {
    let mut last = Committed { cursor: Cursor::default(), at: Timestamp::from_micros(0), poison: None };
    for batch in events.chunks(at_once) {
        last = commit::<P>(conn, epoch, batch).await.unwrap_or_else(|error| panic!("{error}"));
    }
    last
}

/// The demo's auth log as far as a projection goes, which is at least where the log stood at first, and its rows.
async fn demo_log<P: Projection>(key: &str) -> (Vec<Envelope>, Rows) {
    let url = demo::database_url(Database::Auth).await;
    let mut conn = PgConnection::connect(&url).await.unwrap_or_else(|error| panic!("{error}"));
    let head = read_head(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    let snapshot = async {
        loop {
            run(&mut conn, "begin isolation level repeatable read").await;
            let at = read_checkpoint(&mut conn, P::NAME).await.unwrap_or_else(|error| panic!("{error}"));
            let at = at.map_or_else(Cursor::default, |checkpoint| checkpoint.cursor);
            if at.position >= head.position {
                let events = read(&mut conn, Log::Auth, 0, i64::MAX, None).await;
                let mut events = events.unwrap_or_else(|error| panic!("{error}"));
                events.retain(|event| event.position <= at.position);
                return (events, stored::<P>(&mut conn, key).await);
            }
            run(&mut conn, "rollback").await;
            tokio::task::yield_now().await;
        }
    };
    let snapshot = tokio::time::timeout(Duration::from_secs(20), snapshot).await;
    snapshot.unwrap_or_else(|_| panic!("{} does not reach position {}", P::NAME, head.position))
}

async fn empty_database() -> PgConnection {
    let database = servers::fresh_log(servers::shared().await).await;
    PgConnection::connect(&database.run_url).await.unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_s_members_and_sessions_are_what_a_fold_of_its_log_says() {
    let demo = demo::shared().await;
    let signed = demo.sign_in("user@echo-venues.example").await;
    let (events, rows) = demo_log::<MemberList>("membership_id").await;
    assert_eq!(rows, members_folded(&events));
    assert!(rows.len() > 20, "every person of the demo is somebody's member: {}", rows.len());
    let (events, rows) = demo_log::<SessionList>("session_id").await;
    assert_eq!(rows, sessions_folded(&events));
    assert!(rows.values().any(|row| row["user_id"] == signed.user_id.as_str()), "{rows:?}");
}

fn at(position: u64, stream: &StreamName, event: &impl Event) -> Envelope {
    let data = event.encode().unwrap_or_else(|error| panic!("{error}")).data;
    let data = serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}"));
    owner::envelope(Log::Auth, (position, 0), stream, (event.event_type(), event.effect(), data))
}

fn membership(number: u128) -> StreamName {
    StreamName::membership(MembershipId::new(Uuid::from_u128(number)))
}

fn created(number: u128) -> MembershipEvent {
    MembershipEvent::Created {
        company_id: CompanyId::new(Uuid::from_u128(1)),
        user_id: UserId::new(Uuid::from_u128(number)),
        tenant_role: TenantRole::User,
        via: "seed".to_owned(),
    }
}

fn session(number: u128) -> StreamName {
    StreamName::session(SessionId::new(Uuid::from_u128(number)))
}

fn started(number: u128, idle_s: i64, absolute_s: i64) -> SessionEvent {
    SessionEvent::Started {
        user_id: UserId::new(Uuid::from_u128(number)),
        amr: vec![kisum_events::AuthMethod::Pwd],
        idle_until: Timestamp::from_micros(idle_s * 1_000_000),
        absolute_until: Timestamp::from_micros(absolute_s * 1_000_000),
        token_hash: kisum_events::Sealed::absent(),
        ip: kisum_events::Sealed::absent(),
        agent: kisum_events::Sealed::absent(),
        user_version: None,
    }
}

fn refreshed(rotated_s: i64, idle_s: i64) -> SessionEvent {
    SessionEvent::Refreshed {
        generation: 1,
        rotated_at: Timestamp::from_micros(rotated_s * 1_000_000),
        idle_until: Timestamp::from_micros(idle_s * 1_000_000),
        token_hash: kisum_events::Sealed::absent(),
    }
}

fn ended(number: u128) -> SessionEvent {
    SessionEvent::Ended {
        user_id: UserId::new(Uuid::from_u128(number)),
        cause: SessionEndCause::Logout,
        tokens_until: Timestamp::from_micros(i64::MAX),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_the_same_in_batches_of_any_size() {
    let to_admin = MembershipEvent::TenantRoleChanged { from: TenantRole::User, to: TenantRole::Admin };
    let log = [
        at(1, &membership(1), &created(1)),
        at(2, &membership(2), &created(2)),
        at(3, &membership(1), &to_admin),
        at(4, &membership(2), &MembershipEvent::Suspended),
        at(5, &membership(3), &created(3)),
        at(6, &membership(2), &MembershipEvent::Reactivated),
        at(7, &membership(3), &MembershipEvent::Revoked),
        at(8, &membership(1), &MembershipEvent::Suspended),
    ];
    let wanted = members_folded(&log);
    assert_eq!(wanted.len(), 3);
    let mut conn = empty_database().await;
    for (epoch, at_once) in (1..).zip([1, 2, 3, 8]) {
        follow::<MemberList>(&mut conn, epoch, &log, at_once).await;
        assert_eq!(members(&mut conn).await, wanted, "{at_once} at once");
        follow::<MemberList>(&mut conn, epoch, &log, 8).await;
        assert_eq!(members(&mut conn).await, wanted, "what comes again changes nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_the_same_in_batches_of_any_size_and_forgotten_when_their_time_is_over() {
    // Each event is recorded at its position in seconds.
    let log = [
        at(1, &session(1), &started(1, 50, 100)),
        at(2, &session(2), &started(2, 3, 5)),
        at(3, &session(3), &started(3, 50, 100)),
        at(4, &session(1), &refreshed(4, 60)),
        at(5, &session(3), &ended(3)),
        at(6, &session(4), &started(4, 50, 100)),
        // Forgotten by now, or never known where all comes at once; it may still be ended.
        at(7, &session(2), &ended(2)),
        // Three of one person: the first and the second begin before all are ended, the second is kept.
        at(8, &session(5), &started(9, 50, 100)),
        at(9, &session(6), &started(9, 50, 100)),
        at(10, &StreamName::user(UserId::new(Uuid::from_u128(9))), &UserEvent::SessionsEnded),
        at(11, &session(6), &SessionEvent::Kept { user_version: 2 }),
        at(12, &session(7), &started(9, 50, 100)),
        at(13, &StreamName::user(UserId::new(Uuid::from_u128(1))), &UserEvent::EmailVerified),
    ];
    let wanted = sessions_folded(&log);
    assert_eq!(wanted.len(), 6, "the second one's time is over: {wanted:?}");
    let over: Vec<_> = wanted.values().filter(|row| row["is_over"] == true).map(|row| &row["started_at"]).collect();
    assert_eq!(over, [&json!(8_000_000)]);
    let mut conn = empty_database().await;
    for (epoch, at_once) in (1..).zip([1, 2, 3, 13]) {
        follow::<SessionList>(&mut conn, epoch, &log, at_once).await;
        assert_eq!(sessions(&mut conn).await, wanted, "{at_once} at once");
        follow::<SessionList>(&mut conn, epoch, &log, 13).await;
        assert_eq!(sessions(&mut conn).await, wanted, "what comes again changes nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_membership_that_changes_before_it_was_created_stops_the_list() {
    let mut conn = empty_database().await;
    let log = [at(1, &membership(1), &created(1)), at(2, &membership(2), &MembershipEvent::Suspended)];
    let committed = follow::<MemberList>(&mut conn, 1, &log, 2).await;
    assert_eq!(committed.poison.map(|poison| poison.position), Some(2));
    assert_eq!(members(&mut conn).await, members_folded(&log[..1]), "what came before is there");
}
