//! The envelope that every event carries, and who caused it.

use crate::{
    AnyEvent, CompanyId, Cursor, DecodeError, Effect, EventId, Log, Position, RequestId, StreamName, Timestamp,
    TraceParent, UserId,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::value::RawValue;
use std::{fmt, str::FromStr};
use uuid::Uuid;

/// Who acted: `user:{id}`, `service:{name}` or `system`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A person.
    User(UserId),
    /// A service on its own account.
    Service(String),
    /// The platform itself: migrations, seeds, epochs.
    System,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::Service(name) => write!(f, "service:{name}"),
            Self::System => f.write_str("system"),
        }
    }
}

impl FromStr for Actor {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("bad actor '{text}': it is user:{{uuid}}, service:{{name}} or system");
        match text.split_once(':') {
            None if text == "system" => Ok(Self::System),
            Some(("service", name)) => Ok(Self::Service(name.to_owned())),
            Some(("user", id)) => id.parse().map(Self::User).map_err(|_| bad()),
            _ => Err(bad()),
        }
    }
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Who and what caused an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// Who acted.
    pub actor: Actor,
    /// The append that wrote the event.
    pub request_id: RequestId,
    /// The event that this one follows from, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<EventId>,
    /// What ties one request's traces together across services: the edge's request label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The step of a trace that wrote the event. An event without one has exactly the bytes that it had before traces
    /// were kept.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::trace::lenient")]
    pub traceparent: Option<TraceParent>,
}

impl Meta {
    /// Of an append that nothing else is known about.
    pub const fn new(actor: Actor, request_id: RequestId) -> Self {
        Self { actor, request_id, causation_id: None, correlation_id: None, traceparent: None }
    }
}

/// An event as it is published: the log's row without its sealed part. The JSON of this struct, fields in this
/// order, is the message body, byte for byte.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// The event's id.
    pub id: EventId,
    /// The log it stands in.
    pub log: Log,
    /// That log's epoch.
    pub epoch: u32,
    /// Its position there.
    pub position: Position,
    /// Position of the access event before it, 0 when there is none.
    pub previous_access_position: Position,
    /// The stream it belongs to.
    pub stream: StreamName,
    /// Its place in that stream, from 1.
    pub version: u64,
    /// The event type, such as `membership.module_granted`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The schema of `data`, from 1.
    pub schema: u16,
    /// The company it concerns, where it concerns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub company_id: Option<CompanyId>,
    /// What it does to access.
    pub effect: Effect,
    /// When the append committed, by the database's clock.
    pub recorded_at: Timestamp,
    /// The public payload, exactly as stored.
    pub data: Box<RawValue>,
    /// Who and what caused it.
    pub meta: Meta,
}

impl Envelope {
    /// Where it stands.
    pub const fn cursor(&self) -> Cursor {
        Cursor { epoch: self.epoch, position: self.position }
    }

    /// The typed event, its sealed parts absent.
    ///
    /// # Errors
    /// [`DecodeError`], naming position and type, for an unknown type, a newer schema or a payload of another shape.
    pub fn decode(&self) -> Result<AnyEvent, DecodeError> {
        AnyEvent::decode(self.position, &self.event_type, self.schema, self.data.get(), None)
    }
}

/// An event as its own log's database can read it: the envelope and, where it could be opened, the sealed part.
#[derive(Clone, Debug)]
pub struct RecordedEvent {
    /// The public part.
    pub envelope: Envelope,
    /// The sealed part as a JSON object, where there is one and its key still exists.
    pub unsealed: Option<serde_json::Map<String, serde_json::Value>>,
}

impl RecordedEvent {
    /// The typed event with whatever of its sealed part could be opened.
    ///
    /// # Errors
    /// As [`Envelope::decode`].
    pub fn decode(&self) -> Result<AnyEvent, DecodeError> {
        let envelope = &self.envelope;
        AnyEvent::decode(
            envelope.position,
            &envelope.event_type,
            envelope.schema,
            envelope.data.get(),
            self.unsealed.as_ref(),
        )
    }
}

/// Ids of requests that were named by the caller: the same name is the same request.
impl RequestId {
    /// Derives the id of a command sent under an idempotency key.
    pub fn derived(log: Log, scope: &str) -> Self {
        Self::new(Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("kisum:{log}:{scope}").as_bytes()))
    }
}
