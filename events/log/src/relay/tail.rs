//! Where the stream ends, and whether it is this log's: its last message must be the event at that position.
//!
//! `last_seq` alone proves nothing: a stray message, a restored stream and another log's all have one.

use super::{Interrupted, RelayConfig, RelayHalted};
use crate::{LogHead, read};
use async_nats::jetstream::{self, stream};
use kisum_events::{Position, header};

const REMEDY: &str = "Find out what wrote to the stream; then, as the NATS administrator, delete it: the relay \
                      creates it anew and publishes the log again from position 1";

/// Finds or creates the stream and returns the position of its last message, 0 when it has none.
pub(super) async fn find(
    config: &RelayConfig,
    jetstream: &jetstream::Context,
    name: &str,
    head: LogHead,
) -> Result<Position, Interrupted> {
    let unusable = |error: &dyn std::error::Error| Interrupted::Stream(super::chain(error));
    let stream = jetstream
        .get_or_create_stream(stream::Config {
            name: name.to_owned(),
            subjects: vec![format!("kisum.{}.v1.access.>", config.log), format!("kisum.{}.v1.info.>", config.log)],
            storage: stream::StorageType::File,
            num_replicas: config.replicas,
            deny_delete: true,
            deny_purge: true,
            ..stream::Config::default()
        })
        .await
        .map_err(|error| unusable(&error))?;
    let state = stream.get_info().await.map_err(|error| unusable(&error))?.state;
    let last = state.last_sequence;
    let differs = |difference: String| {
        Interrupted::Halted(RelayHalted::Different { stream: name.to_owned(), difference, remedy: REMEDY })
    };
    if last == 0 {
        return Ok(0);
    }
    if state.first_sequence != 1 || state.messages != last {
        return Err(differs(format!(
            "it holds {} messages from sequence {} to {last}, so some are missing",
            state.messages, state.first_sequence
        )));
    }
    if last > head.position {
        return Err(differs(format!("its last sequence is {last}, but the log ends at position {}", head.position)));
    }
    let message = stream.get_raw_message(last).await.map_err(|error| unusable(&error))?;
    let field = |name: &str| message.headers.get(name).map(|value| value.as_str().to_owned()).unwrap_or_default();
    let mut conn = config.pool.acquire().await.map_err(crate::LoadError::from)?;
    let events = read(&mut conn, config.log, last.saturating_sub(1), 1, None).await?;
    let expected = events.first().filter(|event| event.position == last);
    let Some(expected) = expected else {
        return Err(Interrupted::Log(format!("the event at position {last} is missing")));
    };
    let (id, epoch) = (field(header::EVENT_ID), field(header::EPOCH));
    if id != expected.id.to_string() || epoch != head.epoch.to_string() {
        return Err(differs(format!(
            "its message {last} is event '{id}' of epoch '{epoch}', but the log has event {} of epoch {}",
            expected.id, head.epoch
        )));
    }
    Ok(last)
}
