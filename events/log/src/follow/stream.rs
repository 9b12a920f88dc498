//! Following JetStream alone, for those who have the right to a consumer and cannot reach the log itself.
//!
//! JetStream is not the truth: it carries what the log has committed, as far as the relay has come. So nothing here
//! concludes from the stream's end that the log ends there, from a missing stream that there are no events, or from
//! a message that it is one of the log's: every message must say the epoch and the position that its place in the
//! stream says, and everything else is an error that names the difference.

use crate::{Backoff, relay::stream_name};
use async_nats::jetstream::{
    self, Context, ErrorCode,
    consumer::{AckPolicy, DeliverPolicy, pull},
    context::{ContextBuilder, GetStreamErrorKind},
};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use kisum_events::{Class, Cursor, Envelope, Log, Position, Sequence, Step, View, header};
use std::time::Duration;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// Longest wait for an answer of JetStream's.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How often the server says that it is there while there is nothing to say; two of them missed make a new consumer.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How long one pull stays open.
const PULL_MAX: Duration = Duration::from_secs(10);
/// Most messages asked for in one pull, and handed out at once.
const BATCH_MAX: usize = 500;
/// How often a quiet follower looks whether its epoch is over.
const LOOK: Duration = Duration::from_secs(1);
/// The server forgets a consumer that nobody pulls from after this.
const CONSUMER_IDLE_MAX: Duration = Duration::from_secs(30);

/// Why a follower of a stream gave no events.
#[derive(Debug, thiserror::Error)]
pub enum FollowStreamError {
    /// A stream of another epoch carries the log now: what was derived must be derived anew.
    #[error("the log is in epoch {now}, the cursor in epoch {cursor}: start over from position 0")]
    OtherEpoch {
        /// The newest epoch that has a stream.
        now: u32,
        /// The cursor's.
        cursor: u32,
    },
    /// There is no such stream: no relay has made it yet, or it was lost and the relay will publish it again.
    #[error("there is no stream {stream}")]
    Missing {
        /// Its name.
        stream: String,
    },
    /// The stream ends before the cursor: it is being published again, or the cursor is of another history.
    #[error("position {cursor} is beyond the end of the stream, {end}")]
    BeyondEnd {
        /// The cursor's position.
        cursor: Position,
        /// The stream's last sequence.
        end: u64,
    },
    /// A message is not what the log's relay publishes at that place.
    #[error("message {sequence} of stream {stream} is not this log's: {difference}")]
    Different {
        /// The stream.
        stream: String,
        /// The message's sequence.
        sequence: u64,
        /// What differs.
        difference: String,
    },
    /// JetStream does not answer; calling [`FollowStream::next`] again is right.
    #[error("JetStream cannot be read: {0}")]
    Interrupted(String),
}

/// A place in a log that moves with the log's stream.
///
/// Every error puts the next attempt off a little longer, so that calling [`FollowStream::next`] again is always safe.
pub struct FollowStream {
    jetstream: Context,
    log: Log,
    class: Option<Class>,
    /// Everything up to here was handed out.
    at: Cursor,
    delivery: Option<Delivery>,
    /// A task, so that it goes on when the future that waits for it is dropped.
    opening: JoinSet<Result<Delivery, FollowStreamError>>,
    open_at: Instant,
    looking: JoinSet<Result<(), FollowStreamError>>,
    look_at: Instant,
    failures: Backoff,
    /// What was wrong behind the events that were handed out last.
    failed: Option<FollowStreamError>,
}

/// A consumer of our own, and how far it has delivered.
struct Delivery {
    messages: pull::Stream,
    delivered: u64,
}

/// Why a message is not handed out.
enum Refused {
    /// It was before.
    Old,
    /// The consumer has lost something: a new one begins where this one stands.
    Lost,
    Error(FollowStreamError),
}

impl std::fmt::Debug for FollowStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { log, class, at, .. } = self;
        f.debug_struct("FollowStream").field("log", log).field("class", class).field("at", at).finish_non_exhaustive()
    }
}

impl FollowStream {
    /// A follower of what comes behind `after`. `nats` may list streams, read their info and create consumers.
    pub fn new(nats: async_nats::Client, log: Log, after: Cursor) -> Self {
        Self {
            jetstream: ContextBuilder::new().timeout(ANSWER_MAX).build(nats),
            log,
            class: None,
            at: after,
            delivery: None,
            opening: JoinSet::new(),
            open_at: Instant::now(),
            looking: JoinSet::new(),
            look_at: Instant::now() + LOOK,
            failures: Backoff::default(),
            failed: None,
        }
    }

