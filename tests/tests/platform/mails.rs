//! Mail is work that follows from events: a mail server that is closed, silent, rude or half-hearted blocks nothing and
//! loses nothing, and neither does the death of a sender.

use crate::credentials::{Scene, auth_with, somebody};
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

    post.behaves(Manner::Refuses);
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
    let registered = futures_util::future::join_all(people.iter().map(|email| scene.register(email))).await;
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
