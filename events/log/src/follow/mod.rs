//! Following a log: in order, without a hole, from any cursor, for ever.
//!
//! One mechanism for everybody. Pages behind a cursor are the truth: they come from the log's own database or from its
//! owners' log route ([`Pages`]). A bus may bring events sooner; what it loses, repeats or disorders is repaired from
//! pages. Neither waits for the other. [`FollowStream`] reads JetStream alone, for those who can reach nothing else.
//!
//! It refuses to know what events mean and what is made of them.

mod bus;
mod pages;
mod schedule;
mod source;
mod stream;

pub use pages::{PageError, Pages};
pub use source::{LogPage, LogSource, SourceError};
pub use stream::{FollowStream, FollowStreamError};

use bus::{Bus, Inbox};
use kisum_events::{Class, Cursor, Envelope, Log, Position, Sequence, Step, View};
use pages::{Page, Reader};
use schedule::Schedule;
use std::time::Duration;
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::sleep_until,
};

/// How long an append can stay unseen by an idle follower of the database that nobody wakes: well below the 20 ms
/// that a follower may wait.
const POLL_NEAR: Duration = Duration::from_millis(10);
/// How often pages are asked for behind a bus, or from an owner: a silent bus and a dead one look alike.
const POLL_FAR: Duration = Duration::from_secs(1);

/// Why a follower gave no events.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The log has another epoch than the cursor: what was derived from it must be derived anew.
    #[error("the log is in epoch {now}, the cursor in epoch {cursor}: start over from position 0")]
    OtherEpoch {
        /// The log's epoch.
        now: u32,
        /// The cursor's.
        cursor: u32,
    },
    /// The cursor lies behind the end of the log.
    #[error("position {cursor} is beyond the head of the log, {head}")]
    BeyondHead {
        /// The cursor's position.
        cursor: Position,
        /// Where the log ends.
        head: Position,
    },
    /// A page could not be read. Calling [`Follow::next`] again is right: pages are asked for again after
    /// `retry_in`, and meanwhile it hands out what the bus brings.
    #[error("the log cannot be read")]
    Interrupted {
        /// Until pages are asked for again.
        retry_in: Duration,
        /// Why.
        #[source]
        source: PageError,
    },
}

/// What a reading task gives back: its reader, and the page behind the cursor that was asked about.
type Read = (Reader, Cursor, Result<Page, PageError>);

/// A place in a log that moves with it.
#[derive(Debug)]
pub struct Follow {
    pages: Pages,
    log: Log,
    class: Option<Class>,
    /// Everything up to here was handed out.
    at: Cursor,
    bus: Option<Bus>,
    inbox: Inbox,
    /// At rest between two pages.
    reader: Option<Reader>,
    /// The page under way. A task, so that it goes on while the caller handles the page before; it ends with this.
    reading: JoinSet<Read>,
    schedule: Schedule,
    wake: Option<watch::Receiver<()>>,
    caught_up: watch::Sender<bool>,
    /// The last page had nothing behind it, which is to be said once what it held has been handled.
    has_seen_end: bool,
}

impl Follow {
    /// A follower of what comes behind `after`, of all classes, from pages alone.
    pub fn new(pages: impl Into<Pages>, log: Log, after: Cursor) -> Self {
        Self {
            pages: pages.into(),
            log,
            class: None,
            at: after,
            bus: None,
            inbox: Inbox::new(View::Everything),
            reader: None,
            reading: JoinSet::new(),
            schedule: Schedule::at_once(),
            wake: None,
            caught_up: watch::Sender::new(false),
            has_seen_end: false,
        }
    }

    /// Events of one class only. Owners' pages and, for class `info`, the bus are read whole for it: only for class
    /// `access` does an event name its predecessor, so that a hole between shows.
    #[must_use]
    pub fn of_class(mut self, class: Class) -> Self {
        self.class = Some(class);
        self.inbox = Inbox::new(match class {
            Class::Access => View::AccessOnly,
            Class::Info => View::Everything,
        });
        self
    }

