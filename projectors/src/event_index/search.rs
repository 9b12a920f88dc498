//! Finding events by company, person or actor: through the index as far as it goes, by looking at each event behind.

use super::{EventKey, NAME, inherits, persons_named};
use crate::checkpoint::{read_checkpoint, to_stored};
use kisum_events::{Envelope, Log, Position, StreamName};
use kisum_log::{LoadError, read, read_at, read_head};
use sqlx::{Connection as _, PgConnection};
use std::collections::BTreeSet;

/// Events looked at, or found through the index, at once.
const PAGE: i64 = 1000;

/// A search that moves through a log, a page at a time.
///
/// Each page is read in one snapshot of index, checkpoint and log, which ends before the page is handed out. An index
/// that lags, is empty, is of another epoch or may not be read makes the search slower, never wrong.
#[derive(Clone, Debug)]
pub struct EventSearch {
    log: Log,
    key: EventKey,
    /// Everything up to here was handed out.
    after: Position,
    /// The streams that were the person's at `known`.
    owned: BTreeSet<StreamName>,
    known: Position,
}

impl EventSearch {
    /// A search for what a key finds behind a position.
    pub const fn new(log: Log, key: EventKey, after: Position) -> Self {
        Self { log, key, after, owned: BTreeSet::new(), known: 0 }
    }

    /// The next events in order of position, perhaps none; `None` at the end of the log. The connection is to the
    /// log's own database.
    ///
    /// # Errors
    /// [`LoadError`] when the log cannot be read; [`LoadError::Decode`] when an event must be understood to know whom
    /// it concerns, and cannot be. The search stays where it stood.
    pub async fn next(&mut self, conn: &mut PgConnection) -> Result<Option<Vec<Envelope>>, LoadError> {
        let mut tx = conn.begin_with("begin isolation level repeatable read read only").await?;
        let page = self.page(&mut tx).await;
        // Said aloud: one that is only dropped goes on until the connection is used again.
        let ended = tx.rollback().await;
        let page = page?;
        ended?;
        Ok(page)
    }

    async fn page(&mut self, conn: &mut PgConnection) -> Result<Option<Vec<Envelope>>, LoadError> {
        let indexed = indexed_through(conn).await?;
        if indexed > self.after {
            return self.look_up(conn, indexed).await.map(Some);
        }
        match self.key {
            EventKey::Person(_) => self.scan_for_person(conn, indexed).await,
            EventKey::Company(_) | EventKey::Actor(_) => {
                let events = read(conn, self.log, self.after, PAGE, None).await?;
                let Some(last) = events.last() else { return Ok(None) };
                self.after = last.position;
                Ok(Some(events.into_iter().filter(|event| self.key.is_on(event)).collect()))
            }
        }
    }

    /// What the index holds behind `after`; it stands at `indexed`.
    async fn look_up(&mut self, conn: &mut PgConnection, indexed: Position) -> Result<Vec<Envelope>, LoadError> {
        let positions = sqlx::query_scalar!(
            "select position from event_index_v1
             where kind = $1 and key = $2 and position > $3 and position <= $4 order by position limit $5",
            self.key.kind(),
            self.key.text(),
            to_stored(self.after),
            to_stored(indexed),
            PAGE
        )
        .fetch_all(&mut *conn)
        .await?;
        let is_full = i64::try_from(positions.len()).is_ok_and(|found| found >= PAGE);
        let events = read_at(conn, self.log, &positions).await?;
        self.after = match events.last() {
            Some(last) if is_full => last.position,
            _ => indexed,
        };
        Ok(events)
    }

    /// Looks at events one by one. A session or a membership names its person once, so that everything before must
    /// be known: from the index, or from having looked at it.
    async fn scan_for_person(
        &mut self,
        conn: &mut PgConnection,
        indexed: Position,
    ) -> Result<Option<Vec<Envelope>>, LoadError> {
        let EventKey::Person(person) = self.key else { return Ok(None) };
        let (mut owned, mut known) = (self.owned.clone(), self.known);
        if indexed > known {
            let streams =
                sqlx::query_scalar!("select stream from event_index_stream_v1 where person = $1", person.uuid())
                    .fetch_all(&mut *conn)
                    .await?;
            owned = streams.into_iter().map(StreamName::from_stored).collect();
            known = indexed;
        }
        let events = read(conn, self.log, known, PAGE, None).await?;
        let Some(last) = events.last().map(|event| event.position) else { return Ok(None) };
        let mut found = Vec::new();
        for event in events {
            let is_named = persons_named(&event.stream, &event.decode()?).any(|named| named == person);
            if is_named && inherits(&event.stream) {
                owned.insert(event.stream.clone());
            }
            if event.position > self.after && (is_named || owned.contains(&event.stream)) {
                found.push(event);
            }
        }
        (self.owned, self.known) = (owned, last);
        self.after = self.after.max(last);
        Ok(Some(found))
    }
}

/// How far the index may be relied on in this snapshot; 0 where it may not be read, or is of another epoch.
async fn indexed_through(conn: &mut PgConnection) -> Result<Position, LoadError> {
    let is_readable = sqlx::query_scalar!(
        r#"select coalesce(bool_and(coalesce(has_table_privilege(to_regclass(name), 'select'), false)), false) as "is!"
           from unnest(array['projection_checkpoint', 'event_index_v1', 'event_index_stream_v1']) as needed (name)"#
    )
    .fetch_one(&mut *conn)
    .await?;
    if !is_readable {
        return Ok(0);
    }
    let head = read_head(&mut *conn).await?;
    let checkpoint = read_checkpoint(conn, NAME).await?.map(|checkpoint| checkpoint.cursor);
    Ok(checkpoint.filter(|at| at.epoch == head.epoch).map_or(0, |at| at.position))
}
