//! The relay: publishes the log to JetStream in order, sequence = position, and answers for its head.
//!
//! Any number of relays may run for one log: the expected sequence lets one win each message, and losing costs a look
//! at the tail. No offset is kept: the stream itself says where it ends, and whether it is this log's.

mod connection;
mod headers;
mod heads;
mod lag;
mod publish;
mod tail;

pub use heads::{HeadError, HeadService};

use crate::{LoadError, read_head};
use kisum_events::Log;
use sqlx::PgPool;
use std::time::Duration;
use tokio::sync::watch;

/// An unanswered publish or request counts as lost after this; the client's own default stalls for 5 s.
const ACK_MAX: Duration = Duration::from_millis(500);
/// How often an idle relay looks for new events: well below the 20 ms that a follower may wait for one.
const POLL: Duration = Duration::from_millis(4);
/// Waits between attempts after an error, doubled up to the second; recovery must take less than a second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(100));

/// What a relay works on.
#[derive(Clone)]
pub struct RelayConfig {
    /// The log it carries.
    pub log: Log,
    /// Its database, as a reader.
    pub pool: PgPool,
    /// A connection that may publish the log's subjects.
    pub nats: async_nats::Client,
    /// Copies of the stream: 1 on one node, 3 on a cluster of a current server.
    pub replicas: usize,
}

/// Why a relay stopped for good: somebody has to look.
#[derive(Debug, thiserror::Error)]
pub enum RelayHalted {
    /// The stream is not what this log published.
    #[error("stream {stream} is not this log: {difference}. {remedy}")]
    Different {
        /// The stream.
        stream: String,
        /// What differs, with the sequence.
        difference: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The database is not the one that the epoch was started on.
    #[error("{0}")]
    Epoch(String),
}

/// What ends one attempt.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error(transparent)]
    Halted(#[from] RelayHalted),
    #[error("the log cannot be read: {0}")]
    Log(String),
    #[error("the stream cannot be used: {0}")]
    Stream(String),
    #[error("NATS leaves unanswered {0}")]
    Silent(String),
    #[error("NATS is connected anew")]
    Renewed,
}

impl From<LoadError> for Interrupted {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Epoch(message) => Self::Halted(RelayHalted::Epoch(message)),
            other => Self::Log(chain(&other)),
        }
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Publishes until told to stop.
///
/// # Errors
/// [`RelayHalted`] when going on could damage something; everything else is retried.
pub async fn run(config: RelayConfig, shutdown: watch::Receiver<bool>) -> Result<(), RelayHalted> {
    let proven = tail::Proven::default();
    let measuring = lag::report(&config.pool, config.log, proven.acknowledged.clone());
    tokio::select! {
        ended = publish(&config, proven, shutdown) => ended,
        never = measuring => match never {},
    }
}

async fn publish(
    config: &RelayConfig,
    mut proven: tail::Proven,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), RelayHalted> {
    let mut backoff = BACKOFF.0;
    loop {
        let before = proven.position;
        let why = tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
            why = attempt(config, &mut proven) => why,
        };
        let why = match why {
            Interrupted::Halted(halted) => return Err(halted),
            why => why,
        };
        tracing::warn!(log = config.log.name(), reason = %why, "relay: interrupted, starting again");
        let progressed = proven.position > before || matches!(why, Interrupted::Renewed);
        backoff = if progressed { BACKOFF.0 } else { (backoff * 2).min(BACKOFF.1) };
        if matches!(why, Interrupted::Silent(_)) {
            // A connection that nothing answers on may be dead though nobody has closed it, and making another one
            // costs little. It refuses only when the client is gone, and then nothing else works either.
            let _ = config.nats.force_reconnect().await;
        }
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
            () = tokio::time::sleep(backoff) => {}
        }
    }
}

/// One attempt, on one connection: find the stream's end, then publish from there. Says what ended it.
async fn attempt(config: &RelayConfig, proven: &mut tail::Proven) -> Interrupted {
    let connection = connection::connected(&config.nats).await;
    tokio::select! {
        // Whatever the lost connection had not answered is not worth waiting for.
        () = connection::renewed(&config.nats, connection) => Interrupted::Renewed,
        published = publish_from_tail(config, proven) => match published {
            Ok(never) => match never {},
            Err(why) => why,
        },
    }
}

async fn publish_from_tail(
    config: &RelayConfig,
    proven: &mut tail::Proven,
) -> Result<std::convert::Infallible, Interrupted> {
    let mut conn = config.pool.acquire().await.map_err(LoadError::from)?;
    let head = read_head(&mut conn).await?;
    drop(conn);
    // What the builder calls `ack_timeout` is about something else; this is the wait for an acknowledgement.
    let jetstream = async_nats::jetstream::context::ContextBuilder::new().timeout(ACK_MAX).build(config.nats.clone());
    let name = stream_name(config.log, head.epoch);
    let sent = tail::find(config, &jetstream, &name, head, proven).await?;
    let mut publisher = publish::Publisher { config, jetstream, name, epoch: head.epoch, sent, proven };
    publisher.run().await
}

/// The stream that carries an epoch of a log: `AUTH_1`. Named by epoch, so that an old relay is fenced.
pub fn stream_name(log: Log, epoch: u32) -> String {
    match log {
        Log::Auth => format!("AUTH_{epoch}"),
        Log::Core => format!("CORE_{epoch}"),
    }
}
