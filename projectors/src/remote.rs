//! Following a log that lives in another database: the bus brings events at once, the owner's log route closes
//! holes, starts cold followers and takes over while the bus is silent. Neither waits for the other.

use crate::{
    LogPage, LogSource, Projection, Runner, SourceError,
    backoff::Backoff,
    inbox::{Inbox, Subscription},
    runner::{FollowError, stopped},
};
use async_nats::Message;
use kisum_events::{Cursor, Position};
use sqlx::PgConnection;
use std::{convert::Infallible, future::pending, pin::Pin, time::Duration};
use tokio::time::{Instant, sleep_until};

/// How often the owner is asked while the bus is silent: a silent bus and a dead one look alike.
const POLL: Duration = Duration::from_secs(1);
/// How long a missing event may still come by itself: two subscriptions can deliver in disorder.
const DISORDER: Duration = Duration::from_millis(20);
/// Most events asked for, and committed, at once.
const PAGE: u32 = 500;

/// Runs a projection of a log that lives in another database, until shutdown.
pub async fn run_remote<P: Projection>(mut runner: Runner<P>, source: LogSource, nats: async_nats::Client) {
    loop {
        let ended = follow(&mut runner, &source, &nats).await;
        if !runner.outlives(ended).await {
            return;
        }
    }
}

type Asking = Pin<Box<dyn Future<Output = Result<LogPage, SourceError>> + Send>>;

struct Follower<'a, P> {
    runner: &'a mut Runner<P>,
    source: &'a LogSource,
    conn: PgConnection,
    at: Cursor,
    inbox: Inbox,
    /// When the owner is asked next.
    ask_at: Instant,
    /// The question under way, and the position behind which it asks.
    asking: Option<(Position, Asking)>,
    unanswered: Backoff,
}

async fn follow<P: Projection>(
    runner: &mut Runner<P>,
    source: &LogSource,
    nats: &async_nats::Client,
) -> Result<Infallible, FollowError> {
    let (conn, at) = runner.open().await?;
    let mut shutdown = runner.shutdown.clone();
    // INVARIANT: subscribed before the first page is asked for, so that nothing falls between the two.
    let mut subscription = subscribe::<P>(nats).await;
    let (inbox, ask_at, unanswered) = (Inbox::default(), Instant::now(), Backoff::default());
    let mut follower = Follower { runner, source, conn, at, inbox, ask_at, asking: None, unanswered };
    loop {
        tokio::select! {
            () = stopped(&mut shutdown) => return Err(FollowError::Shutdown),
            answer = answered(&mut follower.asking) => follower.take_answer(answer).await?,
            arrived = arrived(&mut subscription) => match arrived.is_empty() {
                true => subscription = None,
                false => follower.take_messages(&arrived).await?,
            },
            () = sleep_until(follower.ask_at), if follower.asking.is_none() => {
                follower.ask();
                if subscription.is_none() {
                    subscription = subscribe::<P>(nats).await;
                }
            }
        }
    }
}

async fn subscribe<P: Projection>(nats: &async_nats::Client) -> Option<Subscription> {
    match Subscription::open(nats, P::LOG).await {
        Ok(subscription) => Some(subscription),
        Err(error) => {
            tracing::warn!(event = "projection.bus_unavailable", projection = P::NAME, %error);
            None
        }
    }
}

async fn arrived(subscription: &mut Option<Subscription>) -> Vec<Message> {
    match subscription {
        Some(subscription) => subscription.next().await,
        None => pending().await,
    }
}

async fn answered(asking: &mut Option<(Position, Asking)>) -> Result<LogPage, SourceError> {
    match asking {
        Some((_, answer)) => answer.await,
        None => pending().await,
    }
}

impl<P: Projection> Follower<'_, P> {
    fn ask(&mut self) {
        let (source, after) = (self.source.clone(), self.at.position);
        self.asking = Some((after, Box::pin(async move { source.page(after, PAGE).await })));
    }

    /// Applies a page of the owner's log, and asks on until there is no more.
    async fn take_answer(&mut self, answer: Result<LogPage, SourceError>) -> Result<(), FollowError> {
        let asked_after = self.asking.take().map_or(0, |(after, _)| after);
        let page = match answer {
            Ok(page) if page.epoch < self.at.epoch => {
                let behind = format!("it is in epoch {}, this projection in {}", page.epoch, self.at.epoch);
                return self.ask_later(&SourceError::Unavailable(behind));
            }
            Ok(page) => page,
            Err(error) => return self.ask_later(&error),
        };
        self.unanswered.reset();
        let is_new_epoch = page.epoch > self.at.epoch;
        if is_new_epoch {
            self.at = Cursor { epoch: page.epoch, position: 0 };
            self.inbox.clear();
            if asked_after > 0 {
                self.ask();
                return Ok(());
            }
        }
        if is_new_epoch || !page.events.is_empty() {
            self.at = self.runner.apply(&mut self.conn, page.epoch, &page.events).await?;
        }
        if page.events.len() >= PAGE as usize {
            self.ask();
            return Ok(());
        }
        self.ask_at = Instant::now() + POLL;
        self.apply_ready().await?;
        if self.inbox.has_hole() {
            self.ask_at = Instant::now() + DISORDER;
        } else {
            self.runner.caught_up();
        }
        Ok(())
    }

    /// The bus goes on being applied meanwhile: only what it does not bring waits for the owner.
    fn ask_later(&mut self, error: &SourceError) -> Result<(), FollowError> {
        let wait = self.unanswered.next();
        self.runner.postponed(error, wait);
        self.ask_at = Instant::now() + wait;
        Ok(())
    }

    /// Applies what the bus brought, as far as nothing is missing.
    async fn take_messages(&mut self, arrived: &[Message]) -> Result<(), FollowError> {
        let was_in_order = !self.inbox.has_hole();
        for message in arrived {
            if let Err(doubt) = self.inbox.take(self.at, message) {
                tracing::debug!(event = "projection.asks_the_owner", projection = P::NAME, ?doubt);
                self.inbox.clear();
                self.ask_at = Instant::now();
                return Ok(());
            }
        }
        self.apply_ready().await?;
        if self.inbox.has_hole() {
            // A hole that stays must be asked about even while later events keep arriving.
            if was_in_order {
                self.ask_at = Instant::now() + DISORDER;
            }
        } else {
            self.ask_at = Instant::now() + POLL;
        }
        Ok(())
    }

    async fn apply_ready(&mut self) -> Result<(), FollowError> {
        let ready = self.inbox.ready(self.at);
        if !ready.is_empty() {
            self.at = self.runner.apply(&mut self.conn, self.at.epoch, &ready).await?;
        }
        Ok(())
    }
}
