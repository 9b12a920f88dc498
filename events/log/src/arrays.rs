//! A batch as the arrays that `append()` takes, and its verdicts read back.

use crate::{AppendError, Receipt, append::Append};
use kisum_events::{Effect, Log, StreamName};
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

impl Prepared {
    /// How many events it has, and about how many bytes.
    pub(crate) fn weight(&self) -> (usize, usize) {
        self.append.writes.iter().fold((0, 0), |(events, bytes), write| {
            let data = write.events.iter().map(|event| event.data.len() + self.meta.len()).sum::<usize>();
            (events + write.events.len(), bytes + data + write.state.len())
        })
    }
}

/// One row an append.
#[derive(Default)]
struct Requests<'a> {
    id: Vec<Uuid>,
    body: Vec<Option<&'a [u8]>>,
    meta: Vec<&'a str>,
    events: Vec<i32>,
    access: Vec<i32>,
}

#[derive(Default)]
struct Streams<'a> {
    append: Vec<i32>,
    name: Vec<&'a str>,
    expected: Vec<i64>,
    events: Vec<i32>,
    last: Vec<i32>,
    schema: Vec<i16>,
    state: Vec<&'a str>,
    sealed: Vec<Option<&'a [u8]>>,
    person: Vec<Option<Uuid>>,
}

#[derive(Default)]
struct Guards<'a> {
    append: Vec<i32>,
    name: Vec<&'a str>,
    version: Vec<i64>,
}

#[derive(Default)]
struct Claims<'a> {
    append: Vec<i32>,
    key: Vec<&'a str>,
    take: Vec<bool>,
    holder: Vec<&'a str>,
}

#[derive(Default)]
struct Events<'a> {
    append: Vec<i32>,
    s: Vec<i32>,
    ordinal: Vec<i32>,
    access: Vec<i32>,
    id: Vec<Uuid>,
    event_type: Vec<&'a str>,
    schema: Vec<i16>,
    company: Vec<Option<Uuid>>,
    effect: Vec<&'a str>,
    data: Vec<&'a str>,
    own_position: Vec<Option<&'a str>>,
    sealed: Vec<Option<&'a [u8]>>,
    person: Vec<Option<Uuid>>,
}

/// The arguments of one call: see `migrations/log/0019_append.sql` for what each row says.
#[derive(Default)]
pub(crate) struct Arrays<'a> {
    requests: Requests<'a>,
    streams: Streams<'a>,
    guards: Guards<'a>,
    claims: Claims<'a>,
    events: Events<'a>,
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn number(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

fn schema(value: u16) -> i16 {
    i16::try_from(value).unwrap_or(i16::MAX)
}

impl<'a> Arrays<'a> {
    pub(crate) fn new(batch: impl IntoIterator<Item = &'a Prepared>) -> Self {
        let mut arrays = Self::default();
        for (index, prepared) in batch.into_iter().enumerate() {
            arrays.push(number(index + 1), prepared);
        }
        arrays
    }

    fn push(&mut self, n: i32, prepared: &'a Prepared) {
        let append = &prepared.append;
        for (stream, version) in &append.guards {
            self.guards.append.push(n);
            self.guards.name.push(stream.as_str());
            self.guards.version.push(signed(*version));
        }
        for change in &append.claims {
            self.claims.append.push(n);
            self.claims.key.push(change.key.as_str());
            self.claims.take.push(change.take);
            self.claims.holder.push(change.holder.as_str());
        }
        let first = self.events.id.len();
        // Counted from the batch's first event, for `e_access`; from the append's first for `r_access`.
        let mut last_access = 0;
        let mut sealed_events = prepared.sealed_events.iter();
        for (write, sealed_state) in append.writes.iter().zip(&prepared.sealed_states) {
            let s = number(self.streams.name.len() + 1);
            let events = &mut self.events;
            for (index, event) in write.events.iter().enumerate() {
                let sealed = sealed_events.next().and_then(Option::as_deref);
                events.append.push(n);
                events.s.push(s);
                events.ordinal.push(number(index + 1));
                events.access.push(last_access);
                events.id.push(event.id.uuid());
                events.event_type.push(event.event_type);
                events.schema.push(schema(event.schema));
                events.company.push(event.company.map(kisum_events::CompanyId::uuid));
                events.effect.push(event.effect.name());
                events.data.push(&event.data);
                events.own_position.push(event.own_position);
                events.person.push(if sealed.is_some() { write.person.map(kisum_events::UserId::uuid) } else { None });
                events.sealed.push(sealed);
                if event.effect != Effect::None {
                    last_access = number(events.id.len());
                }
            }
            let sealed_state = sealed_state.as_deref();
            let streams = &mut self.streams;
            streams.append.push(n);
            streams.name.push(write.stream.as_str());
            streams.expected.push(signed(write.expected));
            streams.events.push(number(write.events.len()));
            streams.last.push(number(self.events.id.len()));
            streams.schema.push(schema(write.state_schema));
            streams.state.push(&write.state);
            streams.person.push(sealed_state.and(write.person).map(kisum_events::UserId::uuid));
            streams.sealed.push(sealed_state);
        }
        self.requests.id.push(append.request.uuid());
        self.requests.body.push(append.body_hash.as_ref().map(<[u8; 32]>::as_slice));
        self.requests.meta.push(&prepared.meta);
        self.requests.events.push(number(self.events.id.len() - first));
        self.requests.access.push((last_access - number(first)).max(0));
    }

    /// Sends the one call. The answer has a verdict for each append.
    pub(crate) async fn call(&self, conn: &mut PgConnection) -> Result<Verdicts, sqlx::Error> {
        let (r, s, g, c, e) = (&self.requests, &self.streams, &self.guards, &self.claims, &self.events);
        // Borrowed texts and arrays with nulls cannot be checked against their parameter types; the function's
        // signature does.
        sqlx::query_as!(
            Verdicts,
            r#"select epoch as "epoch!", first as "first!: _", bad_append as "bad_append?", bad_verdict as "bad_verdict?",
                      bad_name as "bad_name?: _", bad_actual as "bad_actual?: _", bad_holder as "bad_holder?: _",
                      bad_first as "bad_first?: _", bad_last as "bad_last?: _"
               from append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
                           $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34)"#,
            &r.id,
            &r.body as _,
            &r.meta as _,
            &r.events,
            &r.access,
            &s.append,
            &s.name as _,
            &s.expected,
            &s.events,
            &s.last,
            &s.schema,
            &s.state as _,
            &s.sealed as _,
            &s.person as _,
            &g.append,
            &g.name as _,
            &g.version,
            &c.append,
            &c.key as _,
            &c.take,
            &c.holder as _,
            &e.append,
            &e.s,
            &e.ordinal,
            &e.access,
            &e.id,
            &e.event_type as _,
            &e.schema,
            &e.company as _,
            &e.effect as _,
            &e.data as _,
            &e.own_position as _,
            &e.sealed as _,
            &e.person as _,
        )
        .fetch_one(conn)
        .await
    }
}

