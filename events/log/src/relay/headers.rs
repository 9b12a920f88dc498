//! The headers of a published event.

use async_nats::HeaderMap;
use kisum_events::{Envelope, header};

/// Everything a follower needs without reading the body. `epoch` is that of the stream it is published in, which is
/// later than the event's own when an older event is published again.
pub(super) fn headers(envelope: &Envelope, epoch: u32) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::EVENT_ID, envelope.id.to_string());
    headers.insert(header::POSITION, envelope.position.to_string());
    headers.insert(header::EPOCH, epoch.to_string());
    headers.insert(header::PREVIOUS_ACCESS_POSITION, envelope.previous_access_position.to_string());
    headers.insert(header::EFFECT, envelope.effect.name());
    if let Some(trace) = envelope.meta.traceparent {
        headers.insert(header::TRACEPARENT, trace.to_string());
    }
    headers
}
