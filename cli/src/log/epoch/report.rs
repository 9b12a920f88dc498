//! What `kisum log epoch` says: lines for people, one object for programs.

use super::{Done, Due, Found};
use kisum_events::{Effect, Log};
use kisum_log::{EpochStanding, LogIdentity, Published, UnknownEvent, relay::stream_name};
use serde_json::{Value, json};

/// The epochs whose streams `nats.conf` lets the relays make.
const EPOCHS_IN_NATS_CONF: u32 = 8;

/// The answer of `kisum log epoch show`.
pub(super) fn standing(log: Log, standing: &EpochStanding, json: bool) {
    if json {
        println!("{}", of_standing(log, standing));
        return;
    }
    identity_lines(log, standing);
    if standing.is_here() {
        println!("epoch {} was started on this very database", standing.number);
    } else if standing.is_standby {
        println!("this server is a standby: whether it may go on shows when it is promoted");
    } else {
        println!("this database is another history: nothing is appended until `kisum log epoch new` has been run");
    }
}

fn identity_lines(log: Log, standing: &EpochStanding) {
    println!("{log} log, epoch {}, started {} ({})", standing.number, standing.started_at, standing.reason);
    println!("  recorded: {}", standing.recorded);
    println!("  found:    {}", standing.found);
    println!("  head:     position {}", standing.head);
}

/// What was found before anything is changed.
pub(super) fn found(found: &Found) {
    identity_lines(found.log, &found.standing);
    if let Some((stream, published)) = &found.newest {
        published_lines(&stream.name, published);
    } else if found.streams.is_some() {
        println!("no stream of this log holds anything, so nothing tells whether events were lost");
    } else {
        println!("streams were not looked at, so nothing tells whether events were lost");
    }
    match found.due() {
        Some(Due::OtherHistory) => {
            println!("this database was restored or promoted since epoch {} began", found.standing.number)
        }
        Some(Due::OtherStream) => println!("the stream was published by another history than this database's"),
        None => println!("epoch {} was started on this very database: there is none to begin", found.standing.number),
    }
}

fn published_lines(stream: &str, published: &Published) {
    let (shared, unknown) = (published.shared, published.unknown);
    if unknown == 0 {
        println!("{stream} holds nothing that this database does not have");
        return;
    }
    println!("{stream} holds {unknown} events that this database does not have; the last that both have is {shared}");
    for event in &published.first {
        let recorded = event.recorded_at.map(|at| at.to_string()).unwrap_or_default();
        let stream = event.stream.as_deref().unwrap_or("(not an event)");
        let effect = event.effect.map_or("", Effect::name);
        println!("{:>8}  {recorded}  {effect:<7}  {}  {stream}", event.position, event.event_type);
    }
    let named = u64::try_from(published.first.len()).unwrap_or(u64::MAX);
    if unknown > named {
        println!("          and {} more", unknown.saturating_sub(named));
    }
}

/// The epoch stands in the database, whatever happens next.
pub(super) fn begun(log: Log, done: &Done) {
    match done.begun_at {
        Some(position) => println!("epoch {} of the {log} log has begun at position {position}", done.epoch),
        None => println!("epoch {} of the {log} log was begun by somebody else meanwhile", done.epoch),
    }
}

/// What was done, and what happens next.
pub(super) fn done(found: &Found, done: &Done, json: bool) {
    let (log, stream) = (found.log, stream_name(found.log, done.epoch));
    if json {
        println!("{}", of_run(found, done));
        return;
    }
    for name in &done.retired {
        println!("{name} gave up its subjects and keeps its messages");
    }
    if found.streams.is_none() {
        println!("left to do: the streams of earlier epochs still hold their subjects: nobody can publish {stream};");
        println!("            run `kisum log epoch new` again without --skip-stream once NATS is there");
    }
    if done.epoch > EPOCHS_IN_NATS_CONF {
        println!("left to do: nats.conf lists {EPOCHS_IN_NATS_CONF} epochs: add the lines of {stream}, reload NATS");
    }
    if done.begun_at.is_some() || !done.retired.is_empty() {
        match found.streams {
            Some(_) => println!("next: start the relays of the {log} log again; they publish it into {stream} anew"),
            None => println!("next: start the relays of the {log} log again; they can answer for its head already"),
        }
        println!("      services, guards and projections notice the new epoch and start over by themselves");
        println!("      check with `kisum log verify --log {log}` and `kisum log head --log {log}`");
    }
}

fn of_standing(log: Log, standing: &EpochStanding) -> Value {
    let identity = |of: &LogIdentity| {
        // The number is larger than programs that read JSON numbers as floats can tell apart.
        json!({ "system": of.system.to_string(), "timeline": of.timeline, "database": of.database })
    };
    json!({
        "log": log, "epoch": standing.number, "startedAt": standing.started_at, "reason": standing.reason,
        "recorded": identity(&standing.recorded), "found": identity(&standing.found),
        "isHere": standing.is_here(), "isStandby": standing.is_standby, "head": standing.head,
    })
}

fn of_run(found: &Found, done: &Done) -> Value {
    let published = found.newest.as_ref().map(|(stream, published)| {
        let event = |event: &UnknownEvent| {
            json!({
                "position": event.position, "type": event.event_type, "stream": event.stream, "effect": event.effect,
                "recordedAt": event.recorded_at,
            })
        };
        let first: Vec<_> = published.first.iter().map(event).collect();
        json!({ "stream": stream.name, "shared": published.shared, "unknown": published.unknown, "first": first })
    });
    json!({
        "log": found.log, "before": of_standing(found.log, &found.standing), "published": published,
        "epoch": done.epoch, "begunAt": done.begun_at, "retired": done.retired,
        "skippedStreams": found.streams.is_none(),
    })
}
