//! Where the pages of a log come from: its own database, or the log route of those who own it.
//!
//! It owns one connection and what it knows of the head. It refuses to wait for events and to judge their order.

use super::source::{LogSource, SourceError};
use crate::{LoadError, LogHead, read::read_through, read_head};
use kisum_events::{Class, Cursor, Envelope, Log, Position};
use sqlx::{ConnectOptions as _, PgConnection, PgPool, postgres::PgConnectOptions};
use std::{sync::Arc, time::Duration};

/// Most events of a page of the database. Above that, more per page costs memory and gains nothing.
const DATABASE_PAGE: i64 = 1_000;
/// Most positions that one statement looks through for events of a class, so that it ends in time in a log where the
/// class is rare.
const WINDOW: Position = 100_000;
/// Most events asked of an owner at once.
const OWNER_PAGE: u32 = 500;
/// A page that takes longer is given up, with its connection: the server is frozen or cut off.
const PAGE_MAX: Duration = Duration::from_secs(10);

/// Why a page could not be had; trying again is right.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The log's database failed, or refuses because of its epoch.
    #[error("the log's database gave no page")]
    Log(#[from] LoadError),
    /// The log's owners gave none.
    #[error(transparent)]
    Owner(#[from] SourceError),
    /// A position is missing, which no log has: what answered is not one, or is damaged.
    #[error("an event is missing between positions {after} and {found}")]
    Hole {
        /// What was handed out last.
        after: Position,
        /// What came instead of its successor.
        found: Position,
    },
    /// The owner that answered is behind: it does not know the epoch that is followed.
    #[error("the log's owner is in epoch {now}, what is followed in epoch {followed}")]
    Behind {
        /// The owner's epoch.
        now: u32,
        /// The follower's.
        followed: u32,
    },
    /// No answer in time.
    #[error("no page came within {} s", PAGE_MAX.as_secs())]
    TimedOut,
    /// Reading ended by itself: a fault of this program.
    #[error("reading a page ended: {0}")]
    Ended(String),
}

/// Where a follower reads pages: `PgPool` or [`LogSource`], by `into()`.
#[derive(Clone, Debug)]
pub struct Pages(Place);

#[derive(Clone)]
enum Place {
    Database(Arc<PgConnectOptions>),
    Owner(LogSource),
}

/// Without the connection's options, which hold a password.
impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Database(_) => f.write_str("Database"),
            Self::Owner(source) => f.debug_tuple("Owner").field(source).finish(),
        }
    }
}

impl Pages {
    /// Whether they come from the log's own database, where looking costs little.
    pub(super) const fn are_near(&self) -> bool {
        matches!(self.0, Place::Database(_))
    }
}

/// The log's own database, as the pool would connect to it: a follower keeps a connection of its own, so that it
/// neither waits for the service's requests nor takes one from them.
impl From<PgPool> for Pages {
    fn from(pool: PgPool) -> Self {
        Self(Place::Database(pool.connect_options()))
    }
}

impl From<LogSource> for Pages {
    fn from(source: LogSource) -> Self {
        Self(Place::Owner(source))
    }
}

/// Events of a log behind a cursor.
#[derive(Debug)]
pub(super) struct Page {
    /// The log's epoch when it was read.
    pub(super) epoch: u32,
    /// Where the log ended then, if that is known.
    pub(super) head: Option<Position>,
    /// Events in order, of one class or all.
    pub(super) events: Vec<Envelope>,
    /// Up to here nothing was left out but other classes.
    pub(super) reaches: Position,
    /// Whether there is more to read at once.
    pub(super) has_more: bool,
}

/// Reads page after page.
#[derive(Debug)]
pub(super) struct Reader {
    place: Place,
    log: Log,
    class: Option<Class>,
    conn: Option<PgConnection>,
    /// The head as this connection last saw it.
    head: LogHead,
}

impl Reader {
    pub(super) fn new(pages: &Pages, log: Log, class: Option<Class>) -> Self {
        Self { place: pages.0.clone(), log, class, conn: None, head: LogHead::default() }
    }

    /// The events behind `after`, as many as a page holds; none when the log has none.
    pub(super) async fn page(&mut self, after: Cursor) -> Result<Page, PageError> {
        // Taken out while it is in use: a page that is given up, or fails, takes its connection with it.
        let conn = self.conn.take();
        match &self.place {
            Place::Owner(source) => owner_page(source, after).await,
            Place::Database(database) => {
                let database = Arc::clone(database);
                let reading = async {
                    let (mut conn, head) = match conn {
                        Some(conn) => (conn, self.head),
                        None => (connect(&database, self.log).await?, LogHead::default()),
                    };
                    let (page, head) = self.database_page(&mut conn, head, after).await?;
                    Ok::<_, LoadError>((page, head, conn))
                };
                let read = tokio::time::timeout(PAGE_MAX, reading).await.map_err(|_| PageError::TimedOut)?;
                let (page, head, conn) = read?;
                (self.conn, self.head) = (Some(conn), head);
                Ok(page)
            }
        }
    }

    async fn database_page(
        &self,
        conn: &mut PgConnection,
        known: LogHead,
        after: Cursor,
    ) -> Result<(Page, LogHead), LoadError> {
        // A backlog is read without asking for the head again. INVARIANT: nothing of another history slips in: one
        // connection leads to one server on one timeline, which was checked when the head was read over it, and an
        // epoch that begins meanwhile shows in its events.
        let mut head = known;
        if head.epoch != after.epoch || head.position <= after.position {
            head = read_head(&mut *conn).await?;
        }
        let mut page = Page {
            epoch: head.epoch,
            head: Some(head.position),
            events: Vec::new(),
            reaches: after.position,
            has_more: false,
        };
        if head.epoch == after.epoch && head.position > after.position {
            let through = head.position.min(after.position.saturating_add(WINDOW));
            let between = (after.position, through);
            page.events = read_through(&mut *conn, self.log, between, DATABASE_PAGE, self.class).await?;
            let is_full = page.events.len() as i64 >= DATABASE_PAGE;
            page.reaches = match page.events.last() {
                Some(last) if is_full => last.position,
                _ => through,
            };
            page.has_more = page.reaches < head.position;
            if let Some(newer) = page.events.iter().find(|event| event.epoch > head.epoch) {
                page.epoch = newer.epoch;
                head = LogHead::default();
            }
        }
        Ok((page, head))
    }
}

async fn connect(database: &PgConnectOptions, log: Log) -> Result<PgConnection, LoadError> {
    Ok(database.clone().application_name(&format!("kisum-follow-{log}")).connect().await?)
}

async fn owner_page(source: &LogSource, after: Cursor) -> Result<Page, PageError> {
    let page = source.page(after.position, OWNER_PAGE).await?;
    let reaches = page.events.last().map_or(after.position, |last| last.position);
    let has_more = page.events.len() >= OWNER_PAGE as usize;
    Ok(Page { epoch: page.epoch, head: page.position, events: page.events, reaches, has_more })
}
