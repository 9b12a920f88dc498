//! The streams that carried a log's epochs: which there are, what they hold that the log does not, and how one gives
//! up its subjects to the next.
//!
//! It works as the NATS administrator: no relay may change or delete a stream. It refuses to change what a stream
//! holds: the messages of a lost history are the only evidence of what was lost.

use crate::{load::unsigned, relay::stream_name};
use async_nats::jetstream::{
    self,
    context::ContextBuilder,
    stream::{LastRawMessageErrorKind, Stream},
};
use futures_util::TryStreamExt;
use kisum_events::{Effect, Envelope, Log, Position, Timestamp, header};
use sqlx::PgConnection;
use std::time::Duration;

/// How long one question to JetStream may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How many of the events that a log does not have are named.
const NAMED_MAX: u64 = 20;

/// Why something about streams could not be learnt or done.
#[derive(Debug, thiserror::Error)]
pub enum StreamsError {
    /// JetStream did not answer or refused.
    #[error("JetStream, {doing}: {why}")]
    JetStream {
        /// What was asked of it.
        doing: String,
        /// What it said.
        why: String,
    },
    /// The log to compare with cannot be read.
    #[error("the log's database failed")]
    Database(#[from] sqlx::Error),
}

pub(crate) fn failed(doing: impl Into<String>, error: &dyn std::error::Error) -> StreamsError {
    StreamsError::JetStream { doing: doing.into(), why: crate::relay::chain(error) }
}

/// One stream that carries, or carried, an epoch of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStream {
    /// Its name, `AUTH_1`.
    pub name: String,
    /// The epoch in its name.
    pub epoch: u32,
    /// Sequence of its last message, 0 when it has none.
    pub last: u64,
    /// Whether it gave up the log's subjects.
    pub is_retired: bool,
}

/// What a stream holds beside what the log has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// The last position at which both have the same event, 0 when there is none.
    pub shared: Position,
    /// How many messages follow it in the stream: published, and not in this log.
    pub unknown: u64,
    /// The first of them.
    pub first: Vec<UnknownEvent>,
}

/// A published event that the log does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownEvent {
    /// Its position there.
    pub position: Position,
    /// Its type; of a message that is no event, its subject.
    pub event_type: String,
    /// Its stream in the log.
    pub stream: Option<String>,
    /// What it did to access: whoever lost a right in an event that is lost has it again.
    pub effect: Option<Effect>,
    /// When it was recorded.
    pub recorded_at: Option<Timestamp>,
}

/// The streams of one log.
#[derive(Clone)]
pub struct LogStreams {
    log: Log,
    jetstream: jetstream::Context,
}

impl LogStreams {
    /// The streams as an administrator's connection sees them.
    pub fn new(nats: async_nats::Client, log: Log) -> Self {
        Self { log, jetstream: ContextBuilder::new().timeout(ANSWER_MAX).build(nats) }
    }

    /// Every stream of the log, in the order of epochs.
    ///
    /// # Errors
    /// [`StreamsError::JetStream`].
    pub async fn list(&self) -> Result<Vec<LogStream>, StreamsError> {
        let mut found = Vec::new();
        let mut infos = self.jetstream.streams();
        while let Some(info) = infos.try_next().await.map_err(|error| failed("listing streams", &error))? {
            let name = info.config.name;
            let epoch = name.split_once('_').and_then(|(_, number)| number.parse::<u32>().ok()).unwrap_or(0);
            if epoch > 0 && name == stream_name(self.log, epoch) {
                let is_retired = info.config.subjects == [self.retired_subject(epoch)];
                found.push(LogStream { name, epoch, last: info.state.last_sequence, is_retired });
            }
        }
        found.sort_by_key(|stream| stream.epoch);
        Ok(found)
    }

    /// Compares ids backwards from the stream's end until one is the log's at that position.
    ///
    /// # Errors
    /// [`StreamsError`].
    pub async fn compare(&self, conn: &mut PgConnection, stream: &LogStream) -> Result<Published, StreamsError> {
        let name = &stream.name;
        let reading = || format!("reading {name}");
        let handle = self.jetstream.get_stream(name).await.map_err(|error| failed(reading(), &error))?;
        // Read behind the stream's end, so that what a relay published meanwhile is in the log, too.
        let head = sqlx::query_scalar!(
            r#"select coalesce((select last_position from log_batch order by last_position desc limit 1), 0) as "head!""#
        )
        .fetch_one(&mut *conn)
        .await?;
        let mut shared = stream.last.min(unsigned(head));
        while shared > 0 {
            let id = sqlx::query_scalar!(
                "select id from event where position = $1",
                i64::try_from(shared).unwrap_or(i64::MAX)
            )
            .fetch_optional(&mut *conn)
            .await?;
            if id.is_some() && id.map(|id| id.to_string()) == event_id(&handle, name, shared).await? {
                break;
            }
            shared = shared.saturating_sub(1);
        }
        let unknown = stream.last.saturating_sub(shared);
        let mut first = Vec::new();
        for position in (shared.saturating_add(1)..=stream.last).take(usize::try_from(NAMED_MAX).unwrap_or(usize::MAX))
        {
            first.extend(unknown_event(&handle, name, position).await?);
        }
        Ok(Published { shared, unknown, first })
    }

    /// Makes a stream give up the log's subjects, so that the next epoch's can take them and a relay of the old history
    /// finds none that takes its messages. It keeps what it holds.
    ///
    /// # Errors
    /// [`StreamsError::JetStream`].
    pub async fn retire(&self, stream: &LogStream) -> Result<(), StreamsError> {
        let name = &stream.name;
        let handle =
            self.jetstream.get_stream(name).await.map_err(|error| failed(format!("reading {name}"), &error))?;
        let subjects = vec![self.retired_subject(stream.epoch)];
        let config = jetstream::stream::Config { subjects, ..handle.cached_info().config.clone() };
        self.jetstream
            .update_stream(config)
            .await
            .map(drop)
            .map_err(|error| failed(format!("taking the subjects from {name}"), &error))
    }

    fn retired_subject(&self, epoch: u32) -> String {
        format!("kisum.retired.{}.{epoch}.>", self.log)
    }
}

/// A message, `None` where the stream has none at that sequence.
async fn message(
    stream: &Stream,
    name: &str,
    sequence: u64,
) -> Result<Option<jetstream::message::StreamMessage>, StreamsError> {
    match stream.get_raw_message(sequence).await {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(failed(format!("reading message {sequence} of {name}"), &error)),
    }
}

async fn event_id(stream: &Stream, name: &str, sequence: u64) -> Result<Option<String>, StreamsError> {
    let message = message(stream, name, sequence).await?;
    Ok(message.and_then(|message| message.headers.get(header::EVENT_ID).map(|id| id.as_str().to_owned())))
}

async fn unknown_event(stream: &Stream, name: &str, position: u64) -> Result<Option<UnknownEvent>, StreamsError> {
    let Some(message) = message(stream, name, position).await? else { return Ok(None) };
    let envelope = serde_json::from_slice::<Envelope>(&message.payload);
    Ok(Some(match envelope {
        Ok(envelope) => UnknownEvent {
            position,
            event_type: envelope.event_type,
            stream: Some(envelope.stream.as_str().to_owned()),
            effect: Some(envelope.effect),
            recorded_at: Some(envelope.recorded_at),
        },
        Err(_) => UnknownEvent {
            position,
            event_type: message.subject.to_string(),
            stream: None,
            effect: None,
            recorded_at: None,
        },
    }))
}