    /// Events as soon as the log's relay publishes them, too. `nats` may subscribe `kisum.{log}.v1.access.>` and,
    /// unless only that class is followed, `kisum.{log}.v1.info.>`.
    #[must_use]
    pub fn with_bus(mut self, nats: async_nats::Client) -> Self {
        self.bus = Some(Bus::new(nats));
        self
    }

    /// Looks at once whenever `wake` changes: whoever learns that the log has grown says so there.
    #[must_use]
    pub fn woken_by(mut self, wake: watch::Receiver<()>) -> Self {
        self.wake = Some(wake);
        self
    }

    /// Where it stands: everything of its class up to here was handed out.
    pub const fn at(&self) -> Cursor {
        self.at
    }

    /// Whether everything that the last page showed is handed out and handled; that `next` is called again is how it
    /// learns of the latter. It says `true` anew with every page that has nothing behind it, and `false` when a page
    /// fails, when more is to come, and while an event is missing.
    pub fn caught_up(&self) -> watch::Receiver<bool> {
        self.caught_up.subscribe()
    }

    /// Takes up an epoch from its beginning.
    pub fn start_over(&mut self, epoch: u32) {
        self.at = Cursor { epoch, position: 0 };
        self.inbox.clear();
        self.reading = JoinSet::new();
        self.schedule = Schedule::at_once();
        self.is_behind();
    }

