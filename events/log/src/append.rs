//! Building one append: streams to write with the version they were decided on, streams only read, unique claims.

use crate::{AppendError, Loaded, ambient};
use kisum_events::{
    Aggregate, CompanyId, Effect, Event, EventId, Log, Meta, Position, RequestId, Slug, StreamName, UserId,
};
use serde_json::{Map, Value};

/// A body of at most this many bytes, with its meta, can be published: JetStream refuses larger messages, and one
/// that it refuses would stop the relay for ever. The table's CHECK says the same.
pub(crate) const BODY_BYTES_MAX: usize = 65_536;
/// The most events in one append: a batch must stay one short statement.
const EVENTS_MAX: usize = 256;

/// What the keys of owners begin with, and the first key that none of them is at or behind.
const STAFF_OWNER: &str = "staff-owner:";
const STAFF_OWNER_BEHIND: &str = "staff-owner;";

/// A value that at most one stream holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimKey(String);

impl ClaimKey {
    /// An e-mail address, as its HMAC under `LOOKUP_KEY` in hex: held by a user.
    pub fn email(hmac_hex: &str) -> Self {
        Self(format!("email:{hmac_hex}"))
    }

    /// A slug: held by a company.
    pub fn slug(slug: &Slug) -> Self {
        Self(format!("slug:{slug}"))
    }

    /// A person's place in a company: held by a membership.
    pub fn member(company: CompanyId, user: UserId) -> Self {
        Self(format!("member:{company}:{user}"))
    }

    /// An address's place among those that a company has invited, the address as [`ClaimKey::email`] has it: held by an
    /// invitation while it is pending.
    pub fn invitation(hmac_hex: &str, company: CompanyId) -> Self {
        Self(format!("invitation:{hmac_hex}:{company}"))
    }

    /// The least key of an invitation of an address, and the least behind all of them.
    pub fn invitations_of(hmac_hex: &str) -> (String, String) {
        (format!("invitation:{hmac_hex}:"), format!("invitation:{hmac_hex};"))
    }

    /// A company's named role, by its name as `kisum_domains::role` folds it: held by the role.
    pub fn role(company: CompanyId, name: &str) -> Self {
        Self(format!("role:{company}:{name}"))
    }

    /// What the keys of a company's roles begin with, and the least key behind all of them.
    pub fn roles_of(company: CompanyId) -> (String, String) {
        (format!("role:{company}:"), format!("role:{company};"))
    }

    /// That a person owns the platform: held by them as staff.
    pub fn staff_owner(user: UserId) -> Self {
        Self(format!("{STAFF_OWNER}{user}"))
    }

    /// The least key of an owner, and the least behind all of them.
    pub const fn staff_owners() -> (&'static str, &'static str) {
        (STAFF_OWNER, STAFF_OWNER_BEHIND)
    }

    /// That the platform has had its first owner: held by them as staff, for ever.
    pub fn staff_bootstrap() -> Self {
        Self("staff-bootstrap".to_owned())
    }

    /// The key as stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One event of an append, split into its stored parts.
#[derive(Clone, Debug)]
pub(crate) struct EventWrite {
    pub(crate) id: EventId,
    pub(crate) event_type: &'static str,
    pub(crate) schema: u16,
    pub(crate) company: Option<CompanyId>,
    pub(crate) effect: Effect,
    pub(crate) data: String,
    pub(crate) own_position: Option<&'static str>,
    pub(crate) sealed: Option<Map<String, Value>>,
}

/// One stream that an append writes.
#[derive(Clone, Debug)]
pub(crate) struct StreamWrite {
    pub(crate) stream: StreamName,
    pub(crate) expected: u64,
    pub(crate) person: Option<UserId>,
    pub(crate) events: Vec<EventWrite>,
    pub(crate) state_schema: u16,
    pub(crate) state: String,
    pub(crate) sealed_state: Option<Map<String, Value>>,
}

#[derive(Clone, Debug)]
pub(crate) struct ClaimChange {
    pub(crate) key: ClaimKey,
    pub(crate) take: bool,
    pub(crate) holder: StreamName,
}

/// A stream that gets an event which can change somebody's access, and the company that the event concerns, where it
/// concerns one.
pub type AccessWrite = (StreamName, Option<CompanyId>);

/// One append: all of it is written, or nothing.
#[derive(Clone, Debug)]
pub struct Append {
    pub(crate) request: RequestId,
    pub(crate) body_hash: Option<[u8; 32]>,
    pub(crate) meta: Meta,
    pub(crate) writes: Vec<StreamWrite>,
    pub(crate) guards: Vec<(StreamName, u64)>,
    pub(crate) claims: Vec<ClaimChange>,
}

impl Append {
    /// An empty append. `request` names it: the same id twice is the same append.
    pub const fn new(request: RequestId, meta: Meta) -> Self {
        Self { request, body_hash: None, meta, writes: Vec::new(), guards: Vec::new(), claims: Vec::new() }
    }

    /// Remembers the hash of the command's body, so that the request id with another body is refused.
    pub const fn with_body_hash(mut self, hash: [u8; 32]) -> Self {
        self.body_hash = Some(hash);
        self
    }

    /// The streams that get an event which can change somebody's access, and how many positions behind the first event
    /// the last such event stands.
    pub fn access_writes(&self) -> Option<(Vec<AccessWrite>, Position)> {
        let is_access = |event: &EventWrite| event.effect != Effect::None;
        let writes = self.writes.iter().filter_map(|write| {
            let event = write.events.iter().find(|event| is_access(event))?;
            Some((write.stream.clone(), event.company))
        });
        let events = self.writes.iter().flat_map(|write| &write.events);
        let last = (0..).zip(events).filter(|(_, event)| is_access(event)).map(|(place, _)| place).last()?;
        Some((writes.collect(), last))
    }

