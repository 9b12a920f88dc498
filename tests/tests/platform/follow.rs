//! Following a log: from Postgres, from its owners, over the bus, and from JetStream alone.

mod bus;
mod postgres;
mod stream;

use kisum_events::{Class, Cursor, Envelope, Log, Position};
use kisum_log::{EventLog, Follow, FollowError, Loaded, read};
use kisum_tests::counted::{Counted, Happened, append, new_request, new_stream};
use std::time::Duration;

/// Longest wait for anything; what is waited for takes seconds at most.
const PATIENCE: Duration = Duration::from_secs(60);
/// Everything, and each class alone.
const VIEWS: [Option<Class>; 3] = [None, Some(Class::Access), Some(Class::Info)];

const fn at(epoch: u32, position: Position) -> Cursor {
    Cursor { epoch, position }
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn of_class(follow: Follow, class: Option<Class>) -> Follow {
    match class {
        Some(class) => follow.of_class(class),
        None => follow,
    }
}

/// What the log holds behind a position, of a class or all.
async fn held(log: &EventLog, after: Position, class: Option<Class>) -> Vec<Position> {
    let mut conn = log.pool().acquire().await.unwrap_or_else(|error| panic!("{error}"));
    let events = read(&mut conn, log.log(), after, 1_000_000, class).await.unwrap_or_else(|error| panic!("{error}"));
    positions(&events)
}

fn positions(events: &[Envelope]) -> Vec<Position> {
    events.iter().map(|event| event.position).collect()
}

/// Appends from `writers` at once, `each` one after the other: events of both classes, one to three an append.
async fn append_at_once(log: &EventLog, writers: u64, each: usize) {
    let writers: Vec<_> = (1..=writers)
        .map(|writer| {
            let (log, mut dice) = (log.clone(), Dice(writer * 7919));
            tokio::spawn(async move {
                for _ in 0..each {
                    let mut append = append(new_request());
                    let events = (0..=dice.below(3)).map(|number| match dice.below(2) {
                        0 => Happened::Widened { note: number.to_string() },
                        _ => Happened::Placed { own: 0 },
                    });
                    let loaded = Loaded::<Counted>::new_stream(new_stream());
                    append.write(&loaded, events.collect()).unwrap_or_else(|error| panic!("{error}"));
                    log.append(append).await.unwrap_or_else(|error| panic!("{error}"));
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// What a follower hands out until it stands at `end`, or has handed out the last of its class before: pages that
/// fail in between are asked for again.
async fn followed(follow: &mut Follow, end: Position, expected: usize) -> Vec<Position> {
    let mut seen = Vec::new();
    let following = async {
        while seen.len() < expected && follow.at().position < end {
            match follow.next().await {
                Ok(events) => seen.extend(positions(&events)),
                Err(FollowError::Interrupted { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, following).await.is_ok();
    assert!(in_time, "{} of {expected} events, at {:?}, the end is {end}", seen.len(), follow.at());
    seen
}

/// The error that a follower gives next, whatever it hands out before.
async fn error_of(follow: &mut Follow, is_it: impl Fn(&FollowError) -> bool) -> FollowError {
    let failing = async {
        loop {
            if let Err(error) = follow.next().await
                && is_it(&error)
            {
                return error;
            }
        }
    };
    tokio::time::timeout(PATIENCE, failing).await.unwrap_or_else(|_| panic!("no such error"))
}

/// A log's name, for those who write subjects.
const LOG: Log = Log::Auth;
