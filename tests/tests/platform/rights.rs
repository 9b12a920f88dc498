//! What run-time roles and bus users may not do: refused by the servers themselves.

use async_nats::jetstream;
use futures_util::StreamExt;
use kisum_events::Log;
use kisum_log::{Loaded, read};
use kisum_tests::{
    counted::{new_stream, widen},
    servers,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::time::Duration;

async fn refused(conn: &mut PgConnection, sql: &str) -> String {
    match sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await {
        Ok(_) => panic!("allowed: {sql}"),
        Err(error) => error.as_database_error().and_then(|e| e.code()).unwrap_or_default().into_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn run_time_roles_cannot_change_the_log_nor_run_ddl() {
    let database = servers::fresh_log(servers::shared().await).await;
    let log = servers::open(&database).await;
    log.append(widen(&Loaded::new_stream(new_stream()), "x")).await.unwrap_or_else(|error| panic!("{error}"));
    for url in [&database.run_url, &database.relay_url] {
        let mut conn = PgConnection::connect(url).await.unwrap_or_else(|error| panic!("{error}"));
        for table in ["event", "event_p0000", "stream", "claim", "request", "log_batch", "log_epoch"] {
            for sql in [
                format!("insert into {table} select * from {table}"),
                format!("update {table} set position = position"),
                format!("delete from {table}"),
                format!("truncate {table}"),
                format!("drop table {table}"),
                format!("alter table {table} add column x int"),
            ] {
                // 42703 would mean that the right was there and only the column was not.
                let code = refused(&mut conn, &sql).await;
                assert!(code == "42501" || (code == "42703" && sql.starts_with("update")), "{sql}: {code}");
            }
        }
        assert_eq!(refused(&mut conn, "create table mine (x int)").await, "42501");
        assert_eq!(refused(&mut conn, "create schema mine").await, "42501");
        assert_eq!(refused(&mut conn, "select log_partitions_ensure(1)").await, "42501");
    }
    let mut relay = PgConnection::connect(&database.relay_url).await.unwrap_or_else(|error| panic!("{error}"));
    for sql in
        ["select sealed from event", "select * from event", "select state from stream", "select * from person_key"]
    {
        assert_eq!(refused(&mut relay, sql).await, "42501", "{sql}");
    }
    assert_eq!(read(&mut relay, Log::Auth, 0, 10, None).await.map(|events| events.len()).ok(), Some(1));
}

/// Whether a message published by `from` reaches a subscriber of NATS's administrator.
async fn arrives(admin: &async_nats::Client, from: &async_nats::Client, subject: &str) -> bool {
    let mut subscription =
        admin.subscribe(subject.to_owned()).await.unwrap_or_else(|error| panic!("subscribe {subject}: {error}"));
    admin.flush().await.unwrap_or_else(|error| panic!("{error}"));
    let _ = from.publish(subject.to_owned(), "forged".into()).await;
    let _ = from.flush().await;
    // Whatever the server lets through is behind this in the administrator's own order.
    let _ = admin.publish(subject.to_owned(), "marker".into()).await;
    let first = tokio::time::timeout(Duration::from_secs(5), subscription.next()).await;
    let first = first.ok().flatten().map(|message| message.payload);
    assert!(first.is_some(), "not even the marker arrived on {subject}");
    first.is_some_and(|payload| payload == "forged")
}

/// Whether a message published by the administrator reaches a subscription of `user`.
async fn hears(admin: &async_nats::Client, user: &async_nats::Client, subject: &str) -> bool {
    let Ok(mut subscription) = user.subscribe(subject.to_owned()).await else { return false };
    if user.flush().await.is_err() {
        return false;
    }
    let _ = admin.publish(subject.to_owned(), "overheard".into()).await;
    let _ = admin.flush().await;
    tokio::time::timeout(Duration::from_millis(300), subscription.next()).await.ok().flatten().is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_cannot_forge_events_answer_heads_or_read_another_s_inbox() {
    let stack = servers::start(&[]).await;
    let admin = servers::nats(&stack, "admin").await;
    let finance = servers::nats(&stack, "finance").await;
    for subject in [
        "kisum.auth.v1.access._.session.ended",
        "kisum.core.v1.access._.entitlement.changed",
        "kisum.auth.v1.info._.user.registered",
        "_INBOX.basic.1",
        "$JS.API.STREAM.CREATE.X",
        "$JS.API.CONSUMER.CREATE.AUTH_1",
        "$JS.API.INFO",
    ] {
        assert!(!arrives(&admin, &finance, subject).await, "finance may publish {subject}");
    }
    for subject in
        ["kisum.auth.v1.head", "kisum.core.v1.head", "_INBOX.basic.1", "kisum.auth.v1.info._.user.registered"]
    {
        assert!(!hears(&admin, &finance, subject).await, "finance may read {subject}");
    }
    assert!(hears(&admin, &finance, "kisum.auth.v1.access._.session.ended").await);
    assert!(arrives(&admin, &finance, "kisum.auth.v1.head").await, "finance may ask for heads");

    let head = servers::nats(&stack, "relay-auth-head").await;
    assert!(!arrives(&admin, &head, "kisum.auth.v1.access._.session.ended").await, "a reply cannot be an event");
    let core = servers::nats(&stack, "relay-core").await;
    assert!(!arrives(&admin, &core, "kisum.auth.v1.access._.session.ended").await, "a relay keeps to its log");
    let jetstream = jetstream::new(finance);
    assert!(jetstream.get_stream("AUTH_1").await.is_err());
    stack.stop().await;
}
