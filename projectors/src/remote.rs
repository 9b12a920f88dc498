//! Following a log that lives in another database: the bus brings events at once, the owner's log route closes
//! holes, starts cold followers and takes over while the bus is silent.

use crate::{
    LogSource, Projection, Runner, SourceError,
    inbox::{Inbox, Subscription},
    runner::{FollowError, stopped},
};
use kisum_events::Cursor;
use sqlx::PgConnection;
use std::{convert::Infallible, time::Duration};
use tokio::time::Instant;

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

struct Follower<'a, P> {
    runner: &'a mut Runner<P>,
    source: &'a LogSource,
    conn: PgConnection,
    at: Cursor,
    inbox: Inbox,
}

async fn follow<P: Projection>(
    runner: &mut Runner<P>,
    source: &LogSource,
    nats: &async_nats::Client,
) -> Result<Infallible, FollowError> {
    let (conn, at) = runner.open().await?;
    let mut shutdown = runner.shutdown.clone();
    // INVARIANT: subscribed before the first page is read, so that nothing falls between the two.
    let mut subscription = subscribe::<P>(nats).await;
    let mut follower = Follower { runner, source, conn, at, inbox: Inbox::default() };
    loop {
        tokio::select! {
            caught_up = follower.catch_up() => caught_up?,
            () = stopped(&mut shutdown) => return Err(FollowError::Shutdown),
        }
        if subscription.is_none() {
            subscription = subscribe::<P>(nats).await;
        }
        tokio::select! {
            doubt = follower.until_doubt(&mut subscription) => doubt?,
            () = stopped(&mut shutdown) => return Err(FollowError::Shutdown),
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

impl<P: Projection> Follower<'_, P> {
    /// Reads the owner's log to its end.
    async fn catch_up(&mut self) -> Result<(), FollowError> {
        self.inbox.clear();
        loop {
            let asked_after = self.at.position;
            let page = self.source.page(asked_after, PAGE).await?;
            if page.epoch < self.at.epoch {
                let behind = format!("it is in epoch {}, this projection in {}", page.epoch, self.at.epoch);
                return Err(SourceError::Unavailable(behind).into());
            }
            if page.epoch > self.at.epoch {
                self.at = Cursor { epoch: page.epoch, position: 0 };
                if asked_after > 0 {
                    continue;
                }
            }
            let more = page.events.len() >= PAGE as usize;
            self.at = self.runner.apply(&mut self.conn, page.epoch, &page.events).await?;
            if !more {
                self.runner.caught_up();
                return Ok(());
            }
        }
    }

    /// Applies what the bus brings until the owner has to be asked: after a silence, for a hole that stays, or when
    /// something came that does not fit.
    async fn until_doubt(&mut self, subscription: &mut Option<Subscription>) -> Result<(), FollowError> {
        let Some(messages) = subscription else {
            tokio::time::sleep(POLL).await;
            return Ok(());
        };
        let mut ask_at = Instant::now() + POLL;
        let mut in_order = true;
        loop {
            let arrived = tokio::select! {
                arrived = messages.next() => arrived,
                () = tokio::time::sleep_until(ask_at) => return Ok(()),
            };
            if arrived.is_empty() {
                *subscription = None;
                return Ok(());
            }
            for message in arrived {
                if let Err(doubt) = self.inbox.take(self.at, &message.payload) {
                    tracing::debug!(event = "projection.asks_the_owner", projection = P::NAME, ?doubt);
                    return Ok(());
                }
            }
            let ready = self.inbox.ready(self.at);
            if !ready.is_empty() {
                self.at = self.runner.apply(&mut self.conn, self.at.epoch, &ready).await?;
            }
            // A hole that stays must be asked about even while later events keep arriving.
            let was_in_order = std::mem::replace(&mut in_order, !self.inbox.has_hole());
            if in_order {
                ask_at = Instant::now() + POLL;
            } else if was_in_order {
                ask_at = Instant::now() + DISORDER;
            }
        }
    }
}
