//! What every event can say of itself, and the way from and to its stored form.

use crate::{
    AddonEvent, CompanyEvent, CompanyId, Effect, LogEvent, MembershipEvent, ModuleEvent, PackageEvent, Position,
    SessionEvent, StreamName, SubscriptionEvent, UserEvent, UserId,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// One aggregate's events. Implemented by the enums of this crate alone.
pub trait Event: Serialize + DeserializeOwned {
    /// Every wire name of the enum.
    const TYPES: &'static [&'static str];
    /// The wire name, such as `membership.module_granted`. Stable for ever.
    fn event_type(&self) -> &'static str;
    /// What it does to access (`events.md`: N, W, i).
    fn effect(&self) -> Effect;
    /// The company it concerns, as far as the event itself says; the stream's aggregate knows the rest.
    fn company(&self) -> Option<CompanyId>;
    /// Names of the fields that are sealed.
    fn sealed_fields(&self) -> &'static [&'static str] {
        &[]
    }
    /// The field of `data` that holds the event's own position, where there is one: only the append knows it and
    /// writes it in place of 0.
    fn own_position_field(&self) -> Option<&'static str> {
        None
    }
    /// The schema it is written in.
    fn schema(&self) -> u16 {
        1
    }

    /// Splits the event into its stored parts.
    ///
    /// # Errors
    /// When a value cannot be written as JSON, which no event of this crate can cause.
    fn encode(&self) -> Result<Encoded, serde_json::Error> {
        let Value::Object(mut tagged) = serde_json::to_value(self)? else {
            return Err(serde::ser::Error::custom("an event is a tagged object"));
        };
        let mut data = match tagged.remove("data") {
            Some(Value::Object(data)) => data,
            _ => Map::new(),
        };
        let mut sealed = Map::new();
        for field in self.sealed_fields() {
            if let Some(value) = data.remove(*field)
                && !value.is_null()
            {
                sealed.insert((*field).to_owned(), value);
            }
        }
        Ok(Encoded { data: serde_json::to_string(&data)?, sealed: (!sealed.is_empty()).then_some(sealed) })
    }
}

/// An event's stored parts.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The public payload as JSON text.
    pub data: String,
    /// The sealed payload, before encryption.
    pub sealed: Option<Map<String, Value>>,
}

