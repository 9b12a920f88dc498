//! The relay on a real JetStream: the stream equals the log whatever happens to the relay or to NATS.

use async_nats::jetstream::{self, stream::Stream};
use kisum::local::{Part, Stack};
use kisum_events::{Log, header};
use kisum_log::{EventLog, Loaded, read, relay};
use kisum_tests::{
    counted::{Counted, new_stream, widen},
    servers,
};
use sqlx::PgPool;
use std::time::Duration;
use tokio::{sync::watch, task::JoinHandle};

/// The auth log of a stack, opened as Auth does.
async fn auth_log(stack: &Stack) -> EventLog {
    let run_url = url(stack, "kisum_auth");
    let database = servers::LogDatabase {
        superuser_url: url(stack, "postgres"),
        relay_url: url(stack, "kisum_relay_auth"),
        run_url,
    };
    servers::open(&database).await
}

fn url(stack: &Stack, role: &str) -> String {
    stack
        .addresses_with(|at| at.database(kisum::local::databases::Database::Auth, role))
        .unwrap_or_else(|failure| panic!("{failure}"))
}

async fn append_many(log: &EventLog, count: usize) {
    let writers: Vec<_> = (0..count)
        .map(|_| {
            let log = log.clone();
            tokio::spawn(async move {
                let stream = new_stream();
                log.append(widen(&Loaded::<Counted>::new_stream(stream), "x")).await
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap_or_else(|error| panic!("{error}")).unwrap_or_else(|error| panic!("{error}"));
    }
}

async fn head(log: &EventLog) -> u64 {
    log.head().await.unwrap_or_else(|error| panic!("{error}")).position
}

/// The stream, once it holds everything that the log does.
async fn caught_up(stack: &Stack, log: &EventLog) -> Stream {
    let admin = jetstream::new(servers::nats(stack, "admin").await);
    let head = head(log).await;
    let waiting = async {
        loop {
            if let Ok(stream) = admin.get_stream("AUTH_1").await
                && stream.get_info().await.is_ok_and(|info| info.state.last_sequence >= head)
            {
                return stream;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .unwrap_or_else(|_| panic!("the relay did not catch up"))
}

/// Compares stream and log, byte for byte of the public part.
async fn assert_equal(stream: &Stream, log: &EventLog) {
    let mut conn = log.pool().acquire().await.unwrap_or_else(|error| panic!("{error}"));
    let events = read(&mut conn, Log::Auth, 0, 100_000, None).await.unwrap_or_else(|error| panic!("{error}"));
    let state = stream.get_info().await.unwrap_or_else(|error| panic!("{error}")).state;
    assert_eq!((state.first_sequence, state.messages), (1, events.len() as u64));
    for event in events {
        let message = stream.get_raw_message(event.position).await.unwrap_or_else(|error| panic!("{error}"));
        let body = serde_json::to_vec(&event).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(message.payload.as_ref(), body.as_slice(), "position {}", event.position);
        let header = |name: &str| message.headers.get(name).map(|value| value.as_str().to_owned()).unwrap_or_default();
        assert_eq!(header(header::POSITION), event.position.to_string());
        assert_eq!(header(header::EVENT_ID), event.id.to_string());
        assert_eq!(header(header::EPOCH), "1");
        assert_eq!(message.subject.as_str(), format!("kisum.auth.v1.access._.{}", event.event_type));
    }
}

struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), relay::RelayHalted>>,
}

/// A relay inside this process.
async fn relay_here(stack: &Stack, pool: &PgPool) -> Running {
    let (stop, shutdown) = watch::channel(false);
    let nats = servers::nats(stack, "relay-auth").await;
    let config = relay::RelayConfig { log: Log::Auth, pool: pool.clone(), nats, replicas: 1 };
    Running { stop, task: tokio::spawn(relay::run(config, shutdown)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_killed_and_started_again_changes_nothing() {
    let mut stack = servers::start(&[Part::RelayAuth]).await;
    let log = auth_log(&stack).await;
    for _ in 0..4 {
        let before = head(&log).await;
        let (log_here, burst) = (log.clone(), 400);
        let appending = tokio::spawn(async move { append_many(&log_here, burst).await });
        // In the midst of the burst: the relay is at work.
        while head(&log).await < before + 50 {
            tokio::task::yield_now().await;
        }
        stack.kill(Part::RelayAuth).await;
        appending.await.unwrap_or_else(|error| panic!("{error}"));
        stack.start_part(Part::RelayAuth).await.unwrap_or_else(|failure| panic!("{failure}"));
    }
    let stream = caught_up(&stack, &log).await;
    assert_equal(&stream, &log).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_race_harmlessly_and_a_lost_stream_is_published_again() {
    let stack = servers::start(&[]).await;
    let log = auth_log(&stack).await;
    let pool = servers::pool(&url(&stack, "kisum_relay_auth")).await;
    let (one, two) = (relay_here(&stack, &pool).await, relay_here(&stack, &pool).await);
    append_many(&log, 1000).await;
    let stream = caught_up(&stack, &log).await;
    assert_equal(&stream, &log).await;

    let admin = jetstream::new(servers::nats(&stack, "admin").await);
    admin.delete_stream("AUTH_1").await.unwrap_or_else(|error| panic!("{error}"));
    append_many(&log, 100).await;
    let stream = caught_up(&stack, &log).await;
    assert_equal(&stream, &log).await;
    for relay in [one, two] {
        relay.stop.send_replace(true);
        let ended = relay.task.await.unwrap_or_else(|error| panic!("{error}"));
        assert!(ended.is_ok(), "{ended:?}");
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stray_message_halts_the_relay_which_names_it() {
    let stack = servers::start(&[]).await;
    let log = auth_log(&stack).await;
    let pool = servers::pool(&url(&stack, "kisum_relay_auth")).await;
    let relay = relay_here(&stack, &pool).await;
    append_many(&log, 10).await;
    caught_up(&stack, &log).await;
    let stray = jetstream::new(servers::nats(&stack, "relay-auth").await);
    let ack = stray.publish("kisum.auth.v1.info._.stray.message", "{}".into()).await;
    let ack = ack.unwrap_or_else(|error| panic!("{error}")).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(ack.sequence, 11);
    append_many(&log, 1).await;
    let halted = tokio::time::timeout(Duration::from_secs(20), relay.task).await;
    let halted = halted.unwrap_or_else(|_| panic!("the relay went on")).unwrap_or_else(|error| panic!("{error}"));
    let line = halted.err().map(|halted| halted.to_string()).unwrap_or_default();
    assert!(line.contains("AUTH_1") && line.contains("message 11"), "{line}");
    stack.stop().await;
}