    /// The next events in order, at least one; waits until there are. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`FollowError`]; the follower stays where it stood and may be asked again.
    pub async fn next(&mut self) -> Result<Vec<Envelope>, FollowError> {
        loop {
            if std::mem::take(&mut self.has_seen_end) {
                self.caught_up.send_replace(true);
            }
            if self.reading.is_empty() && self.schedule.is_due() {
                // INVARIANT: subscribed before the page is asked for, so that nothing falls between the two.
                if let Some(bus) = &mut self.bus {
                    bus.subscribe(self.log, self.class).await;
                }
                self.ask();
            }
            // INVARIANT: each of these may be dropped while it waits; what one gives is kept before anything waits.
            let events = tokio::select! {
                Some(read) = self.reading.join_next() => self.take_read(read)?,
                arrived = bus::arrived(&mut self.bus) => self.take_arrived(&arrived),
                () = woken(&mut self.wake), if self.reading.is_empty() => {
                    self.schedule.woken();
                    continue;
                }
                () = sleep_until(self.schedule.next()), if self.reading.is_empty() => continue,
            };
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }

    /// Begins to read the page behind where it stands.
    fn ask(&mut self) {
        let mut reader = self.reader.take().unwrap_or_else(|| Reader::new(&self.pages, self.log, self.class));
        let after = self.at;
        self.schedule.asks();
        self.reading.spawn(async move {
            let page = reader.page(after).await;
            (reader, after, page)
        });
    }

    /// Takes a page in, and asks for the next one at once where there is one.
    fn take_read(&mut self, read: Result<Read, JoinError>) -> Result<Vec<Envelope>, FollowError> {
        let page = match read {
            Ok((reader, after, page)) => {
                self.reader = Some(reader);
                page.map(|page| (after, page))
            }
            Err(error) => Err(PageError::Ended(error.to_string())),
        };
        let (after, page) = page.map_err(|error| self.interrupted(error))?;
        self.judge(after, &page)?;
        let (reaches, has_more) = (page.reaches, page.has_more);
        let mut events = self.in_order(page).map_err(|hole| self.interrupted(hole))?;
        self.at.position = self.at.position.max(reaches);
        if has_more {
            self.is_behind();
            self.ask();
            return Ok(events);
        }
        events.append(&mut self.take_ready());
        self.schedule.asked(self.poll());
        if self.inbox.has_hole() {
            self.is_behind();
            self.schedule.repair();
        } else {
            self.schedule.repaired();
            self.has_seen_end = true;
        }
        Ok(events)
    }

    /// Whether a page is of the history that is followed.
    fn judge(&mut self, after: Cursor, page: &Page) -> Result<(), FollowError> {
        let (now, followed) = (page.epoch, self.at.epoch);
        if now < followed && !self.pages.are_near() {
            return Err(self.interrupted(PageError::Behind { now, followed }));
        }
        self.schedule.asked(Duration::ZERO);
        if now != followed {
            self.is_behind();
            return Err(FollowError::OtherEpoch { now, cursor: followed });
        }
        match page.head {
            // What was asked about, not where the bus has brought this follower since.
            Some(head) if head < after.position => {
                self.is_behind();
                Err(FollowError::BeyondHead { cursor: after.position, head })
            }
            _ => Ok(()),
        }
    }

    /// A page's events that were not handed out before, of the class that is followed.
    fn in_order(&self, page: Page) -> Result<Vec<Envelope>, PageError> {
        let (view, is_checked) = match (self.pages.are_near(), self.class) {
            (false, _) | (true, None) => (View::Everything, true),
            (true, Some(Class::Access)) => (View::AccessOnly, true),
            // Nothing in such an event tells what came before it: the database's word stands.
            (true, Some(Class::Info)) => (View::Everything, false),
        };
        let Page { mut events, reaches, .. } = page;
        let mut sequence = Sequence::new(view, self.at);
        let mut hole = None;
        events.retain(|event| {
            let place = Cursor { epoch: self.at.epoch, position: event.position };
            match sequence.judge(place, event.previous_access_position) {
                Step::Hole { after } if is_checked => {
                    hole.get_or_insert(PageError::Hole { after, found: event.position });
                    false
                }
                Step::Old | Step::OtherEpoch => false,
                Step::Apply | Step::Hole { .. } => {
                    sequence.applied(event.position);
                    self.is_followed(event)
                }
            }
        });
        if is_checked && view == View::Everything && sequence.at().position < reaches {
            hole.get_or_insert(PageError::Hole { after: sequence.at().position, found: reaches });
        }
        hole.map_or(Ok(events), Err)
    }

    fn is_followed(&self, event: &Envelope) -> bool {
        self.class.is_none_or(|class| event.effect.class() == class)
    }

    /// Takes what the bus brought, as far as nothing is missing.
    fn take_arrived(&mut self, arrived: &[async_nats::Message]) -> Vec<Envelope> {
        if arrived.is_empty() {
            if let Some(bus) = &mut self.bus {
                bus.ended();
            }
            return Vec::new();
        }
        for message in arrived {
            if let Err(doubt) = self.inbox.take(self.at, message) {
                tracing::debug!(event = "follow.asks_for_pages", log = self.log.name(), ?doubt);
                self.inbox.clear();
                self.schedule.doubts();
                break;
            }
        }
        let events = self.take_ready();
        if self.inbox.has_hole() {
            self.is_behind();
            self.schedule.repair();
        } else {
            self.schedule.repaired();
        }
        events
    }

    /// What the bus brought and nothing is missing before.
    fn take_ready(&mut self) -> Vec<Envelope> {
        let mut events = self.inbox.ready(self.at);
        if let Some(last) = events.last() {
            self.at.position = last.position;
        }
        events.retain(|event| self.is_followed(event));
        events
    }

    /// A page could not be had: whatever the bus brings goes on being handed out meanwhile.
    fn interrupted(&mut self, source: PageError) -> FollowError {
        self.is_behind();
        FollowError::Interrupted { retry_in: self.schedule.failed(), source }
    }

    fn is_behind(&mut self) {
        self.has_seen_end = false;
        self.caught_up.send_if_modified(|caught_up| std::mem::replace(caught_up, false));
    }

    /// How long to wait after a page that had nothing behind it.
    fn poll(&self) -> Duration {
        let has_bus = self.bus.as_ref().is_some_and(Bus::is_connected);
        if self.pages.are_near() && !has_bus { POLL_NEAR } else { POLL_FAR }
    }
}

async fn woken(wake: &mut Option<watch::Receiver<()>>) {
    if let Some(receiver) = wake
        && receiver.changed().await.is_ok()
    {
        return;
    }
    // Nobody is left who could wake it.
    std::future::pending().await
}
