//! The loop of a running projection: what its follower gives is applied, and what its follower says is reported.

use crate::{
    Projection, Runner,
    runner::{Ended, stopped},
};
use kisum_events::Cursor;
use kisum_log::{EventLog, Follow, FollowError, LogSource};
use std::convert::Infallible;

/// Most events in one transaction.
pub(crate) const COMMIT_MAX: usize = 500;

/// Runs a projection of a log that lives in the same database, until shutdown: Postgres says what there is.
pub async fn run_local<P: Projection>(runner: Runner<P>, log: EventLog) {
    run(runner, |at| log.follow(at)).await;
}

/// Runs a projection of a log that lives in another database, until shutdown: the bus brings events at once, the
/// owner's log route closes holes, starts cold followers and takes over while the bus is silent.
pub async fn run_remote<P: Projection>(runner: Runner<P>, source: LogSource, nats: async_nats::Client) {
    run(runner, |at| Follow::new(source.clone(), P::LOG, at).with_bus(nats.clone())).await;
}

async fn run<P: Projection>(mut runner: Runner<P>, begin: impl Fn(Cursor) -> Follow) {
    loop {
        let ended = follow(&mut runner, &begin).await;
        let goes_on = match ended {
            Err(Ended::Poisoned(poison)) => {
                let behind = Cursor { position: poison.position, ..runner.at() };
                runner.stand_still(&poison, begin(behind)).await
            }
            other => runner.outlives(other).await,
        };
        if !goes_on {
            return;
        }
    }
}

async fn follow<P: Projection>(runner: &mut Runner<P>, begin: impl Fn(Cursor) -> Follow) -> Result<Infallible, Ended> {
    let (mut conn, at) = runner.open().await?;
    let mut follow = begin(at);
    let mut caught_up = follow.caught_up();
    let mut shutdown = runner.shutdown.clone();
    loop {
        let next = tokio::select! {
            () = stopped(&mut shutdown) => return Err(Ended::Shutdown),
            Ok(()) = caught_up.changed() => {
                if *caught_up.borrow_and_update() {
                    runner.caught_up(&mut conn, follow.at().epoch).await?;
                }
                continue;
            }
            next = follow.next() => next,
        };
        match next {
            Ok(events) => {
                let epoch = follow.at().epoch;
                for events in events.chunks(COMMIT_MAX) {
                    runner.apply(&mut conn, epoch, events).await?;
                }
            }
            Err(FollowError::OtherEpoch { now, .. }) => {
                // Applying nothing takes the projection into the epoch: it is emptied and stands at position 0.
                runner.apply(&mut conn, now, &[]).await?;
                follow.start_over(now);
            }
            // The bus goes on being applied meanwhile: only what it does not bring waits for the log's owner.
            Err(FollowError::Interrupted { retry_in, source }) => runner.postponed(&source, retry_in),
            Err(error @ FollowError::BeyondHead { .. }) => return Err(Ended::Log(error)),
        }
    }
}
