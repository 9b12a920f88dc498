//! `kill -9` at the four moments where what is known and what has happened differ, again and again: nothing is lost,
//! nothing is there twice, and the stream becomes the log.

use kisum_events::Log;
use kisum_log::{EventLog, read_head, verify};
use kisum_tests::{
    processes::{Ended, Process},
    seeded::Seeded,
    servers, streams,
    writer::{self, Acknowledged, Task},
};
use std::collections::{BTreeMap, BTreeSet};

const KILLS: u64 = 20;
/// New requests in each run of a writer.
const REQUESTS: u64 = 200;
/// A run of a writer dies at one of its first so many calls; its requests need more.
const CALLS: u64 = 12;
/// The first call of each of the two connections only prepares the statement.
const FIRST_CALLS: u64 = 2;

/// What writers have said, and what nobody has heard of yet.
#[derive(Default)]
struct Heard {
    acknowledged: BTreeMap<u64, Acknowledged>,
    /// Requests that were made before, though no writer had said so.
    made_unheard: usize,
    made: u64,
}

impl Heard {
    fn listen(&mut self, lines: &[String]) {
        for line in lines {
            let one = Acknowledged::read(line).unwrap_or_else(|| panic!("the writer said: {line}"));
            self.made_unheard += usize::from(one.duplicate);
            let earlier = self.acknowledged.insert(one.number, one);
            assert!(earlier.is_none(), "request {} was not to be made again", one.number);
        }
    }

    /// The next run: what nobody has heard of again, and some more.
    fn next(&mut self, seed: u64, count: u64) -> Task {
        let retry = (0..self.made).filter(|number| !self.acknowledged.contains_key(number)).collect();
        let task = Task { seed, from: self.made, count, writers: 16, streams: 24, retry };
        self.made += count;
        task
    }
}

/// Every acknowledged request's events are where it was said, and nothing else is in the log.
async fn assert_exactly_once(log: &EventLog, task: &Task, heard: &Heard) {
    let events = streams::events(log).await;
    for (expected, event) in (1..).zip(&events) {
        assert_eq!(event.position, expected, "a hole");
    }
    let mut claimed = BTreeSet::new();
    for one in heard.acknowledged.values() {
        assert_eq!(one.last - one.first + 1, writer::event_count(one.number), "request {}", one.number);
        for (ordinal, position) in (one.first..=one.last).enumerate() {
            let event = &events[usize::try_from(position - 1).unwrap_or_else(|error| panic!("{error}"))];
            assert_eq!(event.meta.request_id, writer::request(task.seed, one.number), "position {position}");
            assert_eq!(event.data.get(), format!(r#"{{"note":"{}.{ordinal}"}}"#, one.number));
            assert_eq!(event.stream, writer::stream(task, one.number));
            assert!(claimed.insert(position), "position {position} was given twice");
        }
    }
    assert_eq!(claimed.len(), events.len(), "events that nobody acknowledged");
    let mut conn = log.pool().acquire().await.unwrap_or_else(|error| panic!("{error}"));
    let verified = verify(&mut conn, |_| {}).await.unwrap_or_else(|error| panic!("{error}"));
    let head = read_head(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((verified.events, head.position), (events.len() as u64, events.len() as u64));
}

/// Kills writers at a fail point; returns how many requests were found made, of which nobody had heard.
async fn writers_killed_at(point: &str, seed: u64) -> usize {
    let stack = servers::start(&[]).await;
    let database = streams::auth_database(&stack);
    let log = servers::open(&database).await;
    assert_eq!(log.log(), Log::Auth);
    let relay = Process::relay(&stack, &[]);
    let (mut chance, mut heard) = (Seeded::new(seed), Heard::default());
    let binary = env!("CARGO_BIN_EXE_kisum-writer");
    for kill in 0..KILLS {
        let failpoints = format!("{point}={}*off->return", FIRST_CALLS + chance.below(CALLS));
        let task = heard.next(seed, REQUESTS);
        let (ended, lines) = Process::writer(&stack, binary, &database.run_url, &task, &failpoints).ended().await;
        assert_eq!(ended, Ended::Killed, "seed {seed}, kill {kill}, {failpoints}: {:?}", lines.last());
        heard.listen(&lines);
    }
    let task = heard.next(seed, 1);
    let (ended, lines) = Process::writer(&stack, binary, &database.run_url, &task, "").ended().await;
    assert_eq!(ended, Ended::With(0), "{:?}", lines.last());
    heard.listen(&lines);
    assert_eq!(heard.acknowledged.len() as u64, heard.made, "every request was made at last");
    assert_exactly_once(&log, &task, &heard).await;
    let stream = streams::caught_up(&stack, &log).await;
    streams::assert_equal(&stream, &log).await;
    relay.kill().await;
    stack.stop().await;
    heard.made_unheard
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_call_nothing_is_half_done() {
    writers_killed_at("append.before_call", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_with_the_call_sent_and_the_answer_unread_each_append_is_there_once() {
    let unheard = writers_killed_at("append.call_sent", 2).await;
    assert!(unheard as u64 >= KILLS, "only {unheard} appends were made after their senders' death");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_with_the_answer_read_and_no_caller_told_each_append_is_there_once() {
    let unheard = writers_killed_at("append.answer_read", 3).await;
    assert!(unheard as u64 >= KILLS, "a kill left {unheard} appends unheard of: this proved nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_killed_between_publish_and_acknowledgement_publishes_each_event_once() {
    let stack = servers::start(&[]).await;
    let log = streams::auth_log(&stack).await;
    let admin = streams::admin(&stack).await;
    let mut chance = Seeded::new(4);
    let mut published = 0;
    for kill in 0..KILLS {
        let before = chance.below(60);
        let failpoints = format!("relay.published={before}*off->return");
        let relay = Process::relay(&stack, &[("FAILPOINTS", &failpoints)]);
        streams::append_many(&log, 70).await;
        let (ended, lines) = relay.ended().await;
        assert_eq!(ended, Ended::Killed, "kill {kill}, {failpoints}: {:?}", lines.last());
        // What was published last is there, though its acknowledgement was never read.
        published += before + 1;
        streams::reached(&admin, published).await;
    }
    let relay = Process::relay(&stack, &[]);
    let stream = streams::caught_up(&stack, &log).await;
    streams::assert_equal(&stream, &log).await;
    relay.kill().await;
    stack.stop().await;
}
