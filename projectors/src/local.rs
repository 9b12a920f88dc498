//! Following the log that lives in the projection's own database: Postgres says what there is, signals only wake.

use crate::{
    Projection, Runner,
    runner::{FollowError, stopped},
};
use kisum_log::EventLog;
use std::{convert::Infallible, time::Duration};

/// How long an append by another process can stay unseen.
const POLL: Duration = Duration::from_millis(20);
/// Most events in one transaction.
const BATCH_MAX: i64 = 500;

/// Runs a projection of a log that lives in the same database, until shutdown.
pub async fn run_local<P: Projection>(mut runner: Runner<P>, log: EventLog) {
    loop {
        let ended = follow(&mut runner, &log).await;
        if !runner.outlives(ended).await {
            return;
        }
    }
}

async fn follow<P: Projection>(runner: &mut Runner<P>, log: &EventLog) -> Result<Infallible, FollowError> {
    let (mut conn, mut at) = runner.open().await?;
    loop {
        if *runner.shutdown.borrow() {
            return Err(FollowError::Shutdown);
        }
        // Asked for before reading, so that an append between the read and the wait is not slept over.
        let appended = log.appended().notified();
        tokio::pin!(appended);
        appended.as_mut().enable();
        let head = kisum_log::read_head(&mut conn).await?;
        if head.epoch != at.epoch {
            at = runner.apply(&mut conn, head.epoch, &[]).await?;
            continue;
        }
        if head.position > at.position {
            let events = kisum_log::read(&mut conn, P::LOG, at.position, BATCH_MAX, None).await?;
            at = runner.apply(&mut conn, head.epoch, &events).await?;
            continue;
        }
        runner.caught_up();
        tokio::select! {
            () = appended => {}
            () = tokio::time::sleep(POLL) => {}
            () = stopped(&mut runner.shutdown) => return Err(FollowError::Shutdown),
        }
    }
}
