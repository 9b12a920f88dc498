//! One running projection: its connection, its place, its metrics, and what happens when something fails.

use crate::{
    CommitError, Committed, Poison, Progress, Projection, Standing,
    checkpoint::{read_checkpoint, record_poison, record_whole},
    commit::{chain, commit},
};
use kisum_events::{Cursor, Envelope};
use kisum_log::{Backoff, Caused, Follow, FollowError};
use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use std::{convert::Infallible, marker::PhantomData, time::Duration};
use tokio::{sync::watch, time::MissedTickBehavior};
use tracing::Instrument as _;

/// How often a projection that stands still reports its growing lag.
const STANDSTILL_REPORT: Duration = Duration::from_secs(1);

/// One projection as it runs in this process. It keeps a connection of its own, so that it neither waits for the
/// service's requests nor takes a connection from them.
#[derive(Debug)]
pub struct Runner<P> {
    database: PgConnectOptions,
    progress: watch::Sender<Standing>,
    pub(crate) shutdown: watch::Receiver<bool>,
    backoff: Backoff,
    lag_seconds: f64,
    /// The epoch whose log was seen to its end, with everything applied.
    whole: Option<u32>,
    projection: PhantomData<fn() -> P>,
}

/// Why following ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// The process ends.
    #[error("shutting down")]
    Shutdown,
    /// An event could not be applied.
    #[error("event {} could not be applied: {}", .0.position, .0.error)]
    Poisoned(Poison),
    /// The events do not fit what is applied; following starts again from the checkpoint.
    #[error("following starts again")]
    Commit(#[source] CommitError),
    /// The projection's database is not there.
    #[error("the projection's database is unavailable")]
    Database(#[from] sqlx::Error),
    /// The log cannot be followed from the checkpoint.
    #[error(transparent)]
    Log(#[from] FollowError),
}

impl<P: Projection> Runner<P> {
    /// A projection that writes to `database` and stops when `shutdown` turns true.
    pub fn new(database: PgConnectOptions, shutdown: watch::Receiver<bool>) -> (Self, Progress) {
        let (progress, receiver) = watch::channel(Standing::default());
        let runner = Self {
            database: database.application_name(&format!("kisum-projection-{}", P::NAME)),
            progress,
            shutdown,
            backoff: Backoff::default(),
            lag_seconds: 0.0,
            whole: None,
            projection: PhantomData,
        };
        metrics::gauge!("kisum_projection_poisoned", "projection" => P::NAME).set(0.0);
        (runner, Progress::new(receiver))
    }

    /// Connects and answers where the projection stands.
    pub(crate) async fn open(&mut self) -> Result<(PgConnection, Cursor), sqlx::Error> {
        let mut conn = self.database.connect().await?;
        let cursor = read_checkpoint(&mut conn, P::NAME).await?.map_or_else(Cursor::default, |stored| stored.cursor);
        self.stands_at(cursor);
        Ok((conn, cursor))
    }

    /// Applies events and answers where the projection stands then.
    pub(crate) async fn apply(
        &mut self,
        conn: &mut PgConnection,
        epoch: u32,
        events: &[Envelope],
    ) -> Result<Cursor, Ended> {
        let committed = commit::<P>(conn, epoch, events).instrument(batch_span::<P>(events)).await;
        let Committed { cursor, at, poison } = committed.map_err(|error| match error {
            CommitError::Unavailable(error) => Ended::Database(error),
            other => Ended::Commit(other),
        })?;
        self.backoff.reset();
        self.stands_at(cursor);
        if let Some(newest) = events.iter().rev().find(|event| event.position <= cursor.position) {
            self.lags(at.since(newest.recorded_at).as_secs_f64());
        }
        match poison {
            None => Ok(cursor),
            Some(poison) => {
                record_poison(conn, P::NAME, &poison).await?;
                Err(Ended::Poisoned(poison))
            }
        }
    }

    /// Nothing is left to apply: from now on, what is not in the rows does not exist.
    pub(crate) async fn caught_up(&mut self, conn: &mut PgConnection, epoch: u32) -> Result<(), sqlx::Error> {
        self.backoff.reset();
        self.lags(0.0);
        if self.whole != Some(epoch) {
            record_whole(conn, P::NAME, epoch).await?;
            self.whole = Some(epoch);
        }
        Ok(())
    }

    /// Where the projection stands.
    pub(crate) fn at(&self) -> Cursor {
        self.progress.borrow().cursor
    }

    /// Acts on the end of following: `true` when it should start again.
    pub(crate) async fn outlives(&mut self, ended: Result<Infallible, Ended>) -> bool {
        let Err(error) = ended;
        match error {
            Ended::Shutdown => false,
            other => {
                let wait = self.backoff.next_wait();
                self.postponed(&other, wait);
                tokio::select! {
                    () = tokio::time::sleep(wait) => true,
                    () = stopped(&mut self.shutdown) => false,
                }
            }
        }
    }

    /// Something failed and is tried again after `wait`; until then the projection may fall behind.
    pub(crate) fn postponed(&mut self, error: &dyn std::error::Error, wait: Duration) {
        tracing::warn!(
            event = "projection.interrupted",
            projection = P::NAME,
            error = chain(error),
            retry_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        );
        self.lags(self.lag_seconds + wait.as_secs_f64());
    }

    /// A poison event: readers are told, and the lag grows until the process restarts and tries it again, or until
    /// the log begins another epoch, whose events are others: then `true`. `log` follows what is behind the event, and
    /// nothing of that is applied.
    pub(crate) async fn stand_still(&mut self, poison: &Poison, mut log: Follow) -> bool {
        tracing::error!(
            event = "projection.poisoned",
            projection = P::NAME,
            position = poison.position,
            error = poison.error,
            "the projection stands still; it tries this event again when the process restarts or the epoch ends",
        );
        metrics::gauge!("kisum_projection_poisoned", "projection" => P::NAME).set(1.0);
        self.progress.send_modify(|standing| standing.poisoned = true);
        let mut shutdown = self.shutdown.clone();
        let mut report = tokio::time::interval(STANDSTILL_REPORT);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        report.tick().await;
        // Asked again only with the next report after it has said that the log is shorter than it was.
        let mut is_answering = true;
        loop {
            tokio::select! {
                () = stopped(&mut shutdown) => return false,
                _ = report.tick() => {
                    is_answering = true;
                    self.lags(self.lag_seconds + STANDSTILL_REPORT.as_secs_f64());
                }
                next = log.next(), if is_answering => match next {
                    Err(FollowError::OtherEpoch { now, cursor }) if now > cursor => return true,
                    Err(FollowError::OtherEpoch { .. } | FollowError::BeyondHead { .. }) => is_answering = false,
                    Ok(_) | Err(FollowError::Interrupted { .. }) => {}
                },
            }
        }
    }

    fn stands_at(&self, cursor: Cursor) {
        metrics::gauge!("kisum_projection_position", "projection" => P::NAME).set(cursor.position as f64);
        self.progress.send_if_modified(|standing| {
            let has_moved = std::mem::replace(&mut standing.cursor, cursor) != cursor;
            // INVARIANT: readers rely on the rows again only once what stopped the projection is behind it.
            if has_moved && std::mem::take(&mut standing.poisoned) {
                metrics::gauge!("kisum_projection_poisoned", "projection" => P::NAME).set(0.0);
            }
            has_moved
        });
    }

    fn lags(&mut self, seconds: f64) {
        self.lag_seconds = seconds;
        metrics::gauge!("kisum_projection_lag_seconds", "projection" => P::NAME).set(seconds);
    }
}

/// The step that a batch of events causes in this projection, as a part of the trace that wrote the first of them.
fn batch_span<P: Projection>(events: &[Envelope]) -> tracing::Span {
    let Some(caused) = Caused::by(events) else { return tracing::Span::none() };
    tracing::error_span!(
        "project",
        trace_id = %caused.here.trace_id(),
        span_id = %caused.here.span_id(),
        parent_span_id = %caused.parent.span_id(),
        span_kind = "consumer",
        sampled = caused.here.is_sampled(),
        links = caused.links,
        projection = P::NAME,
        first = events.first().map(|event| event.position),
        last = events.last().map(|event| event.position),
    )
}

/// Completes when the process is to end; a sender that is gone means the same.
pub(crate) async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}
