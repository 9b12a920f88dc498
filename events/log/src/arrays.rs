//! A batch as the arrays that `append()` takes, and its verdicts read back.

use crate::{AppendError, Receipt, append::Append};
use kisum_events::{Log, StreamName};
use sqlx::PgConnection;
use uuid::Uuid;

/// An append whose parts are sealed: ready to be sent, as often as it takes.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) append: Append,
    pub(crate) meta: String,
    /// Sealed payloads in the order of events, and sealed states in the order of writes.
    pub(crate) sealed_events: Vec<Option<Vec<u8>>>,
    pub(crate) sealed_states: Vec<Option<Vec<u8>>>,
}

/// One row an append.
#[derive(Default)]
struct Requests {
    id: Vec<Uuid>,
    body: Vec<Option<Vec<u8>>>,
}

#[derive(Default)]
struct Streams {
    append: Vec<i32>,
    name: Vec<String>,
    expected: Vec<i64>,
}

#[derive(Default)]
struct Guards {
    append: Vec<i32>,
    name: Vec<String>,
    version: Vec<i64>,
}

#[derive(Default)]
struct Claims {
    append: Vec<i32>,
    key: Vec<String>,
    take: Vec<bool>,
    holder: Vec<String>,
}

#[derive(Default)]
struct Events {
    append: Vec<i32>,
    s: Vec<i32>,
    stream: Vec<String>,
    ordinal: Vec<i32>,
    id: Vec<Uuid>,
    event_type: Vec<String>,
    schema: Vec<i16>,
    company: Vec<Option<Uuid>>,
    effect: Vec<String>,
    data: Vec<String>,
    own_position: Vec<Option<String>>,
    sealed: Vec<Option<Vec<u8>>>,
    person: Vec<Option<Uuid>>,
    meta: Vec<String>,
    state_schema: Vec<Option<i16>>,
    state: Vec<Option<String>>,
    sealed_state: Vec<Option<Vec<u8>>>,
    state_person: Vec<Option<Uuid>>,
    request: Vec<Option<Uuid>>,
    body: Vec<Option<Vec<u8>>>,
    count: Vec<Option<i32>>,
}

