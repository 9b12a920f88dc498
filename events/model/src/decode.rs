//! The way from an event's stored form: the shape it was written in, brought to the newest, read as its type.
//!
//! It owns what can be wrong with a stored event, each named by position and type. It refuses to know where the stored
//! form comes from, and to guess: what this program does not know is an error, never a skip.

use crate::{Event, Position};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Brings an event's data from one schema to the next. Pure.
///
/// It is given the public part and whatever of the sealed part could be opened in one object: a sealed field is absent
/// on the bus and after its person was erased, so that it must be moved where it stands and never be required.
pub type Upcaster = fn(Map<String, Value>) -> Result<Map<String, Value>, UpcastError>;

/// What an upcaster did not find in data of its schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UpcastError(String);

impl UpcastError {
    /// Says what is wrong with the data, without the data.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// Why a stored event could not be read. It names the event, so that nothing is skipped silently.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No version of this program wrote it, or a newer one did.
    #[error("event {position} has the unknown type '{event_type}'")]
    UnknownType {
        /// Where it stands.
        position: Position,
        /// The type it claims.
        event_type: String,
    },
    /// A newer program wrote it.
    #[error("event {position} of type '{event_type}' has schema {schema}; this program reads up to {known}")]
    NewerSchema {
        /// Where it stands.
        position: Position,
        /// Its type.
        event_type: String,
        /// Its schema.
        schema: u16,
        /// The newest schema of its type that is known here.
        known: u16,
    },
    /// No program wrote it: schemas count from 1.
    #[error("event {position} of type '{event_type}' has schema 0; schemas count from 1")]
    NoSchema {
        /// Where it stands.
        position: Position,
        /// Its type.
        event_type: String,
    },
    /// Its payload is not of the shape that its schema promises, so that it cannot be brought to the next.
    #[error("event {position} of type '{event_type}' cannot be brought from schema {schema} to the next")]
    Upcast {
        /// Where it stands.
        position: Position,
        /// Its type.
        event_type: String,
        /// The schema that it could not leave.
        schema: u16,
        /// What did not fit.
        #[source]
        source: UpcastError,
    },
    /// Its payload is not of the shape its type promises.
    #[error("event {position} of type '{event_type}' does not have the shape of its type")]
    Shape {
        /// Where it stands.
        position: Position,
        /// Its type.
        event_type: String,
        /// What did not fit.
        #[source]
        source: serde_json::Error,
    },
}

/// An event as it is stored.
#[derive(Clone, Copy)]
pub(crate) struct Stored<'a> {
    pub(crate) position: Position,
    pub(crate) event_type: &'a str,
    pub(crate) schema: u16,
    /// The public part, JSON.
    pub(crate) data: &'a str,
    /// What of the sealed part could be opened.
    pub(crate) unsealed: Option<&'a Map<String, Value>>,
}

impl Stored<'_> {
    /// Reads it as an event of one enum.
    pub(crate) fn decode<E: Event>(self) -> Result<E, DecodeError> {
        let missing = self.upcasters::<E>()?;
        let mut data: Map<String, Value> = serde_json::from_str(self.data).map_err(|source| self.misshapen(source))?;
        if let Some(unsealed) = self.unsealed {
            data.extend(unsealed.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        for (schema, upcast) in (self.schema..).zip(missing) {
            data = upcast(data).map_err(|source| DecodeError::Upcast {
                position: self.position,
                event_type: self.event_type.to_owned(),
                schema,
                source,
            })?;
        }
        read_tagged(self.event_type, data).map_err(|source| self.misshapen(source))
    }

    /// What still has to be done to its data; an error for what no program wrote or a newer one did.
    fn upcasters<E: Event>(self) -> Result<&'static [Upcaster], DecodeError> {
        let Self { position, schema, .. } = self;
        let event_type = || self.event_type.to_owned();
        if !E::TYPES.contains(&self.event_type) {
            return Err(DecodeError::UnknownType { position, event_type: event_type() });
        }
        let Some(done) = schema.checked_sub(1) else {
            return Err(DecodeError::NoSchema { position, event_type: event_type() });
        };
        E::upcasters(self.event_type).get(usize::from(done)..).ok_or_else(|| {
            let known = E::newest_schema(self.event_type);
            DecodeError::NewerSchema { position, event_type: event_type(), schema, known }
        })
    }

    fn misshapen(self, source: serde_json::Error) -> DecodeError {
        DecodeError::Shape { position: self.position, event_type: self.event_type.to_owned(), source }
    }
}

/// Reads an event enum from its data, public and unsealed in one object.
fn read_tagged<E: DeserializeOwned>(event_type: &str, data: Map<String, Value>) -> Result<E, serde_json::Error> {
    let empty = data.is_empty();
    let mut tagged = Map::new();
    tagged.insert("type".to_owned(), Value::String(event_type.to_owned()));
    // A variant without fields is read from its tag alone; one whose fields are all sealed and absent needs the object.
    if empty && let Ok(event) = serde_json::from_value(Value::Object(tagged.clone())) {
        return Ok(event);
    }
    tagged.insert("data".to_owned(), Value::Object(data));
    serde_json::from_value(Value::Object(tagged))
}

/// Reads a stored event of a stream whose kind is known, to fold it. Data of an older schema is brought to the newest.
///
/// # Errors
/// As [`AnyEvent::decode`](crate::AnyEvent::decode).
pub fn decode_as<E: Event>(
    position: Position,
    event_type: &str,
    schema: u16,
    data: &str,
    unsealed: Option<&Map<String, Value>>,
) -> Result<E, DecodeError> {
    Stored { position, event_type, schema, data, unsealed }.decode()
}

#[cfg(test)]
mod tests;