    /// Events of one class only.
    #[must_use]
    pub fn of_class(mut self, class: Class) -> Self {
        self.class = Some(class);
        self
    }

    /// Where it stands: everything of its class up to here was handed out.
    pub const fn at(&self) -> Cursor {
        self.at
    }

    /// The next events in order, at least one; waits until there are. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`FollowStreamError`]; the follower stays where it stood.
    pub async fn next(&mut self) -> Result<Vec<Envelope>, FollowStreamError> {
        loop {
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            let now = Instant::now();
            if self.delivery.is_none() && self.opening.is_empty() && self.open_at <= now {
                self.opening.spawn(open(self.jetstream.clone(), self.log, self.class, self.at));
            }
            if self.delivery.is_some() && self.looking.is_empty() && self.look_at <= now {
                self.looking.spawn(refuse_other_epochs(self.jetstream.clone(), self.log, self.at.epoch));
            }
            let wake_at = if self.delivery.is_some() { self.look_at } else { self.open_at };
            let is_waiting = self.opening.is_empty() && self.looking.is_empty();
            // INVARIANT: each of these may be dropped while it waits; what one gives is kept before anything waits.
            tokio::select! {
                Some(opened) = self.opening.join_next() => {
                    match opened.map_err(|error| FollowStreamError::Interrupted(error.to_string())).flatten() {
                        Ok(delivery) => self.delivery = Some(delivery),
                        Err(error) => return Err(self.put_off(error)),
                    }
                }
                Some(looked) = self.looking.join_next() => {
                    self.look_at = Instant::now() + LOOK;
                    // That it could not look says nothing about the stream; the consumer's heartbeats do.
                    if let Ok(Err(error @ FollowStreamError::OtherEpoch { .. })) = looked {
                        return Err(self.put_off(error));
                    }
                }
                arrived = arrived(&mut self.delivery) => {
                    let events = self.take_arrived(arrived);
                    if !events.is_empty() {
                        return Ok(events);
                    }
                }
                () = sleep_until(wake_at), if is_waiting => {}
            }
        }
    }

    /// Notes that an attempt failed: the next one waits.
    fn put_off(&mut self, error: FollowStreamError) -> FollowStreamError {
        self.delivery = None;
        self.open_at = Instant::now() + self.failures.next_wait();
        error
    }

    fn take_arrived(&mut self, arrived: Option<Vec<jetstream::Message>>) -> Vec<Envelope> {
        let Some(messages) = arrived else {
            // A server that went away, a consumer that is gone: a new one begins where this one stands.
            self.delivery = None;
            self.open_at = Instant::now() + self.failures.next_wait();
            return Vec::new();
        };
        let mut events = Vec::with_capacity(messages.len());
        for message in messages {
            match self.take(&message) {
                Ok(event) => events.push(event),
                Err(Refused::Old) => {}
                Err(Refused::Lost) => {
                    self.delivery = None;
                    self.open_at = Instant::now() + self.failures.next_wait();
                    break;
                }
                Err(Refused::Error(error)) => {
                    self.failed = Some(self.put_off(error));
                    break;
                }
            }
        }
        if !events.is_empty() {
            self.look_at = Instant::now() + LOOK;
            if self.delivery.is_some() {
                self.failures.reset();
            }
        }
        events
    }

