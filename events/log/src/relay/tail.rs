//! Where the stream ends, and whether it is this log's.
//!
//! `last_seq` alone proves nothing: a stray message, a restored stream and another log's all have one. Nor does the last
//! message: a stray one that slipped into a pipeline is followed by good ones, since each of them names only the
//! sequence before it. At most a window of them, though: the relay that sent them stops at the stray's position.
//! So each look compares the last window of messages with the log, but for what is proven already.

use super::{Interrupted, RelayConfig, RelayHalted, connection::answered, lag::Acknowledged, publish::WINDOW};
use crate::{LoadError, LogHead, read};
use async_nats::jetstream::{
    self,
    message::StreamMessage,
    stream::{self, Stream},
};
use futures_util::future::try_join_all;
use kisum_events::{Envelope, Position, header, subject_for};

const REMEDY: &str = "If this database was put back to an earlier state, run: kisum log epoch new. Else find out what \
                      wrote to the stream; then, as the NATS administrator, delete it: the relay creates it anew and \
                      publishes the log again from position 1";
const REMEDY_RETIRED: &str = "A later epoch has begun on another copy of this database: stop whatever still writes to \
                              this one";
/// Messages asked for at once.
const ASKED_AT_ONCE: usize = 64;

/// Up to where the stream was seen to be the log.
#[derive(Debug, Default)]
pub(super) struct Proven {
    /// When the stream was created; another one proves nothing about this one.
    created_ns: i128,
    /// The last position that was acknowledged or compared.
    pub(super) position: Position,
    /// The same, for who measures how far that is behind the log.
    pub(super) acknowledged: Acknowledged,
}

impl Proven {
    /// Everything up to `position` is.
    pub(super) fn reaches(&mut self, position: Position) {
        self.position = position;
        self.acknowledged.set(position);
    }
}

/// Finds or creates the stream and returns the position of its last message, 0 when it has none.
pub(super) async fn find(
    config: &RelayConfig,
    jetstream: &jetstream::Context,
    name: &str,
    head: LogHead,
    proven: &mut Proven,
) -> Result<Position, Interrupted> {
    let wanted = wanted(config, name);
    let stream = answered(&format!("a request for stream {name}"), jetstream.get_or_create_stream(wanted.clone()))
        .await
        .map_err(named_overlap)?;
    let info = answered("a question about the stream", stream.get_info()).await?;
    if info.config.subjects != wanted.subjects {
        let difference = format!("it takes {} instead of the log's subjects", info.config.subjects.join(" and "));
        let (stream, remedy) = (name.to_owned(), REMEDY_RETIRED);
        return Err(Interrupted::Halted(RelayHalted::Different { stream, difference, remedy }));
    }
    let (state, created_ns) = (info.state, info.created.unix_timestamp_nanos());
    let last = state.last_sequence;
    let differs = |difference: String| {
        Interrupted::Halted(RelayHalted::Different { stream: name.to_owned(), difference, remedy: REMEDY })
    };
    if last > 0 && (state.first_sequence != 1 || state.messages != last) {
        return Err(differs(format!(
            "it holds {} messages from sequence {} to {last}, so some are missing",
            state.messages, state.first_sequence
        )));
    }
    if proven.created_ns != created_ns || proven.position > last {
        proven.created_ns = created_ns;
        proven.reaches(0);
    }
    let window = u64::try_from(WINDOW).unwrap_or(u64::MAX);
    let mut unproven = proven.position.max(last.saturating_sub(window));
    // Also where the log ends before the stream does, the message that does not belong is named.
    while unproven < last {
        let events = events_behind(config, unproven, last).await?;
        let Some(until) = events.last().map(|event| event.position) else {
            let stray = message_at(&stream, unproven.saturating_add(1)).await?;
            return Err(differs(format!(
                "its last sequence is {last}, but the log ends at position {}; its message {} is {}",
                head.position,
                stray.sequence,
                what_it_is(&stray)
            )));
        };
        if let Some(difference) = first_difference(&stream, &events, head.epoch).await? {
            return Err(differs(difference));
        }
        unproven = until;
    }
    proven.reaches(last);
    Ok(last)
}

/// A subject belongs to one stream: until the stream of the epoch before has given up the log's, none can be made.
fn named_overlap(why: Interrupted) -> Interrupted {
    match why {
        Interrupted::Stream(text) if text.contains("subjects overlap") => {
            Interrupted::Stream(format!("{text}: the stream of an earlier epoch holds them; run: kisum log epoch new"))
        }
        other => other,
    }
}

fn wanted(config: &RelayConfig, name: &str) -> stream::Config {
    stream::Config {
        name: name.to_owned(),
        subjects: vec![format!("kisum.{}.v1.access.>", config.log), format!("kisum.{}.v1.info.>", config.log)],
        storage: stream::StorageType::File,
        num_replicas: config.replicas,
        deny_delete: true,
        deny_purge: true,
        ..stream::Config::default()
    }
}

/// The events in `(after, last]`, without a hole; none when the log ends at `after`.
async fn events_behind(config: &RelayConfig, after: Position, last: Position) -> Result<Vec<Envelope>, Interrupted> {
    let mut conn = config.pool.acquire().await.map_err(LoadError::from)?;
    let count = i64::try_from(last.saturating_sub(after)).unwrap_or(i64::MAX);
    let events = read(&mut conn, config.log, after, count, None).await?;
    match (after.saturating_add(1)..).zip(&events).find(|(expected, event)| event.position != *expected) {
        Some((missing, _)) => Err(Interrupted::Log(format!("the event at position {missing} is missing"))),
        None => Ok(events),
    }
}

async fn message_at(stream: &Stream, sequence: u64) -> Result<StreamMessage, Interrupted> {
    answered("a question about a message", stream.get_raw_message(sequence)).await
}

/// The first message that is not the event at its place.
async fn first_difference(stream: &Stream, events: &[Envelope], epoch: u32) -> Result<Option<String>, Interrupted> {
    for some in events.chunks(ASKED_AT_ONCE) {
        let mut asked = Vec::with_capacity(some.len());
        for event in some {
            asked.push(message_at(stream, event.position));
        }
        for (message, event) in try_join_all(asked).await?.iter().zip(some) {
            if let Some(difference) = difference(message, event, epoch) {
                return Ok(Some(difference));
            }
        }
    }
    Ok(None)
}

fn difference(message: &StreamMessage, event: &Envelope, epoch: u32) -> Option<String> {
    let same_body = serde_json::to_vec(event).is_ok_and(|body| body == message.payload.as_ref());
    let subject = subject_for(event.log, event.effect, event.company_id, &event.event_type);
    let same = same_body
        && field(message, header::EVENT_ID) == event.id.to_string()
        && field(message, header::EPOCH) == epoch.to_string()
        && message.subject.as_str() == subject;
    (!same).then(|| {
        format!(
            "its message {} is {}, but the log has event {} of epoch {epoch} there{}",
            message.sequence,
            what_it_is(message),
            event.id,
            if same_body { "" } else { ", and their bodies differ" }
        )
    })
}

fn what_it_is(message: &StreamMessage) -> String {
    let [id, position, epoch] = [header::EVENT_ID, header::POSITION, header::EPOCH].map(|name| field(message, name));
    format!("event '{id}' of position '{position}' and epoch '{epoch}' on {}", message.subject)
}

fn field(message: &StreamMessage, name: &str) -> String {
    message.headers.get(name).map(|value| value.as_str().to_owned()).unwrap_or_default()
}
