//! The handle that services hold: load, decide elsewhere, append.

use crate::{
    Append, AppendError, ClaimKey, Follow, LoadError, Loaded, LogHead, OpenError, Receipt, SealError, Sealer,
    appender::{self, Waiting},
    arrays::Prepared,
    head,
    load::{self, Streams, Wanted},
    reads::{self, Reads},
    seal::Place,
    trace,
};
use kisum_events::{Aggregate, Cursor, Log, Position, StreamName, UserId};
use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Instrument as _;

/// Connections that an open log makes, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// For appends.
    pub appends: u32,
    /// For group reads.
    pub reads: u32,
}

/// One log, open for reading and appending. Cheap to clone; all clones share one appender.
#[derive(Clone)]
pub struct EventLog {
    log: Log,
    pool: PgPool,
    sealer: Sealer,
    reads: Reads<Streams>,
    appender: mpsc::Sender<Waiting>,
    appended: watch::Sender<()>,
}

impl EventLog {
    /// Connections that an open log makes beside its pool.
    pub const CONNECTIONS: Opened = Opened { appends: appender::LANES, reads: reads::LANES };

    /// Opens a log: `pool` for reads, `db_url` for the appender's own connection, which is made when first needed.
    ///
    /// # Errors
    /// [`OpenError::Url`] when the connection string is malformed. A database that is down is no error yet.
    pub async fn open(log: Log, db_url: &str, pool: PgPool, sealer: Sealer) -> Result<Self, OpenError> {
        let options: PgConnectOptions = db_url.parse().map_err(OpenError::Url)?;
        let reads = Reads::start(Streams, &options, log.name());
        let appender = appender::spawn(log, &options.application_name(&format!("kisum-append-{log}")));
        Ok(Self { log, pool, sealer, reads, appender, appended: watch::Sender::new(()) })
    }

    /// Which log.
    pub const fn log(&self) -> Log {
        self.log
    }

    /// The pool that it reads through.
    pub const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A follower of what comes behind `after`, which sees what is appended through this handle at once.
    pub fn follow(&self, after: Cursor) -> Follow {
        Follow::new(self.pool.clone(), self.log, after).woken_by(self.appended.subscribe())
    }

    /// Loads a stream's state; a stream without events is at version 0 in its default state.
    ///
    /// # Errors
    /// [`LoadError`]; never a partial state.
    pub async fn load<A: Aggregate>(&self, stream: &StreamName) -> Result<Loaded<A>, LoadError> {
        let row = self.reads.ask(Wanted::Stream(stream.clone())).await?;
        match row.stream {
            Some(row) => load::open(&self.pool, self.log, &self.sealer, row).await,
            None => Ok(Loaded::new_stream(stream.clone())),
        }
    }

    /// Loads the states of the streams among these that have events, in no order and in one snapshot.
    ///
    /// # Errors
    /// [`LoadError`]; never a partial list.
    pub async fn load_all<A: Aggregate>(
        &self,
        streams: impl IntoIterator<Item = StreamName>,
    ) -> Result<Vec<Loaded<A>>, LoadError> {
        let names: Vec<String> = streams.into_iter().map(|stream| stream.to_string()).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        load::load_all(&self.pool, self.log, &self.sealer, &names).await
    }

