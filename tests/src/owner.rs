//! A log as its owner's route would answer it, events as its relay would say them, and nothing behind either.

use async_nats::{Client, HeaderMap};
use kisum_events::{Effect, Envelope, EventId, Log, Position, StreamName, Timestamp, header, subject_for};
use kisum_log::{LogPage, LogSource, SourceError};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// An owner that a test can change and make absent.
#[derive(Clone, Default)]
pub struct Owner(Arc<Mutex<Owned>>);

/// What an owner knows.
#[derive(Default)]
pub struct Owned {
    /// The log's epoch.
    pub epoch: u32,
    /// The log.
    pub events: Vec<Envelope>,
    /// Whether it answers nobody.
    pub is_away: bool,
    /// How often it was asked.
    pub asked: usize,
}

impl Owner {
    /// An owner of these events.
    pub fn of(epoch: u32, events: Vec<Envelope>) -> Self {
        let owner = Self::default();
        owner.change(|owned| (owned.epoch, owned.events) = (epoch, events));
        owner
    }

    /// Looks or changes.
    pub fn change<T>(&self, change: impl FnOnce(&mut Owned) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Its log route.
    pub fn source(&self) -> LogSource {
        let owner = self.clone();
        LogSource::new(vec!["http://owner".to_owned()], move |_, after, limit| {
            let page = owner.change(|owned| {
                owned.asked += 1;
                let events = owned.events.iter().filter(|event| event.position > after).take(limit as usize);
                let position = owned.events.last().map_or(0, |last| last.position);
                let page = LogPage { epoch: owned.epoch, position: Some(position), events: events.cloned().collect() };
                if owned.is_away { Err(SourceError::Unavailable("away".to_owned())) } else { Ok(page) }
            });
            async move { page }
        })
    }
}

/// An event as it is published, recorded in epoch 1 at its position in seconds.
pub fn envelope(log: Log, place: (Position, Position), stream: &StreamName, said: (&str, Effect, Value)) -> Envelope {
    let ((position, previous_access_position), (event_type, effect, data)) = (place, said);
    let recorded_at = Timestamp::from_micros(i64::try_from(position).unwrap_or(0) * 1_000_000);
    let envelope = json!({
        "id": EventId::new(Uuid::from_u128(u128::from(position))), "log": log, "epoch": 1, "position": position,
        "previousAccessPosition": previous_access_position, "stream": stream, "version": 1, "type": event_type,
        "schema": 1, "effect": effect, "recordedAt": recorded_at, "data": data,
        "meta": { "actor": "system", "requestId": Uuid::nil() },
    });
    // Through text, as it arrives: a raw value cannot be taken from a parsed tree.
    serde_json::from_str(&envelope.to_string()).unwrap_or_else(|error| panic!("{error}"))
}

/// Says an event as its log's relay does, in the stream of an epoch.
pub async fn publish(relay: &Client, epoch: u32, event: &Envelope) {
    let mut headers = HeaderMap::new();
    headers.insert(header::EPOCH, epoch.to_string());
    headers.insert(header::POSITION, event.position.to_string());
    let subject = subject_for(event.log, event.effect, event.company_id, &event.event_type);
    let body = serde_json::to_vec(event).unwrap_or_else(|error| panic!("{error}"));
    relay.publish_with_headers(subject, headers, body.into()).await.unwrap_or_else(|error| panic!("{error}"));
    relay.flush().await.unwrap_or_else(|error| panic!("{error}"));
}
