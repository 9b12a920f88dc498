//! The smallest aggregate that has everything: public and sealed data, a state that counts, a person.

use kisum_events::{Actor, Aggregate, CompanyId, Effect, Event, Meta, RequestId, Sealed, StreamName, UserId};
use kisum_log::{Append, Loaded};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What happens to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Happened {
    /// Something that can change access.
    #[serde(rename = "counted.widened")]
    Widened {
        /// Anything.
        note: String,
    },
    /// Something that cannot.
    #[serde(rename = "counted.noted")]
    Noted {
        /// Anything.
        note: String,
        /// Anything that nobody else may read.
        #[serde(default)]
        secret: Sealed<String>,
    },
    /// Something that holds its own position, of some company.
    #[serde(rename = "counted.placed")]
    Placed {
        /// 0 until it is appended.
        own: u64,
    },
}

impl Event for Happened {
    const TYPES: &'static [&'static str] = &["counted.widened", "counted.noted", "counted.placed"];
    fn event_type(&self) -> &'static str {
        match self {
            Self::Widened { .. } => "counted.widened",
            Self::Noted { .. } => "counted.noted",
            Self::Placed { .. } => "counted.placed",
        }
    }
    fn effect(&self) -> Effect {
        match self {
            Self::Widened { .. } => Effect::Widens,
            Self::Noted { .. } | Self::Placed { .. } => Effect::None,
        }
    }
    fn company(&self) -> Option<CompanyId> {
        match self {
            Self::Placed { .. } => Some(CompanyId::new(Uuid::from_u128(1))),
            Self::Widened { .. } | Self::Noted { .. } => None,
        }
    }
    fn sealed_fields(&self) -> &'static [&'static str] {
        match self {
            Self::Noted { .. } => &["secret"],
            Self::Widened { .. } | Self::Placed { .. } => &[],
        }
    }
    fn own_position_field(&self) -> Option<&'static str> {
        match self {
            Self::Placed { .. } => Some("own"),
            Self::Widened { .. } | Self::Noted { .. } => None,
        }
    }
}

/// How often something happened, and the last secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// Events so far.
    pub count: u64,
    /// The last secret.
    #[serde(default)]
    pub secret: Sealed<String>,
}

impl Aggregate for Counted {
    type Event = Happened;
    const STATE_SCHEMA: u16 = 1;
    const SEALED: &'static [&'static str] = &["secret"];
    fn evolve(&mut self, event: &Happened, _version: u64) {
        self.count = self.count.saturating_add(1);
        if let Happened::Noted { secret, .. } = event {
            self.secret = secret.clone();
        }
    }
    fn person(&self, stream: &StreamName) -> Option<UserId> {
        stream.id().parse().ok()
    }
}

/// A new id.
#[expect(clippy::disallowed_methods, reason = "tests draw ids here alone")]
pub fn new_uuid() -> Uuid {
    Uuid::now_v7()
}

/// A new request id.
pub fn new_request() -> RequestId {
    RequestId::new(new_uuid())
}

/// A stream that nobody used before.
pub fn new_stream() -> StreamName {
    StreamName::from_stored(format!("counted-{}", new_uuid()))
}

/// An append by the platform itself.
pub fn append(request: RequestId) -> Append {
    Append::new(request, Meta::new(Actor::System, request))
}

/// An append of one access event to a stream at the given state.
pub fn widen(loaded: &Loaded<Counted>, note: &str) -> Append {
    let mut append = append(new_request());
    append.write(loaded, vec![Happened::Widened { note: note.to_owned() }]).unwrap_or_else(|error| panic!("{error}"));
    append
}
