//! Mail is work that follows from events: a mail server that is closed, silent, rude or half-hearted blocks nothing and
//! loses nothing, and neither does the death of a sender. What strangers can have sent delays nobody else's mail.

use crate::{
    credentials::{Scene, auth_with, somebody},
    telemetry::{metrics, sum},
};
use futures_util::future::join_all;
use kisum::{
    local::{Part, Stack, databases::Database},
    platform::Ask,
};
use kisum_tests::{
    demo::words,
    post::{Manner, PostOffice},
    processes::{Ended, Process},
};
use sqlx::{Connection as _, PgConnection};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

async fn database(stack: &Stack) -> PgConnection {
    let url = stack.addresses_with(|at| at.database(Database::Auth, Database::Auth.runtime_role()));
    let url = url.unwrap_or_else(|failure| panic!("{failure}"));
    PgConnection::connect(&url).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Attempts of each mail that waits.
async fn waiting(conn: &mut PgConnection) -> Vec<i32> {
    let attempts = sqlx::query_scalar("select attempts from mail_work order by recorded_at").fetch_all(conn).await;
    attempts.unwrap_or_else(|error| panic!("{error}"))
}

async fn until(conn: &mut PgConnection, what: &str, holds: impl Fn(&[i32]) -> bool) {
    let becoming = async {
        while !holds(&waiting(&mut *conn).await) {
            tokio::time::sleep(PAUSE).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, becoming).await;
    assert!(waited.is_ok(), "not {what}");
}

/// Mails given up for a reason so far.
async fn given_up(stack: &Stack, reason: &str) -> f64 {
    sum(&metrics(stack, Part::Auth).await, "kisum_mail_given_up_total", reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_mail_server_does_nothing_waits_for_it_and_no_mail_is_lost() {
    let post = PostOffice::closed();
    let stack = auth_with(&post).await;
    let scene = Scene::of(&stack, &post);
    let mut conn = database(&stack).await;
    let email = somebody();
    assert_eq!(words(&scene.register(&email).await), "202");
    until(&mut conn, "tried while nobody listens", |attempts| matches!(attempts, [tried] if *tried > 0)).await;
    let telling = async {
        loop {
            let ready = scene.visitor.auth(None, Ask::get("/ready")).await;
            assert_eq!(ready.status, 200, "nobody needs mail to be ready");
            if ready.body.to_string().contains("the mail server cannot be reached") {
                return;
            }
        }
    };
    assert!(tokio::time::timeout(PATIENCE, telling).await.is_ok(), "/ready does not tell of it");

    post.behaves(Manner::RefusesForNow);
    post.opens();
    let tried = waiting(&mut conn).await[0];
    until(&mut conn, "tried while it refuses", |attempts| matches!(attempts, [again] if *again > tried)).await;
    post.behaves(Manner::Silent);
    let calls = post.calls();
    tokio::time::timeout(PATIENCE, async {
        while post.calls() == calls {
            tokio::time::sleep(PAUSE).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("not tried while it is silent"));
    // Somebody waits for the server now, and nobody else for them.
    assert_eq!(words(&scene.register(&somebody()).await), "202");
    assert_eq!(post.letters(&email), []);

    post.behaves(Manner::TakesAndHangsUp);
    post.until(&email, 1).await;
    post.behaves(Manner::Takes);
    let letters = post.until(&email, 2).await;
    assert_eq!(letters[0], letters[1], "the same mail again, to the letter");
    until(&mut conn, "all sent", <[i32]>::is_empty).await;
    assert_eq!(words(&scene.verify(&letters[0].token()).await), "200");
    let sent = letters.iter().map(|letter| letter.header("Message-ID")).all(|id| !id.is_empty());
    assert!(sent, "{letters:?}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_dies_between_sending_and_noting_so_sends_the_same_mail_again() {
    let post = PostOffice::closed();
    let mut stack = auth_with(&post).await;
    let scene = Scene::of(&stack, &post);
    let mut conn = database(&stack).await;
    let email = somebody();
    assert_eq!(words(&scene.register(&email).await), "202");
    until(&mut conn, "noted", |attempts| attempts.len() == 1).await;
    stack.kill(Part::Auth).await;
    post.opens();
    let doomed = Process::service(&stack, Part::Auth, &[("FAILPOINTS", "mail.sent=return")]);
    let (ended, lines) = doomed.ended().await;
    assert_eq!(ended, Ended::Killed, "{lines:?}");
    assert_eq!(post.letters(&email).len(), 1);
    assert_eq!(waiting(&mut conn).await.len(), 1, "nobody has noted it");
    stack.restart(Part::Auth).await.unwrap_or_else(|failure| panic!("{failure}"));
    let letters = post.until(&email, 2).await;
    assert_eq!(letters[0], letters[1]);
    until(&mut conn, "all sent", <[i32]>::is_empty).await;
    assert_eq!(words(&scene.verify(&letters[1].token()).await), "200");
    assert_eq!(post.letters(&email).len(), 2, "once it is noted it is not sent again");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_senders_send_each_mail_once() {
    let post = PostOffice::closed();
    let stack = auth_with(&post).await;
    let scene = Scene::of(&stack, &post);
    let mut conn = database(&stack).await;
    let others = [(); 2].map(|()| Process::service(&stack, Part::Auth, &[]));
    let people: Vec<String> = (0..10).map(|_| somebody()).collect();
    let registered = join_all(people.iter().map(|email| scene.register(email))).await;
    assert!(registered.iter().all(|answer| answer.status == 202), "{registered:?}");
    until(&mut conn, "all noted", |attempts| attempts.len() == people.len()).await;
    post.opens();
    until(&mut conn, "all sent", <[i32]>::is_empty).await;
    for email in &people {
        assert_eq!(post.letters(email).len(), 1, "{email}");
    }
    for other in others {
        other.kill().await;
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_whom_the_server_does_not_have_is_given_up_and_what_it_refuses_otherwise_is_not() {
    let post = PostOffice::open();
    post.behaves_toward("gone.", Manner::Refuses);
    post.behaves_toward("relay.", Manner::RefusesToRelay);
    let stack = auth_with(&post).await;
    let scene = Scene::of(&stack, &post);
    let mut conn = database(&stack).await;
    let [gone, relay] = ["gone.ada@example.org", "relay.ada@example.org"];
    for email in [gone, relay] {
        assert_eq!(words(&scene.register(email).await), "202");
    }
    until(
        &mut conn,
        "given up the one and tried the other twice",
        |attempts| matches!(attempts, [tried] if *tried > 1),
    )
    .await;
    assert_eq!((post.named(gone), post.letters(gone).len()), (1, 0), "named once and never again");
    assert!(given_up(&stack, "undeliverable").await >= 1.0);
    let email = somebody();
    assert_eq!(words(&scene.register(&email).await), "202");
    post.until(&email, 1).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_arrives_while_a_server_is_slow_with_what_strangers_had_sent() {
    const STRANGERS: usize = 40;
    let post = PostOffice::open();
    post.behaves_toward("slow.", Manner::Hangs);
    post.behaves_toward("gone.", Manner::Refuses);
    let stack = auth_with(&post).await;
    let scene = Scene::of(&stack, &post);
    let mut conn = database(&stack).await;
    let email = somebody();
    assert_eq!(words(&scene.register(&email).await), "202");
    assert_eq!(words(&scene.verify(&post.until(&email, 1).await[0].token()).await), "200");
    let strangers: Vec<String> = (0..STRANGERS).map(|number| format!("slow.{number}@example.org")).collect();
    // A few at a time: each is a hash, and this is about mails.
    for few in strangers.chunks(4) {
        let registered = join_all(few.iter().map(|email| scene.register(email))).await;
        assert!(registered.iter().all(|answer| answer.status == 202), "{registered:?}");
    }
    until(&mut conn, "noted", |attempts| attempts.len() == STRANGERS).await;
    for number in 0..3 {
        assert_eq!(words(&scene.register(&format!("gone.{number}@example.org")).await), "202");
    }
    assert_eq!(words(&scene.forgot(&email).await), "202");
    post.subject(&email, "Set a new password").await;
    // Each of them takes a sender ten seconds: had the reset waited behind them, none would be left untried.
    let untried = waiting(&mut conn).await.iter().filter(|attempts| **attempts == 0).count();
    assert!(untried > 0, "the strangers' mails went first");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_cannot_be_read_stops_nobody_else_s_mail_and_gets_theirs_once_they_can() {
    let post = PostOffice::closed();
    let stack = auth_with(&post).await;
    let scene = Scene::of(&stack, &post);
    let mut conn = database(&stack).await;
    let (unreadable, other) = (somebody(), somebody());
    assert_eq!(words(&scene.register(&unreadable).await), "202");
    until(&mut conn, "noted", |attempts| attempts.len() == 1).await;
    let superuser = stack.addresses_with(|at| at.database(Database::Auth, "postgres"));
    let superuser = superuser.unwrap_or_else(|failure| panic!("{failure}"));
    let mut superuser = PgConnection::connect(&superuser).await.unwrap_or_else(|error| panic!("{error}"));
    let (stream, state): (String, String) =
        sqlx::query_as("select name, state from stream where name = (select 'user-' || person from mail_work)")
            .fetch_one(&mut superuser)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
    let mut put = async |state: &str| {
        let put = sqlx::query("update stream set state = $2 where name = $1").bind(&stream).bind(state);
        let done = put.execute(&mut superuser).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(done.rows_affected(), 1);
    };
    put(r#"{"status":"of a later program"}"#).await;
    post.opens();
    assert_eq!(words(&scene.register(&other).await), "202");
    post.until(&other, 1).await;
    until(&mut conn, "tried again and again", |attempts| matches!(attempts, [tried] if *tried > 1)).await;
    let page = metrics(&stack, Part::Auth).await;
    assert!(sum(&page, "kisum_mail_failures_total", "unreadable") >= 1.0, "{page}");
    assert_eq!(post.letters(&unreadable), []);
    put(&state).await;
    post.until(&unreadable, 1).await;
    stack.stop().await;
}

/// Whoever floods strangers with registrations takes room from nobody with an account.
#[tokio::test(flavor = "multi_thread")]
async fn of_mails_to_strangers_so_many_may_wait_and_others_are_not_among_them() {
    /// `STRANGERS_MAX` in `api/src/auth/mail/work.rs`.
    const MAX: i32 = 5_000;
    let post = PostOffice::open();
    let stack = auth_with(&post).await;
    let scene = Scene::of(&stack, &post);
    let mut conn = database(&stack).await;
    let email = somebody();
    assert_eq!(words(&scene.register(&email).await), "202");
    assert_eq!(words(&scene.verify(&post.until(&email, 1).await[0].token()).await), "200");
    // They are due in a far future, so that they go on waiting.
    let filled = sqlx::query(
        "insert into mail_work (event_id, person, kind, recorded_at, until, due_at, lane)
         select gen_random_uuid(), gen_random_uuid(), 'email_verification', 1, 9e15::bigint, 9e15::bigint, 1
         from generate_series(1, $1)",
    );
    filled.bind(MAX).execute(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    let stranger = somebody();
    assert_eq!(words(&scene.register(&stranger).await), "202", "whoever registers is not told");
    assert_eq!(words(&scene.forgot(&email).await), "202");
    // The follower has come to it, and so past the registration before it.
    post.subject(&email, "Set a new password").await;
    assert_eq!(post.letters(&stranger), []);
    assert!(given_up(&stack, "too_many").await >= 1.0);
    let emptied = sqlx::query("delete from mail_work where due_at = 9e15::bigint").execute(&mut conn).await;
    emptied.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(words(&scene.register(&stranger).await), "202");
    post.until(&stranger, 1).await;
    stack.stop().await;
}