    /// Who holds a unique value.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn claim_holder(&self, key: &ClaimKey) -> Result<Option<StreamName>, LoadError> {
        Ok(self.reads.ask(Wanted::Holder(key.clone())).await?.holder)
    }

    /// The position of a stream's event of that version. Walks back from the stream's end, one row an event.
    ///
    /// # Errors
    /// [`LoadError::Database`].
    pub async fn position_of(&self, stream: &StreamName, version: u64) -> Result<Option<Position>, LoadError> {
        let version = i64::try_from(version).unwrap_or(i64::MAX);
        let position = sqlx::query_scalar!(
            r#"with recursive back as (
                   select e.position, e.previous_in_stream, e.version
                   from stream s join event e on e.position = s.position where s.name = $1
                   union all
                   select e.position, e.previous_in_stream, e.version
                   from back b join event e on e.position = b.previous_in_stream where b.version > $2)
               select position as "position!" from back where version = $2"#,
            stream.as_str(),
            version
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(position.map(load::unsigned))
    }

    /// Forgets the key of somebody who was erased: the database has none any more.
    pub fn forget(&self, person: UserId) {
        self.sealer.forget(person);
    }

    /// Where the log ends.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn head(&self) -> Result<LogHead, LoadError> {
        let mut conn = self.pool.acquire().await?;
        head::read_head(&mut conn).await
    }

    /// Makes an append; answers when it is committed. Waits while 512 others wait.
    ///
    /// # Errors
    /// [`AppendError`]: each append gets its own verdict, whatever goes with it in one batch.
    pub async fn append(&self, mut append: Append) -> Result<Receipt, AppendError> {
        let Some(parent) = append.meta.traceparent else { return self.send(append).await };
        // What is written names the step that writes it, so that whatever the events cause is a part of that.
        let here = trace::step(parent);
        append.meta.traceparent = Some(here);
        let span = tracing::error_span!(
            "append",
            trace_id = %here.trace_id(),
            span_id = %here.span_id(),
            parent_span_id = %parent.span_id(),
            span_kind = "producer",
            sampled = here.is_sampled(),
            log = self.log.name(),
            position = tracing::field::Empty,
        );
        let sent = self.send(append).instrument(span.clone()).await;
        if let Ok(receipt) = &sent {
            span.record("position", receipt.last);
        }
        sent
    }

    async fn send(&self, append: Append) -> Result<Receipt, AppendError> {
        append.check()?;
        let prepared = Box::new(self.prepare(append).await?);
        let (answer, verdict) = oneshot::channel();
        let gone = || AppendError::Unavailable("the appender has stopped".to_owned());
        self.appender.send(Waiting { prepared, answer }).await.map_err(|_| gone())?;
        let receipt = verdict.await.map_err(|_| gone())??;
        self.appended.send_replace(());
        Ok(receipt)
    }

    /// Seals what is to be sealed: the only part of an append that needs the database before the call.
    async fn prepare(&self, append: Append) -> Result<Prepared, AppendError> {
        let refused = |error: serde_json::Error| AppendError::Refused(error.to_string());
        let meta = serde_json::to_string(&append.meta).map_err(refused)?;
        let mut sealed_events = Vec::new();
        let mut sealed_states = Vec::new();
        for write in &append.writes {
            let sealing = write.sealed_state.is_some() || write.events.iter().any(|event| event.sealed.is_some());
            let key = match (sealing, write.person) {
                (false, _) => None,
                (true, Some(person)) => {
                    Some((person, self.sealer.key_for(&self.pool, person).await.map_err(unsealable)?))
                }
                (true, None) => {
                    let stream = &write.stream;
                    return Err(AppendError::Refused(format!("{stream} seals without naming a person")));
                }
            };
            for event in &write.events {
                sealed_events.push(match (&key, &event.sealed) {
                    (Some((person, key)), Some(fields)) => {
                        let place = Place::Event(event.id);
                        Some(self.sealer.seal(key, (self.log, *person), &place, fields).map_err(unsealable)?)
                    }
                    _ => None,
                });
            }
            let version = write.expected.saturating_add(u64::try_from(write.events.len()).unwrap_or(u64::MAX));
            sealed_states.push(match (&key, &write.sealed_state) {
                (Some((person, key)), Some(fields)) => {
                    let place = Place::State(&write.stream, version);
                    Some(self.sealer.seal(key, (self.log, *person), &place, fields).map_err(unsealable)?)
                }
                _ => None,
            });
        }
        Ok(Prepared { append, meta, sealed_events, sealed_states })
    }
}

fn unsealable(error: SealError) -> AppendError {
    AppendError::Unavailable(error.to_string())
}