    /// Judges one message by where it stands in the stream, and by what stood there before.
    fn take(&mut self, message: &jetstream::Message) -> Result<Envelope, Refused> {
        let (sequence, delivered) = match message.info() {
            Ok(info) => (info.stream_sequence, info.consumer_sequence),
            Err(_) => return Err(Refused::Lost),
        };
        match &mut self.delivery {
            Some(delivery) if delivered == delivery.delivered.saturating_add(1) => delivery.delivered = delivered,
            _ => return Err(Refused::Lost),
        }
        let differs = |difference: String| {
            let stream = stream_name(self.log, self.at.epoch);
            Refused::Error(FollowStreamError::Different { stream, sequence, difference })
        };
        let said = |name: &str| {
            let headers = message.headers.as_ref();
            headers.and_then(|headers| headers.get(name)).map(|value| value.as_str().to_owned()).unwrap_or_default()
        };
        for (name, expected) in [(header::EPOCH, u64::from(self.at.epoch)), (header::POSITION, sequence)] {
            if said(name) != expected.to_string() {
                return Err(differs(format!("its {name} is '{}', not {expected}", said(name))));
            }
        }
        let event: Envelope =
            serde_json::from_slice(&message.payload).map_err(|error| differs(format!("it is no event: {error}")))?;
        if event.log != self.log || event.position != sequence {
            return Err(differs(format!("it is event {} of the {} log", event.position, event.log)));
        }
        // Of class info no event names its predecessor; that the consumer delivered them one by one must do.
        let view = match self.class {
            None => View::Everything,
            Some(Class::Access | Class::Info) => View::AccessOnly,
        };
        let place = Cursor { epoch: self.at.epoch, position: sequence };
        match Sequence::new(view, self.at).judge(place, event.previous_access_position) {
            Step::Old | Step::OtherEpoch => Err(Refused::Old),
            Step::Hole { after } if self.class != Some(Class::Info) => {
                Err(differs(format!("an event between it and position {after} is missing")))
            }
            Step::Apply | Step::Hole { .. } => {
                self.at.position = sequence;
                Ok(event)
            }
        }
    }
}

/// The next messages: at least one, and whatever else has arrived; `None` when the consumer is of no more use.
async fn arrived(delivery: &mut Option<Delivery>) -> Option<Vec<jetstream::Message>> {
    let Some(Delivery { messages, .. }) = delivery else { return std::future::pending().await };
    let mut arrived = vec![messages.next().await?.ok()?];
    while arrived.len() < BATCH_MAX
        && let Some(Some(Ok(message))) = messages.next().now_or_never()
    {
        arrived.push(message);
    }
    Some(arrived)
}

/// Makes a consumer that begins behind `at`, if the stream is the one that `at` is a place in.
async fn open(jetstream: Context, log: Log, class: Option<Class>, at: Cursor) -> Result<Delivery, FollowStreamError> {
    let interrupted = |error: &dyn std::error::Error| FollowStreamError::Interrupted(crate::relay::chain(error));
    let name = stream_name(log, at.epoch);
    refuse_other_epochs(jetstream.clone(), log, at.epoch).await?;
    let stream = jetstream.get_stream(&name).await.map_err(|error| match error.kind() {
        GetStreamErrorKind::JetStream(why) if why.error_code() == ErrorCode::STREAM_NOT_FOUND => {
            FollowStreamError::Missing { stream: name.clone() }
        }
        _ => interrupted(&error),
    })?;
    let state = &stream.cached_info().state;
    if state.last_sequence < at.position {
        return Err(FollowStreamError::BeyondEnd { cursor: at.position, end: state.last_sequence });
    }
    if state.messages != state.last_sequence {
        let difference = format!("the stream holds {} messages up to it, so some are missing", state.messages);
        return Err(FollowStreamError::Different { stream: name, sequence: state.last_sequence, difference });
    }
    let config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: at.position.saturating_add(1) },
        ack_policy: AckPolicy::None,
        filter_subject: class.map(|class| format!("kisum.{log}.v1.{}.>", class.name())).unwrap_or_default(),
        inactive_threshold: CONSUMER_IDLE_MAX,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await.map_err(|error| interrupted(&error))?;
    let messages =
        consumer.stream().max_messages_per_batch(BATCH_MAX).heartbeat(HEARTBEAT).expires(PULL_MAX).messages();
    Ok(Delivery { messages: messages.await.map_err(|error| interrupted(&error))?, delivered: 0 })
}

/// Refuses while a stream of a later epoch exists: what this one says is history of another log.
async fn refuse_other_epochs(jetstream: Context, log: Log, followed: u32) -> Result<(), FollowStreamError> {
    let names: Vec<String> = jetstream
        .stream_names()
        .try_collect()
        .await
        .map_err(|error| FollowStreamError::Interrupted(crate::relay::chain(&error)))?;
    let prefix = stream_name(log, 0);
    let prefix = prefix.trim_end_matches('0');
    let newest = names.iter().filter_map(|name| name.strip_prefix(prefix)?.parse::<u32>().ok()).max();
    match newest {
        Some(now) if now > followed => Err(FollowStreamError::OtherEpoch { now, cursor: followed }),
        _ => Ok(()),
    }
}