    /// The version that a stream written by this append will have, as far as it is built.
    pub fn version_after(&self, stream: &StreamName) -> Option<u64> {
        let write = self.writes.iter().find(|write| write.stream == *stream)?;
        Some(write.expected.saturating_add(u64::try_from(write.events.len()).unwrap_or(u64::MAX)))
    }

    /// Whether nothing would be written.
    pub const fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Adds events to a stream, decided on exactly the version that was loaded. Returns the state after them.
    ///
    /// # Errors
    /// [`AppendError::Refused`] when the stream is already written by this append, or an event cannot be stored.
    pub fn write<A: Aggregate>(&mut self, loaded: &Loaded<A>, events: Vec<A::Event>) -> Result<A, AppendError> {
        let events = events.into_iter().map(|event| (ambient::new_event_id(), event)).collect();
        self.write_with_ids(loaded, events)
    }

    /// As [`Append::write`], with ids drawn by the caller because one event names another.
    ///
    /// # Errors
    /// As [`Append::write`].
    pub fn write_with_ids<A: Aggregate>(
        &mut self,
        loaded: &Loaded<A>,
        events: Vec<(EventId, A::Event)>,
    ) -> Result<A, AppendError> {
        if events.is_empty() {
            return Ok(loaded.state.clone());
        }
        if self.writes.iter().any(|write| write.stream == loaded.stream) {
            return Err(AppendError::Refused(format!("{} is written twice by one append", loaded.stream)));
        }
        let mut state = loaded.state.clone();
        let mut version = loaded.version;
        for (_, event) in &events {
            version = version.saturating_add(1);
            state.evolve(event, version);
        }
        let company = state.company(&loaded.stream);
        let events =
            events.iter().map(|(id, event)| encode_event(*id, event, company)).collect::<Result<Vec<_>, _>>()?;
        let (public, sealed_state) = split_state(&state)?;
        self.writes.push(StreamWrite {
            stream: loaded.stream.clone(),
            expected: loaded.version,
            person: state.person(&loaded.stream),
            events,
            state_schema: A::STATE_SCHEMA,
            state: public,
            sealed_state,
        });
        Ok(state)
    }

    /// Makes the append depend on a stream that it does not write: if its version has changed, nothing is written. One
    /// that was loaded twice, at two versions, has changed.
    pub fn guard<A>(&mut self, loaded: &Loaded<A>) {
        let guard = (loaded.stream.clone(), loaded.version);
        if !self.guards.contains(&guard) {
            self.guards.push(guard);
        }
    }

    /// Takes a unique value for a stream.
    pub fn claim(&mut self, key: ClaimKey, holder: &StreamName) {
        self.claims.push(ClaimChange { key, take: true, holder: holder.clone() });
    }

    /// Gives a unique value back.
    pub fn release(&mut self, key: ClaimKey, holder: &StreamName) {
        self.claims.push(ClaimChange { key, take: false, holder: holder.clone() });
    }

    /// The edge's checks: what the table would refuse, said before anything is sent.
    pub(crate) fn check(&self) -> Result<(), AppendError> {
        let events = self.writes.iter().map(|write| write.events.len()).sum::<usize>();
        if events == 0 {
            return Err(AppendError::Refused("it has no events".to_owned()));
        }
        if events > EVENTS_MAX {
            return Err(AppendError::Refused(format!("it has {events} events; at most {EVENTS_MAX} are allowed")));
        }
        let meta = serde_json::to_string(&self.meta).map_err(|error| AppendError::Refused(error.to_string()))?;
        for event in self.writes.iter().flat_map(|write| &write.events) {
            // The own position is written in later and can grow the body by its digits.
            let bytes = event.data.len() + meta.len() + if event.own_position.is_some() { 20 } else { 0 };
            let kind = event.event_type;
            if bytes > BODY_BYTES_MAX {
                return Err(AppendError::Refused(format!(
                    "{kind} has {bytes} bytes; at most {BODY_BYTES_MAX} are allowed"
                )));
            }
            if event.data.contains("\\u0000") || meta.contains("\\u0000") {
                return Err(AppendError::Refused(format!("{kind} has a NUL character")));
            }
        }
        Ok(())
    }
}

fn encode_event<E: Event>(id: EventId, event: &E, company: Option<CompanyId>) -> Result<EventWrite, AppendError> {
    let encoded = event.encode().map_err(|error| AppendError::Refused(error.to_string()))?;
    Ok(EventWrite {
        id,
        event_type: event.event_type(),
        schema: event.schema(),
        company: event.company().or(company),
        effect: event.effect(),
        data: encoded.data,
        own_position: event.own_position_field(),
        sealed: encoded.sealed,
    })
}

/// A state's public JSON and its sealed fields.
fn split_state<A: Aggregate>(state: &A) -> Result<(String, Option<Map<String, Value>>), AppendError> {
    let refused = |error: serde_json::Error| AppendError::Refused(error.to_string());
    let mut public = serde_json::to_value(state).map_err(refused)?;
    let mut sealed = Map::new();
    if let Value::Object(fields) = &mut public {
        for field in A::SEALED {
            if let Some(value) = fields.remove(*field)
                && !value.is_null()
            {
                sealed.insert((*field).to_owned(), value);
            }
        }
    }
    Ok((serde_json::to_string(&public).map_err(refused)?, (!sealed.is_empty()).then_some(sealed)))
}

/// Where an append stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The log.
    pub log: Log,
    /// Its epoch.
    pub epoch: u32,
    /// Position of the append's first event.
    pub first: Position,
    /// Position of its last event: the `X-Access-Position` of a command.
    pub last: Position,
    /// Whether it had been made before, by the same request id.
    pub duplicate: bool,
}