/// The arguments of one call.
#[derive(Default)]
pub(crate) struct Arrays {
    requests: Requests,
    streams: Streams,
    guards: Guards,
    claims: Claims,
    events: Events,
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn number(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

impl Arrays {
    pub(crate) fn new<'a>(batch: impl IntoIterator<Item = &'a Prepared>) -> Self {
        let mut arrays = Self::default();
        for (index, prepared) in batch.into_iter().enumerate() {
            arrays.push(number(index + 1), prepared);
        }
        arrays
    }

    fn push(&mut self, n: i32, prepared: &Prepared) {
        let append = &prepared.append;
        let body = append.body_hash.map(|hash| hash.to_vec());
        self.requests.id.push(append.request.uuid());
        self.requests.body.push(body.clone());
        for (stream, version) in &append.guards {
            self.guards.append.push(n);
            self.guards.name.push(stream.as_str().to_owned());
            self.guards.version.push(signed(*version));
        }
        for change in &append.claims {
            self.claims.append.push(n);
            self.claims.key.push(change.key.as_str().to_owned());
            self.claims.take.push(change.take);
            self.claims.holder.push(change.holder.as_str().to_owned());
        }
        let first = self.events.id.len();
        let mut sealed_events = prepared.sealed_events.iter();
        for (write, sealed_state) in append.writes.iter().zip(&prepared.sealed_states) {
            self.streams.append.push(n);
            self.streams.name.push(write.stream.as_str().to_owned());
            self.streams.expected.push(signed(write.expected));
            let s = number(self.streams.name.len());
            let person = write.person.map(kisum_events::UserId::uuid);
            let events = &mut self.events;
            for (index, event) in write.events.iter().enumerate() {
                let last = index + 1 == write.events.len();
                let sealed = sealed_events.next().cloned().flatten();
                events.append.push(n);
                events.s.push(s);
                events.stream.push(write.stream.as_str().to_owned());
                events.ordinal.push(number(index + 1));
                events.id.push(event.id.uuid());
                events.event_type.push(event.event_type.to_owned());
                events.schema.push(i16::try_from(event.schema).unwrap_or(i16::MAX));
                events.company.push(event.company.map(kisum_events::CompanyId::uuid));
                events.effect.push(event.effect.name().to_owned());
                events.data.push(event.data.clone());
                events.own_position.push(event.own_position.map(str::to_owned));
                events.person.push(if sealed.is_some() { person } else { None });
                events.sealed.push(sealed);
                events.meta.push(prepared.meta.clone());
                events.state_schema.push(last.then(|| i16::try_from(write.state_schema).unwrap_or(i16::MAX)));
                events.state.push(last.then(|| write.state.clone()));
                events.sealed_state.push(if last { sealed_state.clone() } else { None });
                events.state_person.push(if last && sealed_state.is_some() { person } else { None });
                events.request.push(None);
                events.body.push(None);
                events.count.push(None);
            }
        }
        let count = self.events.id.len() - first;
        if let (Some(request), Some(stored_body), Some(events)) =
            (self.events.request.get_mut(first), self.events.body.get_mut(first), self.events.count.get_mut(first))
        {
            *request = Some(append.request.uuid());
            *stored_body = body;
            *events = Some(number(count));
        }
    }

    /// Sends the one call. The answer has a verdict for each append, in any order.
    pub(crate) async fn call(&self, conn: &mut PgConnection) -> Result<Vec<VerdictRow>, sqlx::Error> {
        let (r, s, g, c, e) = (&self.requests, &self.streams, &self.guards, &self.claims, &self.events);
        // Arrays with nulls cannot be checked against their parameter types; the function's signature does.
        sqlx::query_as!(
            VerdictRow,
            r#"select append as "append!", verdict as "verdict!", name, actual, holder, first_position, last_position,
                      epoch as "epoch!"
               from append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
                           $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33)"#,
            &r.id,
            &r.body as _,
            &s.append,
            &s.name,
            &s.expected,
            &g.append,
            &g.name,
            &g.version,
            &c.append,
            &c.key,
            &c.take,
            &c.holder,
            &e.append,
            &e.s,
            &e.stream,
            &e.ordinal,
            &e.id,
            &e.event_type,
            &e.schema,
            &e.company as _,
            &e.effect,
            &e.data,
            &e.own_position as _,
            &e.sealed as _,
            &e.person as _,
            &e.meta,
            &e.state_schema as _,
            &e.state as _,
            &e.sealed_state as _,
            &e.state_person as _,
            &e.request as _,
            &e.body as _,
            &e.count as _,
        )
        .fetch_all(conn)
        .await
    }
}

/// One append's verdict as `append()` gives it.
#[derive(Debug)]
pub(crate) struct VerdictRow {
    pub(crate) append: i32,
    verdict: String,
    name: Option<String>,
    actual: Option<i64>,
    holder: Option<String>,
    first_position: Option<i64>,
    last_position: Option<i64>,
    epoch: i32,
}

impl VerdictRow {
    /// The verdict in the caller's terms.
    pub(crate) fn read(self, log: Log, append: &Append) -> Result<Receipt, AppendError> {
        let unsigned = |value: Option<i64>| value.and_then(|v| u64::try_from(v).ok()).unwrap_or(0);
        let stream = || StreamName::from_stored(self.name.clone().unwrap_or_default());
        match self.verdict.as_str() {
            "ok" | "duplicate" => Ok(Receipt {
                log,
                epoch: u32::try_from(self.epoch).unwrap_or(0),
                first: unsigned(self.first_position),
                last: unsigned(self.last_position),
                duplicate: self.verdict == "duplicate",
            }),
            "reused" => Err(AppendError::RequestReused),
            "version" => {
                let stream = stream();
                let expected = append.writes.iter().find(|write| write.stream == stream).map_or(0, |w| w.expected);
                Err(AppendError::Version { stream, expected, actual: unsigned(self.actual) })
            }
            "guard" => {
                let stream = stream();
                let expected = append.guards.iter().find(|(name, _)| *name == stream).map_or(0, |(_, v)| *v);
                Err(AppendError::Guard { stream, expected, actual: unsigned(self.actual) })
            }
            "claim" => {
                Err(AppendError::Claim { key: self.name.unwrap_or_default(), holder: self.holder.unwrap_or_default() })
            }
            other => Err(AppendError::Unavailable(format!("the log gave the unknown verdict '{other}'"))),
        }
    }
}
