//! Publishing in order, pipelined: each message names the one that it must follow.

use super::{Interrupted, POLL, RelayConfig, headers::headers, tail::Proven};
use crate::{LoadError, fail_points, read, read_head};
use async_nats::jetstream::{
    self,
    context::{PublishAckFuture, PublishErrorKind},
    message::PublishMessage,
};
use kisum_events::{Envelope, Position, subject_for};
use std::{collections::VecDeque, convert::Infallible};

/// Messages sent and not yet acknowledged, at most.
pub(super) const WINDOW: usize = 512;
/// Events read from the log at once.
const READ_MAX: i64 = 512;

pub(super) struct Publisher<'a> {
    pub(super) config: &'a RelayConfig,
    pub(super) jetstream: jetstream::Context,
    pub(super) name: String,
    pub(super) epoch: u32,
    /// Position of the last message sent.
    pub(super) sent: Position,
    /// Up to where every message was acknowledged.
    pub(super) proven: &'a mut Proven,
}

impl Publisher<'_> {
    /// Publishes for ever; returns only when interrupted.
    pub(super) async fn run(&mut self) -> Result<Infallible, Interrupted> {
        let mut window: VecDeque<(Position, PublishAckFuture)> = VecDeque::with_capacity(WINDOW);
        loop {
            let events = self.next().await?;
            if events.is_empty() {
                while let Some(first) = window.pop_front() {
                    self.settle(first).await?;
                }
                tokio::time::sleep(POLL).await;
                continue;
            }
            for envelope in &events {
                if window.len() >= WINDOW
                    && let Some(first) = window.pop_front()
                {
                    self.settle(first).await?;
                }
                window.push_back((envelope.position, self.send(envelope).await?));
                fail_points::point_once_flushed("relay.published", &self.config.nats).await;
                self.sent = envelope.position;
            }
        }
    }

    /// The next events of the log. The epoch is checked with every read, so that a promoted database is not relayed.
    async fn next(&self) -> Result<Vec<Envelope>, Interrupted> {
        let mut conn = self.config.pool.acquire().await.map_err(LoadError::from)?;
        let head = read_head(&mut conn).await?;
        if head.epoch != self.epoch {
            return Err(Interrupted::Log(format!("epoch {} has begun", head.epoch)));
        }
        if head.position <= self.sent {
            return Ok(Vec::new());
        }
        let events = read(&mut conn, self.config.log, self.sent, READ_MAX, None).await?;
        // INVARIANT: positions have no hole; a reader that saw one would publish another sequence than position.
        for (expected, event) in (self.sent.saturating_add(1)..).zip(&events) {
            if event.position != expected {
                return Err(Interrupted::Log(format!("position {expected} is missing; {} follows", event.position)));
            }
        }
        Ok(events)
    }

    async fn send(&self, envelope: &Envelope) -> Result<PublishAckFuture, Interrupted> {
        let body = serde_json::to_vec(envelope).map_err(|error| Interrupted::Log(error.to_string()))?;
        let subject = subject_for(envelope.log, envelope.effect, envelope.company_id, &envelope.event_type);
        // INVARIANT: no Nats-Msg-Id. It wins over the sequence check: a duplicate would be acknowledged unseen.
        let message = PublishMessage::build()
            .headers(headers(envelope, self.epoch))
            .expected_stream(&self.name)
            .expected_last_sequence(envelope.position.saturating_sub(1))
            .payload(body.into());
        self.jetstream.send_publish(subject, message).await.map_err(|error| Interrupted::Stream(super::chain(&error)))
    }

    /// Waits for one acknowledgement. It counts only if its sequence is the position and it is no duplicate.
    async fn settle(&mut self, (position, ack): (Position, PublishAckFuture)) -> Result<(), Interrupted> {
        let ack = ack.await.map_err(|error| match error.kind() {
            PublishErrorKind::TimedOut => Interrupted::Silent(format!("position {position}")),
            _ => Interrupted::Stream(format!("position {position}: {}", super::chain(&error))),
        })?;
        if ack.sequence != position || ack.duplicate || ack.stream != self.name {
            return Err(Interrupted::Stream(format!(
                "position {position} was acknowledged as {} of {} (duplicate: {})",
                ack.sequence, ack.stream, ack.duplicate
            )));
        }
        self.proven.reaches(position);
        Ok(())
    }
}
