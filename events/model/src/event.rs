//! What every event can say of itself, and the way to its stored form; the way back is in `decode`.

use crate::{
    AddonEvent, CompanyEvent, CompanyId, DecodeError, DelegationEvent, Effect, InvitationEvent, KeyringEvent, LogEvent,
    MembershipEvent, ModuleEvent, PackageEvent, Position, RoleEvent, SessionEvent, SigninEvent, StaffEvent, StreamName,
    SubscriptionEvent, Upcaster, UserEvent, UserId, decode::Stored,
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
    /// What brings stored data of a type from schema 1 to 2, from 2 to 3, and so on to the newest.
    ///
    /// INVARIANT: a released upcaster stays, and works on whatever was ever stored under its schema.
    fn upcasters(event_type: &str) -> &'static [Upcaster] {
        let _ = event_type;
        &[]
    }
    /// The schema that a type is written in, from 1. It follows from the upcasters, so none can be missing.
    fn newest_schema(event_type: &str) -> u16 {
        u16::try_from(Self::upcasters(event_type).len()).unwrap_or(u16::MAX).saturating_add(1)
    }
    /// The schema it is written in.
    fn schema(&self) -> u16 {
        Self::newest_schema(self.event_type())
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
    /// `key.*`
    Keyring(KeyringEvent),
    /// `staff.*`
    Staff(StaffEvent),
    /// `signin.*`
    Signin(SigninEvent),
    /// `invitation.*`
    Invitation(InvitationEvent),
    /// `role.*`
    Role(RoleEvent),
    /// `delegation.*`
    Delegation(DelegationEvent),
}

impl AnyEvent {
    /// Reads a stored event of any schema that its type ever had.
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
        fn read<E: Event>(stored: Stored<'_>, wrap: fn(E) -> AnyEvent) -> Result<AnyEvent, DecodeError> {
            stored.decode().map(wrap)
        }
        let stored = Stored { position, event_type, schema, data, unsealed };
        match event_type.split_once('.') {
            Some(("user", _)) => read(stored, Self::User),
            Some(("session", _)) => read(stored, Self::Session),
            Some(("company", _)) => read(stored, Self::Company),
            Some(("membership", _)) => read(stored, Self::Membership),
            Some(("module", _)) => read(stored, Self::Module),
            Some(("package", _)) => read(stored, Self::Package),
            Some(("addon", "version_published" | "version_retired")) => read(stored, Self::Addon),
            Some(("subscription" | "addon" | "override" | "entitlement", _)) => read(stored, Self::Subscription),
            Some(("log", _)) => read(stored, Self::Log),
            Some(("key", _)) => read(stored, Self::Keyring),
            Some(("staff", _)) => read(stored, Self::Staff),
            Some(("signin", _)) => read(stored, Self::Signin),
            Some(("invitation", _)) => read(stored, Self::Invitation),
            Some(("role", _)) => read(stored, Self::Role),
            Some(("delegation", _)) => read(stored, Self::Delegation),
            _ => Err(DecodeError::UnknownType { position, event_type: event_type.to_owned() }),
        }
    }
}

/// Declares one aggregate's events: variant, wire name, effect and sealed fields stand in one table, and the
/// matches that are made of it are exhaustive.
///
/// A type's data changes its shape by an upcaster: `Renamed = "a.renamed" None ["name"] upcast [one_to_two, …] { … }`
/// lists one for each older schema, oldest first ([`Event::upcasters`]), and the fields are those of the newest.
///
/// `company:` and `own_position:` name functions for those two of [`Event`]'s answers that a table cannot give.
macro_rules! events {
    (@answer $event:expr) => { None };
    (@answer $event:expr, $function:path) => { $function($event) };
    (
        $(#[$doc:meta])* $name:ident $(, company: $company:path)? $(, own_position: $own_position:path)? {
            $( $(#[$vdoc:meta])* $variant:ident = $wire:literal $effect:ident $([$($sealed:literal),*])?
               $(upcast [$($upcaster:path),+ $(,)?])? $({ $( $(#[$fdoc:meta])* $field:ident : $ty:ty ),* $(,)? })? ),* $(,)?
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
            fn upcasters(event_type: &str) -> &'static [crate::Upcaster] {
                match event_type {
                    $( $wire => const { &[$($($upcaster),+)?] }, )*
                    _ => &[],
                }
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
