//! Following JetStream, with the log's relay behind it; and following pages and bus of a real log.

use super::{Dice, LOG, PATIENCE, VIEWS, append_at_once, at, followed, held, of_class, positions};
use async_nats::{
    HeaderMap,
    jetstream::{self, Context, stream},
};
use kisum::local::{Part, Stack, databases::Database};
use kisum_events::{Class, Cursor, Position, header};
use kisum_log::{EventLog, Follow, FollowStream, FollowStreamError};
use kisum_tests::servers::{self, LogDatabase};

async fn auth_log(stack: &Stack) -> EventLog {
    let url = |role| stack.addresses_with(|at| at.database(Database::Auth, role)).unwrap_or_else(|f| panic!("{f}"));
    let superuser_url = url("postgres");
    servers::open(&LogDatabase { superuser_url, run_url: url("kisum_auth"), relay_url: url("kisum_relay_auth") }).await
}

async fn stream_of(stack: &Stack, after: Cursor, class: Option<Class>) -> FollowStream {
    let follow = FollowStream::new(servers::nats(stack, "admin").await, LOG, after);
    match class {
        Some(class) => follow.of_class(class),
        None => follow,
    }
}

/// What a follower of the stream hands out until it has seen so many; what passes is waited out.
async fn streamed(follow: &mut FollowStream, expected: usize) -> Vec<Position> {
    let mut seen = Vec::new();
    let following = async {
        while seen.len() < expected {
            match follow.next().await {
                Ok(events) => seen.extend(positions(&events)),
                // The relay is about to make the stream, or the server is starting.
                Err(FollowStreamError::Interrupted(_) | FollowStreamError::Missing { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, following).await.is_ok();
    assert!(in_time, "{} of {expected}, at {:?}", seen.len(), follow.at());
    seen
}

async fn error_of(follow: &mut FollowStream) -> FollowStreamError {
    let failing = async {
        loop {
            match follow.next().await {
                Ok(_) | Err(FollowStreamError::Interrupted(_)) => {}
                Err(error) => return error,
            }
        }
    };
    tokio::time::timeout(PATIENCE, failing).await.unwrap_or_else(|_| panic!("no error, at {:?}", follow.at()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_followed_from_any_cursor_and_through_restarts_of_nats_and_so_is_the_bus() {
    let mut stack = servers::start(&[Part::RelayAuth]).await;
    let log = auth_log(&stack).await;
    append_at_once(&log, 16, 10).await;
    let mut dice = Dice(3);
    let end = log.head().await.unwrap_or_else(|error| panic!("{error}")).position;
    for view in VIEWS {
        for after in [0, dice.below(end), dice.below(end), end - 1] {
            let expected = held(&log, after, view).await;
            let mut follow = stream_of(&stack, at(1, after), view).await;
            assert_eq!(streamed(&mut follow, expected.len()).await, expected, "behind {after}, {view:?}");
        }
    }

    let mut following = Vec::new();
    for view in VIEWS {
        let mut follow = stream_of(&stack, at(1, 0), view).await;
        let first = held(&log, 0, view).await;
        assert_eq!(streamed(&mut follow, first.len()).await, first);
        let tail = Follow::new(log.pool().clone(), LOG, at(1, end)).with_bus(servers::nats(&stack, "auth").await);
        following.push((view, follow, of_class(tail, view)));
    }
    let writing = tokio::spawn({
        let log = log.clone();
        async move { append_at_once(&log, 64, 20).await }
    });
    for _ in 0..2 {
        let before = log.head().await.unwrap_or_else(|error| panic!("{error}")).position;
        while !writing.is_finished()
            && log.head().await.unwrap_or_else(|error| panic!("{error}")).position < before + 200
        {
            tokio::task::yield_now().await;
        }
        stack.restart(Part::Nats).await.unwrap_or_else(|failure| panic!("{failure}"));
    }
    writing.await.unwrap_or_else(|error| panic!("{error}"));
    let last = log.head().await.unwrap_or_else(|error| panic!("{error}")).position;
    for (view, mut follow, mut tail) in following {
        let expected = held(&log, end, view).await;
        assert_eq!(streamed(&mut follow, expected.len()).await, expected, "JetStream, {view:?}");
        assert_eq!(followed(&mut tail, last, expected.len()).await, expected, "Postgres and bus, {view:?}");
    }
    stack.stop().await;
}

/// A stream as a relay makes it.
async fn make_stream(jetstream: &Context, name: &str, subjects: Vec<String>) {
    let config = stream::Config { name: name.to_owned(), subjects, ..stream::Config::default() };
    jetstream.create_stream(config).await.unwrap_or_else(|error| panic!("{error}"));
}

async fn say(jetstream: &Context, headers: &[(&str, &str)], body: &str) {
    let mut said = HeaderMap::new();
    for (name, value) in headers {
        said.insert(*name, *value);
    }
    let subject = "kisum.auth.v1.access._.counted.widened";
    let ack = jetstream.publish_with_headers(subject, said, body.to_owned().into()).await;
    ack.unwrap_or_else(|error| panic!("{error}")).await.unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_missing_too_short_over_or_not_the_logs_is_an_error_of_its_own() {
    let stack = servers::start(&[]).await;
    let admin = jetstream::new(servers::nats(&stack, "admin").await);
    let mut follow = stream_of(&stack, at(1, 0), None).await;
    let error = error_of(&mut follow).await;
    assert!(matches!(&error, FollowStreamError::Missing { stream } if stream == "AUTH_1"), "{error}");

    make_stream(&admin, "AUTH_1", vec!["kisum.auth.v1.access.>".to_owned(), "kisum.auth.v1.info.>".to_owned()]).await;
    let error = error_of(&mut stream_of(&stack, at(1, 5), None).await).await;
    assert!(matches!(error, FollowStreamError::BeyondEnd { cursor: 5, end: 0 }), "{error}");

    // The one that found nothing hears what comes; what does not say the place that it has is not the log's.
    let relay = jetstream::new(servers::nats(&stack, "relay-auth").await);
    let event = |position: Position| {
        let stream = kisum_events::StreamName::from_stored("counted-1".to_owned());
        let said = ("counted.widened", kisum_events::Effect::Widens, serde_json::json!({ "note": "x" }));
        let event = kisum_tests::owner::envelope(LOG, (position, position - 1), &stream, said);
        serde_json::to_string(&event).unwrap_or_else(|error| panic!("{error}"))
    };
    say(&relay, &[(header::EPOCH, "1"), (header::POSITION, "1")], &event(1)).await;
    assert_eq!(streamed(&mut follow, 1).await, [1]);
    let wrong = [
        (vec![(header::EPOCH, "1"), (header::POSITION, "7")], event(2), "its Kisum-Position is '7', not 2"),
        (vec![(header::EPOCH, "2"), (header::POSITION, "3")], event(3), "its Kisum-Epoch is '2', not 1"),
        (vec![], event(4), "its Kisum-Epoch is '', not 1"),
        (vec![(header::EPOCH, "1"), (header::POSITION, "5")], event(6), "it is event 6 of the auth log"),
        (vec![(header::EPOCH, "1"), (header::POSITION, "6")], "{}".to_owned(), "it is no event"),
    ];
    for (number, (headers, body, what)) in (2..).zip(wrong) {
        say(&relay, &headers, &body).await;
        let error = error_of(&mut stream_of(&stack, at(1, number - 1), None).await).await.to_string();
        let expected = format!("message {number} of stream AUTH_1 is not this log's: {what}");
        assert!(error.starts_with(&expected), "{error}");
    }
    let error = error_of(&mut follow).await.to_string();
    assert!(error.starts_with("message 2 of stream AUTH_1"), "{error}");

    // A quiet follower notices that its epoch is over.
    let mut quiet = stream_of(&stack, at(1, 6), None).await;
    assert!(tokio::time::timeout(std::time::Duration::from_secs(2), quiet.next()).await.is_err());
    make_stream(&admin, "AUTH_2", vec!["elsewhere".to_owned()]).await;
    let error = error_of(&mut quiet).await;
    assert!(matches!(error, FollowStreamError::OtherEpoch { now: 2, cursor: 1 }), "{error}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_lost_is_followed_on_once_it_is_published_again() {
    let stack = servers::start(&[Part::RelayAuth]).await;
    let log = auth_log(&stack).await;
    append_at_once(&log, 4, 4).await;
    let end = log.head().await.unwrap_or_else(|error| panic!("{error}")).position;
    let mut follow = stream_of(&stack, at(1, 0), None).await;
    let expected = held(&log, 0, None).await;
    assert_eq!(streamed(&mut follow, expected.len()).await, expected);
    let admin = jetstream::new(servers::nats(&stack, "admin").await);
    admin.delete_stream("AUTH_1").await.unwrap_or_else(|error| panic!("{error}"));
    let error = error_of(&mut follow).await;
    // The relay makes it again: until then it is missing, and then it is shorter for a while.
    assert!(matches!(error, FollowStreamError::Missing { .. } | FollowStreamError::BeyondEnd { .. }), "{error}");
    append_at_once(&log, 4, 4).await;
    let expected = held(&log, end, None).await;
    let mut seen = Vec::new();
    while seen.len() < expected.len() {
        match tokio::time::timeout(PATIENCE, follow.next()).await.unwrap_or_else(|_| panic!("at {:?}", follow.at())) {
            Ok(events) => seen.extend(positions(&events)),
            Err(FollowStreamError::Different { .. } | FollowStreamError::OtherEpoch { .. }) => {
                panic!("it is the log's")
            }
            Err(_) => {}
        }
    }
    assert_eq!(seen, expected);
    stack.stop().await;
}
