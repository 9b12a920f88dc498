//! A log beside its stream: what a relay makes of the one out of the other.

use crate::{
    counted::{Counted, new_stream, widen},
    servers::{self, LogDatabase},
};
use async_nats::jetstream::{self, stream::Stream};
use futures_util::StreamExt as _;
use kisum::local::{Part, Stack};
use kisum_events::{Envelope, Log, header, subject_for};
use kisum_log::{EventLog, Loaded, read};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Name of the stream of the auth log's first epoch.
pub const NAME: &str = "AUTH_1";
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(5);
const ASKED_AT_ONCE: usize = 64;

/// The database of a stack's auth log.
pub fn auth_database(stack: &Stack) -> LogDatabase {
    database(stack, Log::Auth)
}

/// The database of one of a stack's logs.
pub fn database(stack: &Stack, log: Log) -> LogDatabase {
    let database = servers::database_of(log);
    let url = |role: &str| {
        stack.addresses_with(|at| at.database(database, role)).unwrap_or_else(|failure| panic!("{failure}"))
    };
    LogDatabase {
        superuser_url: url("postgres"),
        run_url: url(database.runtime_role()),
        relay_url: url(database.relay_role().unwrap_or_default()),
    }
}

/// The auth log of a stack, opened as Auth does.
pub async fn auth_log(stack: &Stack) -> EventLog {
    servers::open(&auth_database(stack)).await
}

/// `host:port` of a stack's server.
pub fn address(stack: &Stack, part: Part) -> String {
    stack.ground().ports.address(part.name())
}

/// Makes so many appends of one event, all at once.
pub async fn append_many(log: &EventLog, count: usize) {
    let appending: Vec<_> = (0..count)
        .map(|_| {
            let log = log.clone();
            tokio::spawn(async move { log.append(widen(&Loaded::<Counted>::new_stream(new_stream()), "x")).await })
        })
        .collect();
    for one in appending {
        one.await.unwrap_or_else(|error| panic!("{error}")).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Where the log ends.
pub async fn head(log: &EventLog) -> u64 {
    log.head().await.unwrap_or_else(|error| panic!("{error}")).position
}

/// JetStream as its administrator.
pub async fn admin(stack: &Stack) -> jetstream::Context {
    jetstream::new(servers::nats(stack, "admin").await)
}

/// The stream, once its last sequence is the log's head.
pub async fn caught_up(stack: &Stack, log: &EventLog) -> Stream {
    let (admin, head) = (admin(stack).await, head(log).await);
    reached(&admin, head).await
}

/// The stream, once it holds a message of that sequence.
pub async fn reached(admin: &jetstream::Context, sequence: u64) -> Stream {
    let mut last = 0;
    let waiting = async {
        loop {
            if let Ok(stream) = admin.get_stream(NAME).await {
                last = stream.cached_info().state.last_sequence;
                if last >= sequence {
                    return stream;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("the relay did not catch up: the stream ends at {last}, not {sequence}"))
}

/// Every event of the log, in order.
pub async fn events(log: &EventLog) -> Vec<Envelope> {
    let mut conn = log.pool().acquire().await.unwrap_or_else(|error| panic!("{error}"));
    let mut events = Vec::new();
    loop {
        let next = read(&mut conn, Log::Auth, events.len() as u64, 1000, None).await;
        let next = next.unwrap_or_else(|error| panic!("{error}"));
        if next.is_empty() {
            return events;
        }
        events.extend(next);
    }
}

/// NATS's folder, and JetStream's store in it.
pub fn store(stack: &Stack) -> (PathBuf, PathBuf) {
    let ground = stack.ground();
    let folder = ground.account.folder(stack.layout().root(), "nats").unwrap_or_else(|failure| panic!("{failure}"));
    let store = folder.join("jetstream");
    assert!(store.is_dir(), "JetStream keeps nothing in {}", store.display());
    (folder, store)
}

/// Copies a folder with its owner and rights.
pub fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.is_ok_and(|status| status.success()), "copying {}", from.display());
}

/// Compares stream and log, byte for byte of the public part; nothing else may stand in the stream.
pub async fn assert_equal(stream: &Stream, log: &EventLog) {
    let events = events(log).await;
    let state = stream.get_info().await.unwrap_or_else(|error| panic!("{error}")).state;
    let count = events.len() as u64;
    assert_eq!((state.first_sequence, state.last_sequence, state.messages), (1, count, count), "stream and log");
    let mut comparing = futures_util::stream::iter(&events)
        .map(|event| async move {
            let message = stream.get_raw_message(event.position).await.unwrap_or_else(|error| panic!("{error}"));
            let body = serde_json::to_vec(event).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(message.payload.as_ref(), body.as_slice(), "position {}", event.position);
            let field = |name| message.headers.get(name).map(|value| value.as_str().to_owned()).unwrap_or_default();
            assert_eq!(field(header::POSITION), event.position.to_string());
            assert_eq!(field(header::EVENT_ID), event.id.to_string());
            assert_eq!(field(header::EPOCH), "1");
            assert_eq!(field(header::PREVIOUS_ACCESS_POSITION), event.previous_access_position.to_string());
            assert_eq!(field(header::EFFECT), event.effect.name());
            let subject = subject_for(event.log, event.effect, event.company_id, &event.event_type);
            assert_eq!(message.subject.as_str(), subject);
        })
        .buffer_unordered(ASKED_AT_ONCE);
    while comparing.next().await.is_some() {}
}