/// The verdicts of one call as `append()` gives them: first positions of what was made, and one row of `bad_*` for
/// each append that was not.
#[derive(Debug)]
pub(crate) struct Verdicts {
    epoch: i32,
    first: Vec<Option<i64>>,
    bad_append: Option<Vec<i32>>,
    bad_verdict: Option<Vec<String>>,
    bad_name: Option<Vec<Option<String>>>,
    bad_actual: Option<Vec<Option<i64>>>,
    bad_holder: Option<Vec<Option<String>>>,
    bad_first: Option<Vec<Option<i64>>>,
    bad_last: Option<Vec<Option<i64>>>,
}

impl Verdicts {
    /// The verdict on one append of the batch, counted from 0, in the caller's terms.
    pub(crate) fn read(&self, log: Log, index: usize, append: &Append) -> Result<Receipt, AppendError> {
        if let Some(first) = self.first.get(index).copied().flatten() {
            let events = append.writes.iter().map(|write| write.events.len()).sum::<usize>();
            let first = unsigned(Some(first));
            let last = first.saturating_add(u64::try_from(events).unwrap_or(0)).saturating_sub(1);
            return Ok(self.receipt(log, first, last, false));
        }
        let row = self.bad_append.iter().flatten().position(|append| *append == number(index + 1));
        let Some(row) = row else {
            return Err(AppendError::Unavailable("the log gave no verdict".to_owned()));
        };
        let (name, actual) = (at(&self.bad_name, row), unsigned(at(&self.bad_actual, row)));
        let stream = || StreamName::from_stored(name.clone().unwrap_or_default());
        match self.bad_verdict.iter().flatten().nth(row).map(String::as_str) {
            Some("duplicate") => {
                let (first, last) = (unsigned(at(&self.bad_first, row)), unsigned(at(&self.bad_last, row)));
                Ok(self.receipt(log, first, last, true))
            }
            Some("reused") => Err(AppendError::RequestReused),
            Some("version") => {
                let stream = stream();
                let expected = append.writes.iter().find(|write| write.stream == stream).map_or(0, |w| w.expected);
                Err(AppendError::Version { stream, expected, actual })
            }
            Some("guard") => {
                let stream = stream();
                let expected = append.guards.iter().find(|(name, _)| *name == stream).map_or(0, |(_, v)| *v);
                Err(AppendError::Guard { stream, expected, actual })
            }
            Some("claim") => {
                let holder = at(&self.bad_holder, row).unwrap_or_default();
                Err(AppendError::Claim { key: name.unwrap_or_default(), holder })
            }
            other => Err(AppendError::Unavailable(format!("the log gave the unknown verdict {other:?}"))),
        }
    }

    fn receipt(&self, log: Log, first: u64, last: u64, duplicate: bool) -> Receipt {
        Receipt { log, epoch: u32::try_from(self.epoch).unwrap_or(0), first, last, duplicate }
    }
}

fn unsigned(value: Option<i64>) -> u64 {
    value.and_then(|value| u64::try_from(value).ok()).unwrap_or(0)
}

fn at<T: Clone>(column: &Option<Vec<Option<T>>>, row: usize) -> Option<T> {
    column.as_ref()?.get(row)?.clone()
}
