//! A stream that is not the log: the relay halts with exit code 1, names what differs, and says what to do. It never
//! "repairs" what it does not understand.

use async_nats::{
    HeaderMap,
    jetstream::{self, stream::Config},
};
use kisum::local::{Stack, child::Signal};
use kisum_events::{Envelope, header, subject_for};
use kisum_log::EventLog;
use kisum_tests::{
    processes::{Ended, Process},
    servers,
    streams::{self, append_many, auth_log, caught_up},
};

/// The relay ends by itself with code 1 and a line that says all of this, and what to do.
async fn assert_halts(relay: Process, says: &[&str]) {
    let (ended, lines) = relay.ended().await;
    let line = lines.iter().find(|line| line.contains("the relay has halted")).cloned().unwrap_or_default();
    assert_eq!(ended, Ended::With(1), "{lines:?}");
    for words in says.iter().chain(&[streams::NAME, "as the NATS administrator, delete it"]) {
        assert!(line.contains(words), "'{words}' is not said: {line}");
    }
}

/// Publishes as somebody who has got hold of the relay's password.
async fn publish(stack: &Stack, subject: String, headers: HeaderMap, body: Vec<u8>) -> u64 {
    let jetstream = jetstream::new(servers::nats(stack, "relay-auth").await);
    let sent = jetstream.publish_with_headers(subject, headers, body.into()).await;
    sent.unwrap_or_else(|error| panic!("{error}")).await.unwrap_or_else(|error| panic!("{error}")).sequence
}

async fn publish_stray(stack: &Stack) -> u64 {
    let subject = "kisum.auth.v1.info._.stray.message".to_owned();
    publish(stack, subject, HeaderMap::new(), b"{}".to_vec()).await
}

/// Publishes an event as the relay would, with another body if given.
async fn publish_as_relay(stack: &Stack, event: &Envelope, body: Option<Vec<u8>>) -> u64 {
    let mut headers = HeaderMap::new();
    headers.insert(header::EVENT_ID, event.id.to_string());
    headers.insert(header::POSITION, event.position.to_string());
    headers.insert(header::EPOCH, "1");
    headers.insert(header::PREVIOUS_ACCESS_POSITION, event.previous_access_position.to_string());
    headers.insert(header::EFFECT, event.effect.name());
    let subject = subject_for(event.log, event.effect, event.company_id, &event.event_type);
    let body = body.unwrap_or_else(|| serde_json::to_vec(event).unwrap_or_else(|error| panic!("{error}")));
    publish(stack, subject, headers, body).await
}

/// A stack whose stream holds ten events, as its log does, and no relay any more.
async fn ten_events() -> (Stack, EventLog) {
    let stack = servers::start(&[]).await;
    let log = auth_log(&stack).await;
    let relay = Process::relay(&stack, &[]);
    append_many(&log, 10).await;
    caught_up(&stack, &log).await;
    relay.stopped_in_order().await;
    (stack, log)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stray_message_halts_the_relay_at_work() {
    let (stack, log) = ten_events().await;
    let relay = Process::relay(&stack, &[]);
    append_many(&log, 1).await;
    caught_up(&stack, &log).await;
    assert_eq!(publish_stray(&stack).await, 12);
    append_many(&log, 1).await;
    assert_halts(relay, &["its message 12 is event ''", "kisum.auth.v1.info._.stray.message"]).await;
    // Nor does another one start.
    assert_halts(Process::relay(&stack, &[]), &["its message 12 is event ''"]).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stray_message_that_slipped_into_a_pipeline_is_named_though_good_ones_follow_it() {
    let (stack, log) = ten_events().await;
    let relay = Process::relay(&stack, &[]);
    append_many(&log, 1).await;
    caught_up(&stack, &log).await;
    // While this relay is frozen: what another one had sent already follows the stray message, for each message names
    // only the sequence before it.
    relay.signal(Signal::Stop);
    append_many(&log, 20).await;
    assert_eq!(publish_stray(&stack).await, 12);
    for event in &streams::events(&log).await[12..25] {
        assert_eq!(publish_as_relay(&stack, event, None).await, event.position);
    }
    relay.signal(Signal::Continue);
    assert_halts(relay, &["its message 12 is event ''"]).await;
    // One that starts now sees it as well, though the last message is right.
    assert_halts(Process::relay(&stack, &[]), &["its message 12 is event ''"]).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_stands_in_the_stream_twice_halts_the_relay() {
    let (stack, log) = ten_events().await;
    let relay = Process::relay(&stack, &[]);
    let events = streams::events(&log).await;
    append_many(&log, 1).await;
    caught_up(&stack, &log).await;
    assert_eq!(publish_as_relay(&stack, &events[9], None).await, 12);
    append_many(&log, 1).await;
    assert_halts(relay, &["its message 12 is event", &events[9].id.to_string(), "of position '10'"]).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_longer_than_the_log_halts_the_relay() {
    let (stack, log) = ten_events().await;
    let mut invented = streams::events(&log).await[9].clone();
    invented.position = 11;
    assert_eq!(publish_as_relay(&stack, &invented, None).await, 11);
    let says = ["its last sequence is 11, but the log ends at position 10", "its message 11 is event"];
    assert_halts(Process::relay(&stack, &[]), &says).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_with_another_body_halts_the_relay() {
    let (stack, log) = ten_events().await;
    append_many(&log, 1).await;
    let event = streams::events(&log).await[10].clone();
    let body = serde_json::to_vec(&event).unwrap_or_else(|error| panic!("{error}"));
    let forged = String::from_utf8_lossy(&body).replace(r#""note":"x""#, r#""note":"y""#).into_bytes();
    assert_ne!(forged, body);
    assert_eq!(publish_as_relay(&stack, &event, Some(forged)).await, 11);
    assert_halts(Process::relay(&stack, &[]), &["its message 11 is event", "their bodies differ"]).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_first_sequence_is_not_1_halts_the_relay() {
    let (stack, log) = ten_events().await;
    let admin = streams::admin(&stack).await;
    admin.delete_stream(streams::NAME).await.unwrap_or_else(|error| panic!("{error}"));
    let subjects = vec!["kisum.auth.v1.access.>".to_owned(), "kisum.auth.v1.info.>".to_owned()];
    let purgeable = Config { name: streams::NAME.to_owned(), subjects, ..Config::default() };
    let stream = admin.create_stream(purgeable).await.unwrap_or_else(|error| panic!("{error}"));
    for event in streams::events(&log).await {
        publish_as_relay(&stack, &event, None).await;
    }
    // Some left, then none.
    for (sequence, says) in [(4, "it holds 7 messages from sequence 4 to 10"), (11, "it holds 0 messages")] {
        stream.purge().sequence(sequence).await.unwrap_or_else(|error| panic!("{error}"));
        assert_halts(Process::relay(&stack, &[]), &[says]).await;
    }
    stack.stop().await;
}
