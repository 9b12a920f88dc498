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
        for (table, column) in [
            ("event", "position"),
            ("event_p0000", "position"),
            ("stream", "position"),
            ("claim", "holder"),
            ("request", "last_position"),
            ("log_batch", "access_position"),
            ("log_epoch", "reason"),
        ] {
            for sql in [
                format!("insert into {table} default values"),
                format!("update {table} set {column} = default"),
                format!("delete from {table}"),
                format!("truncate {table}"),
                format!("drop table {table}"),
                format!("alter table {table} add column x int"),
            ] {
                assert_eq!(refused(&mut conn, &sql).await, "42501", "{sql}");
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

/// A user's connection, and a subject that it may subscribe to.
struct User {
    nats: async_nats::Client,
    may_hear: &'static str,
}

/// Returns once the server has carried out everything that the user sent: a subscription sent last is in force.
async fn settled(admin: &async_nats::Client, user: &User) {
    let subscription = user.nats.subscribe(user.may_hear).await;
    let mut subscription = subscription.unwrap_or_else(|error| panic!("{}: {error}", user.may_hear));
    let heard = async {
        loop {
            let _ = admin.publish(user.may_hear, "settled".into()).await;
            let _ = admin.flush().await;
            let next = tokio::time::timeout(Duration::from_millis(20), subscription.next()).await;
            if matches!(next, Ok(Some(message)) if message.payload == "settled") {
                return;
            }
        }
    };
    let limit = tokio::time::timeout(Duration::from_secs(10), heard).await;
    assert!(limit.is_ok(), "{} may not be heard", user.may_hear);
}

/// Waits for the message `awaited`; returns whether `forged` arrived before it.
async fn forged_before(subscription: &mut async_nats::Subscriber, awaited: &str, subject: &str) -> bool {
    let mut forged = false;
    loop {
        let next = tokio::time::timeout(Duration::from_secs(10), subscription.next()).await;
        match next.ok().flatten().map(|message| message.payload) {
            Some(payload) if payload == awaited => return forged,
            Some(payload) => forged = forged || payload == "forged",
            None => panic!("not even {awaited} arrived on {subject}"),
        }
    }
}

/// Whether a message published by `from` reaches a subscriber of NATS's administrator.
async fn arrives(admin: &async_nats::Client, from: &User, subject: &str) -> bool {
    let mut subscription =
        admin.subscribe(subject.to_owned()).await.unwrap_or_else(|error| panic!("subscribe {subject}: {error}"));
    // A flush only writes; that the server has the subscription is known by a message that came through it.
    let _ = admin.publish(subject.to_owned(), "ready".into()).await;
    forged_before(&mut subscription, "ready", subject).await;
    let _ = from.nats.publish(subject.to_owned(), "forged".into()).await;
    settled(admin, from).await;
    // Whatever the server let through stands before this.
    let _ = admin.publish(subject.to_owned(), "marker".into()).await;
    forged_before(&mut subscription, "marker", subject).await
}

/// Whether a message published by the administrator reaches a subscription of `user`.
async fn hears(admin: &async_nats::Client, user: &User, subject: &str) -> bool {
    let subscription = user.nats.subscribe(subject.to_owned()).await;
    let mut subscription = subscription.unwrap_or_else(|error| panic!("{subject}: {error}"));
    settled(admin, user).await;
    let _ = admin.publish(subject.to_owned(), "overheard".into()).await;
    // What the server sends to one connection arrives in order: behind this nothing is on its way any more.
    settled(admin, user).await;
    tokio::time::timeout(Duration::from_millis(50), subscription.next()).await.ok().flatten().is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_cannot_forge_events_answer_heads_or_read_another_s_inbox() {
    let stack = servers::start(&[]).await;
    let admin = servers::nats(&stack, "admin").await;
    let user = async |name: &str, may_hear| User { nats: servers::nats(&stack, name).await, may_hear };
    let finance = user("finance", "_INBOX.finance.settled").await;
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

    let head = user("relay-auth-head", "kisum.auth.v1.head").await;
    assert!(!arrives(&admin, &head, "kisum.auth.v1.access._.session.ended").await, "a reply cannot be an event");
    let core = user("relay-core", "_INBOX.relay-core.settled").await;
    assert!(!arrives(&admin, &core, "kisum.auth.v1.access._.session.ended").await, "a relay keeps to its log");
    let jetstream = jetstream::new(finance.nats);
    assert!(jetstream.get_stream("AUTH_1").await.is_err());
    stack.stop().await;
}
