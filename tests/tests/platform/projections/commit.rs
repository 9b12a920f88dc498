//! The one transaction of a projection: together or not at all, once or not at all.

use super::{
    at, database, defined, ended_sessions, envelope, invented_later, many_defined, modules, session, session_ended,
    stored,
};
use kisum_events::{
    CompanyId, EntitlementCause, Envelope, EventId, Log, ModuleEntitlement, StreamName, SubscriptionEvent, Timestamp,
};
use kisum_projectors::{
    Catalog, CommitError, Committed, EndedSessions, Entitlements, Projection, commit as try_commit,
};
use serde_json::json;
use sqlx::{Connection as _, PgConnection, Row as _};
use uuid::Uuid;

async fn commit<P: Projection>(conn: &mut PgConnection, epoch: u32, events: &[Envelope]) -> Committed {
    try_commit::<P>(conn, epoch, events).await.unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn redelivery_in_any_shape_changes_nothing() {
    let (_, _, mut conn) = database().await;
    let log = many_defined(1..=3);
    for events in [&log[..2], &log[..2], &log[1..], &log[..]] {
        commit::<Catalog>(&mut conn, 1, events).await;
    }
    assert_eq!(modules(&mut conn).await, ["m1", "m2", "m3"]);
    assert_eq!(stored(&mut conn, "catalog_v1").await.cursor, at(1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_behind_a_hole_are_refused_and_change_nothing() {
    let (_, _, mut conn) = database().await;
    commit::<Catalog>(&mut conn, 1, &[defined(1, "m1")]).await;
    let refused = try_commit::<Catalog>(&mut conn, 1, &[defined(3, "m3")]).await;
    assert!(matches!(refused, Err(CommitError::Hole { after }) if after == at(1, 1)), "{refused:?}");
    assert_eq!(modules(&mut conn).await, ["m1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_holds_no_lock() {
    let (_, database, mut conn) = database().await;
    commit::<Catalog>(&mut conn, 1, &[defined(1, "m1")]).await;
    assert!(try_commit::<Catalog>(&mut conn, 1, &[defined(3, "m3")]).await.is_err());
    commit::<Catalog>(&mut conn, 1, &[defined(1, "m1")]).await;
    let mut other = PgConnection::connect(&database.run_url).await.unwrap_or_else(|error| panic!("{error}"));
    // `nowait`: a lock that is still held is an error at once.
    let free = sqlx::query("select 1 from projection_checkpoint for update nowait").execute(&mut other).await;
    assert!(free.is_ok(), "{free:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_epoch_starts_from_its_whole_log_and_an_old_one_is_refused() {
    let (_, _, mut conn) = database().await;
    commit::<Catalog>(&mut conn, 1, &many_defined(1..=2)).await;
    assert_eq!(commit::<Catalog>(&mut conn, 2, &[defined(1, "venue")]).await.cursor, at(2, 1));
    assert_eq!(modules(&mut conn).await, ["venue"]);
    let refused = try_commit::<Catalog>(&mut conn, 1, &[defined(3, "m3")]).await;
    assert!(matches!(refused, Err(CommitError::OlderEpoch { offered: 1, current: 2 })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_event_stops_the_projection_right_before_it() {
    let (_, _, mut conn) = database().await;
    let log = [defined(1, "m1"), invented_later(2), defined(3, "m3")];
    let Committed { cursor, poison, .. } = commit::<Catalog>(&mut conn, 1, &log).await;
    let poison = poison.unwrap_or_else(|| panic!("nothing stopped it"));
    assert_eq!((cursor, poison.position), (at(1, 1), 2));
    assert!(poison.error.contains("module.invented_later"), "{}", poison.error);
    assert_eq!(modules(&mut conn).await, ["m1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_does_not_fit_leaves_those_before_it_applied() {
    let (_, _, mut conn) = database().await;
    let nobody = StreamName::from_stored("session-none".to_owned());
    let streams = [session(1), nobody, session(3)];
    let log: Vec<_> = (1..)
        .zip(&streams)
        .map(|(position, stream)| envelope(Log::Auth, position, stream, &session_ended(i64::MAX)))
        .collect();
    let Committed { cursor, poison, .. } = commit::<EndedSessions>(&mut conn, 1, &log).await;
    assert_eq!((cursor, poison.map(|poison| poison.position)), (at(1, 1), Some(2)));
    assert_eq!(ended_sessions(&mut conn).await, [Uuid::from_u128(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_whose_tokens_are_long_gone_are_forgotten() {
    let (_, _, mut conn) = database().await;
    let minute = 60_000_000;
    let ended = |position, number| envelope(Log::Auth, position, &session(number), &session_ended(minute));
    // Recorded at seconds 1 and 2, when the tokens may still be presented.
    commit::<EndedSessions>(&mut conn, 1, &[ended(1, 1)]).await;
    commit::<EndedSessions>(&mut conn, 1, &[ended(2, 2)]).await;
    assert_eq!(ended_sessions(&mut conn).await.len(), 2);
    let an_hour_later = Envelope {
        recorded_at: Timestamp::from_micros(60 * minute),
        ..envelope(Log::Auth, 3, &session(3), &session_ended(61 * minute))
    };
    commit::<EndedSessions>(&mut conn, 1, &[an_hour_later]).await;
    assert_eq!(ended_sessions(&mut conn).await, [Uuid::from_u128(3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_apply_the_same_events_at_once_apply_them_once() {
    let (_, database, mut conn) = database().await;
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let url = database.run_url.clone();
            tokio::spawn(async move {
                let mut conn = PgConnection::connect(&url).await.unwrap_or_else(|error| panic!("{error}"));
                for event in many_defined(1..=40) {
                    commit::<Catalog>(&mut conn, 1, &[event]).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap_or_else(|error| panic!("{error}"));
    }
    assert_eq!(modules(&mut conn).await.len(), 40);
    assert_eq!(stored(&mut conn, "catalog_v1").await.cursor, at(1, 40));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_schedule_of_a_company_counts() {
    let (_, _, mut conn) = database().await;
    let company = CompanyId::new(Uuid::from_u128(7));
    let changed = |position, entitlements: serde_json::Value| {
        let event = SubscriptionEvent::EntitlementChanged {
            company_id: company,
            entitlements: serde_json::from_value(entitlements).unwrap_or_else(|error| panic!("{error}")),
            entitlement_version: position,
            previous_entitlement_version: 0,
            cause: EntitlementCause { event_id: EventId::new(Uuid::nil()), event_type: "addon.attached".to_owned() },
        };
        envelope(Log::Core, position, &StreamName::subscription(company), &event)
    };
    let finance = json!([{ "module": "finance", "source": { "type": "addon", "id": "finance" },
        "from": "2026-01-01T00:00:00Z", "until": null }]);
    let log = [changed(1, json!([])), changed(2, finance), defined(3, "ai")];
    commit::<Entitlements>(&mut conn, 1, &log).await;
    let row = sqlx::query("select schedule, entitlement_version, epoch from company_entitlement_v1")
        .fetch_one(&mut conn)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let schedule: Vec<ModuleEntitlement> = serde_json::from_str(row.get(0)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(schedule.iter().map(|one| one.module.as_str()).collect::<Vec<_>>(), ["finance"]);
    assert_eq!((row.get::<i64, _>(1), row.get::<i32, _>(2)), (2, 1));
    assert_eq!(stored(&mut conn, "entitlements_v1").await.cursor, at(1, 3));
}