/// A stream's state as the fold of its events; implemented in `domains`, loaded and stored by the log without
/// knowing what it means.
pub trait Aggregate: Clone + Default + Serialize + DeserializeOwned {
    /// The events of the stream.
    type Event: Event;
    /// Schema of the serialised state. A stored state of another schema is folded anew.
    const STATE_SCHEMA: u16;
    /// Names of top-level fields of the state that are sealed.
    const SEALED: &'static [&'static str] = &[];
    /// Folds one event. Total: history already happened.
    ///
    /// `version` is the event's version in its stream: what a state keeps to name the event that gave a right.
    fn evolve(&mut self, event: &Self::Event, version: u64);
    /// The person under whose key sealed parts stand.
    fn person(&self, stream: &StreamName) -> Option<UserId> {
        let _ = stream;
        None
    }
    /// The company that the stream's events concern.
    fn company(&self, stream: &StreamName) -> Option<CompanyId> {
        let _ = stream;
        None
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
        /// The newest schema known here.
        known: u16,
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

/// Reads an event enum from its stored parts, public and unsealed in one object.
fn read_tagged<E: DeserializeOwned>(
    event_type: &str,
    data: &str,
    unsealed: Option<&Map<String, Value>>,
) -> Result<E, serde_json::Error> {
    let mut data: Map<String, Value> = serde_json::from_str(data)?;
    if let Some(unsealed) = unsealed {
        data.extend(unsealed.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
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

/// Reads a stored event of a stream whose kind is known, to fold it.
///
/// # Errors
/// As [`AnyEvent::decode`].
pub fn decode_as<E: Event>(
    position: Position,
    event_type: &str,
    schema: u16,
    data: &str,
    unsealed: Option<&Map<String, Value>>,
) -> Result<E, DecodeError> {
    if !E::TYPES.contains(&event_type) {
        return Err(DecodeError::UnknownType { position, event_type: event_type.to_owned() });
    }
    readable(position, event_type, schema)?;
    read_tagged(event_type, data, unsealed).map_err(|source| DecodeError::Shape {
        position,
        event_type: event_type.to_owned(),
        source,
    })
}

/// Refuses what a newer program wrote.
fn readable(position: Position, event_type: &str, schema: u16) -> Result<(), DecodeError> {
    if schema > SCHEMA_NEWEST {
        let event_type = event_type.to_owned();
        return Err(DecodeError::NewerSchema { position, event_type, schema, known: SCHEMA_NEWEST });
    }
    Ok(())
}

/// Any event of either log.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyEvent {
    /// `user.*`
    User(UserEvent),
    /// `session.*`
    Session(SessionEvent),
    /// `company.*`
    Company(CompanyEvent),
    /// `membership.*`
    Membership(MembershipEvent),
    /// `module.*`
    Module(ModuleEvent),
    /// `package.*`
    Package(PackageEvent),
    /// `addon.version_*`, on an add-on's own stream
    Addon(AddonEvent),
    /// `subscription.*`, `addon.attached|detached`, `override.*`, `entitlement.changed`
    Subscription(SubscriptionEvent),
    /// `log.*`
    Log(LogEvent),
}

/// The newest schema that this program writes and reads, for every type.
const SCHEMA_NEWEST: u16 = 1;

impl AnyEvent {
    /// Reads a stored event.
    ///
    /// # Errors
    /// [`DecodeError`], never a skip.
    pub fn decode(
        position: Position,
        event_type: &str,
        schema: u16,
        data: &str,
        unsealed: Option<&Map<String, Value>>,
    ) -> Result<Self, DecodeError> {
        let shape = |source| DecodeError::Shape { position, event_type: event_type.to_owned(), source };
        let unknown = || DecodeError::UnknownType { position, event_type: event_type.to_owned() };
        type Reader = fn(&str, &str, Option<&Map<String, Value>>) -> Result<AnyEvent, serde_json::Error>;
        let (known, read): (&[&str], Reader) = match event_type.split_once('.').ok_or_else(unknown)? {
            ("user", _) => (UserEvent::TYPES, |t, d, u| read_tagged(t, d, u).map(Self::User)),
            ("session", _) => (SessionEvent::TYPES, |t, d, u| read_tagged(t, d, u).map(Self::Session)),
            ("company", _) => (CompanyEvent::TYPES, |t, d, u| read_tagged(t, d, u).map(Self::Company)),
            ("membership", _) => (MembershipEvent::TYPES, |t, d, u| read_tagged(t, d, u).map(Self::Membership)),
            ("module", _) => (ModuleEvent::TYPES, |t, d, u| read_tagged(t, d, u).map(Self::Module)),
            ("package", _) => (PackageEvent::TYPES, |t, d, u| read_tagged(t, d, u).map(Self::Package)),
            ("addon", "version_published" | "version_retired") => {
                (AddonEvent::TYPES, |t, d, u| read_tagged(t, d, u).map(Self::Addon))
            }
            ("subscription" | "addon" | "override" | "entitlement", _) => {
                (SubscriptionEvent::TYPES, |t, d, u| read_tagged(t, d, u).map(Self::Subscription))
            }
            ("log", _) => (LogEvent::TYPES, |t, d, u| read_tagged(t, d, u).map(Self::Log)),
            _ => return Err(unknown()),
        };
        if !known.contains(&event_type) {
            return Err(unknown());
        }
        readable(position, event_type, schema)?;
        read(event_type, data, unsealed).map_err(shape)
    }
}

/// Declares one aggregate's events: variant, wire name, effect and sealed fields stand in one table, and the
/// matches that are made of it are exhaustive.
///
/// `company:` and `own_position:` name functions for those two of [`Event`]'s answers that a table cannot give.
macro_rules! events {
    (@answer $event:expr) => { None };
    (@answer $event:expr, $function:path) => { $function($event) };
    (
        $(#[$doc:meta])* $name:ident $(, company: $company:path)? $(, own_position: $own_position:path)? {
            $( $(#[$vdoc:meta])* $variant:ident = $wire:literal $effect:ident $([$($sealed:literal),*])?
               $({ $( $(#[$fdoc:meta])* $field:ident : $ty:ty ),* $(,)? })? ),* $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "type", content = "data", rename_all_fields = "camelCase")]
        pub enum $name {
            $( $(#[$vdoc])* #[serde(rename = $wire)] $variant $({ $( $(#[$fdoc])* $field: $ty ),* })? ),*
        }

        impl $name {
            /// Wire name, effect and sealed fields of this event.
            const fn row(&self) -> (&'static str, crate::Effect, &'static [&'static str]) {
                match self {
                    $( Self::$variant { .. } => ($wire, crate::Effect::$effect, &[$($($sealed),*)?]) ),*
                }
            }
        }

        impl crate::Event for $name {
            const TYPES: &'static [&'static str] = &[$($wire),*];
            fn event_type(&self) -> &'static str {
                self.row().0
            }
            fn effect(&self) -> crate::Effect {
                self.row().1
            }
            fn sealed_fields(&self) -> &'static [&'static str] {
                self.row().2
            }
            fn company(&self) -> Option<crate::CompanyId> {
                crate::event::events!(@answer self $(, $company)?)
            }
            fn own_position_field(&self) -> Option<&'static str> {
                crate::event::events!(@answer self $(, $own_position)?)
            }
        }
    };
}
pub(crate) use events;
