//! The shadow of a projection: its tables once more in the schema `rebuild`, folded by the same code.
//!
//! It owns a connection on which the names of the projection's tables mean the shadows, and the order to fold a log
//! exactly so far and no further.

use super::{RebuildError, Stage};
use crate::{
    CommitError, Projection,
    checkpoint::{to_stored, to_stored_epoch},
    commit::{chain, commit},
    follow::COMMIT_MAX,
};
use kisum_events::Cursor;
use kisum_log::{Follow, FollowError, Pages};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::marker::PhantomData;
use tokio::sync::watch;

/// How often in a row the log may give no page, each time later and 5 s apart in the end, before a rebuild gives up:
/// about half a minute.
const INTERRUPTIONS_MAX: u32 = 15;

/// A projection's shadow. A later rebuild takes it from an earlier one, which ends then.
pub(super) struct Shadow<'a, P> {
    conn: PgConnection,
    log: &'a Pages,
    stage: &'a watch::Sender<Stage>,
    at: Cursor,
    projection: PhantomData<fn() -> P>,
}

impl<'a, P: Projection> Shadow<'a, P> {
    /// Takes the shadow, and empties it.
    pub(super) async fn open(
        mut conn: PgConnection,
        log: &'a Pages,
        stage: &'a watch::Sender<Stage>,
    ) -> Result<Self, RebuildError> {
        sqlx::raw_sql("set search_path = rebuild, public").execute(&mut conn).await?;
        for table in P::TABLES.iter().copied().chain(["projection_checkpoint"]) {
            // INVARIANT: what folds here never reaches the running projection's tables.
            let is_shadow = sqlx::query_scalar!(
                r#"select coalesce(to_regclass($1) = to_regclass('rebuild.' || $1), false) as "is!""#,
                table
            )
            .fetch_one(&mut conn)
            .await?;
            if !is_shadow {
                return Err(RebuildError::NoShadow { table });
            }
        }
        let mut shadow = Self { conn, log, stage, at: Cursor::default(), projection: PhantomData };
        shadow.empty().await?;
        Ok(shadow)
    }

    /// Everything up to here is folded.
    pub(super) const fn at(&self) -> Cursor {
        self.at
    }

    /// Says that a table is compared, and how many rows were found to differ by now.
    pub(super) fn compares(&self, table: &'static str, rows: u64) {
        self.stage.send_replace(Stage::Comparing { table, rows });
    }

    /// Folds the log up to `to` and no event further. Dropping the future loses nothing.
    pub(super) async fn fold_through(&mut self, to: Cursor) -> Result<(), RebuildError> {
        if self.at.epoch == 0 {
            self.at = commit::<P>(&mut self.conn, to.epoch, &[]).await.map_err(of_commit)?.cursor;
        }
        if self.at.epoch != to.epoch {
            return Err(RebuildError::OtherEpoch { folded: self.at.epoch, now: to.epoch });
        }
        let mut follow = None;
        let mut interruptions = 0_u32;
        while self.at.position < to.position {
            let (at, pages) = (self.at, self.log);
            self.stage.send_replace(Stage::Folding { at: at.position, to: to.position });
            let events = match follow.get_or_insert_with(|| Follow::new(pages.clone(), P::LOG, at)).next().await {
                Ok(events) => {
                    interruptions = 0;
                    events
                }
                Err(FollowError::OtherEpoch { now, .. }) => {
                    return Err(RebuildError::OtherEpoch { folded: self.at.epoch, now });
                }
                // Its next answer waits until it is time to ask again.
                Err(FollowError::Interrupted { source, .. }) if interruptions < INTERRUPTIONS_MAX => {
                    interruptions = interruptions.saturating_add(1);
                    let why = chain(&source);
                    tracing::warn!(event = "projection.rebuild_waits", projection = P::NAME, error = why);
                    self.stage.send_replace(Stage::Interrupted { why });
                    continue;
                }
                Err(error @ (FollowError::BeyondHead { .. } | FollowError::Interrupted { .. })) => {
                    return Err(RebuildError::Log(error));
                }
            };
            let wanted = events.partition_point(|event| event.position <= to.position);
            for batch in events.get(..wanted).unwrap_or_default().chunks(COMMIT_MAX) {
                let committed = commit::<P>(&mut self.conn, to.epoch, batch).await.map_err(of_commit)?;
                self.at = committed.cursor;
                self.stage.send_replace(Stage::Folding { at: self.at.position, to: to.position });
                if let Some(poison) = committed.poison {
                    return Err(RebuildError::Poisoned(poison));
                }
            }
        }
        Ok(())
    }

    /// Whether the shadow still holds what was folded here.
    ///
    /// # Errors
    /// [`RebuildError::Busy`] when another rebuild has emptied it.
    pub(super) async fn check(&mut self) -> Result<(), RebuildError> {
        hold(&mut self.conn, P::NAME, self.at).await
    }

    /// Empties it: rows and checkpoint together, so that whoever finds a checkpoint finds its rows.
    pub(super) async fn empty(&mut self) -> Result<(), sqlx::Error> {
        let mut tx = self.conn.begin().await?;
        let found = sqlx::query!("delete from rebuild.projection_checkpoint where name = $1", P::NAME)
            .execute(&mut *tx)
            .await?;
        // Without a checkpoint there are no rows: nothing to truncate, which is not cheap.
        if found.rows_affected() > 0 {
            let tables: Vec<String> = P::TABLES.iter().map(|table| format!("rebuild.{table}")).collect();
            let sql = format!("truncate {}", tables.join(", "));
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        self.at = Cursor::default();
        Ok(())
    }
}

/// Keeps a projection's shadow as it is until the transaction ends, if it stands exactly at `at`.
///
/// # Errors
/// [`RebuildError::Busy`] when it does not: another rebuild has emptied it.
pub(super) async fn hold(conn: &mut PgConnection, name: &str, at: Cursor) -> Result<(), RebuildError> {
    let is_there = sqlx::query_scalar!(
        "select 1 from rebuild.projection_checkpoint where name = $1 and epoch = $2 and position = $3 for share",
        name,
        to_stored_epoch(at.epoch),
        to_stored(at.position)
    )
    .fetch_optional(conn)
    .await?;
    is_there.map(drop).ok_or(RebuildError::Busy)
}

fn of_commit(error: CommitError) -> RebuildError {
    match error {
        CommitError::Hole { .. } | CommitError::OlderEpoch { .. } => RebuildError::Busy,
        CommitError::Unavailable(error) => RebuildError::Database(error),
    }
}
