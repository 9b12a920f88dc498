//! Sessions that ended while an access token of theirs may be alive: the auth log's `session.ended`, in Auth's
//! database. What a guard reads when it starts cold.

use crate::{ApplyError, Batch, Projection, checkpoint};
use kisum_events::{AnyEvent, Log, SessionEvent, SessionId, Timestamp};
use sqlx::PgConnection;
use std::time::Duration;

/// How long a row outlives its session's last token: well above the skew that verifiers allow (30 s).
const KEPT_BEYOND: Duration = Duration::from_secs(300);

/// `ended_sessions_v1`: one row per session whose tokens may still be presented.
#[derive(Clone, Copy, Debug)]
pub struct EndedSessions;

impl Projection for EndedSessions {
    const NAME: &'static str = "ended_sessions_v1";
    const LOG: Log = Log::Auth;
    const TABLES: &'static [&'static str] = &["ended_session_v1"];

    async fn apply(conn: &mut PgConnection, batch: &Batch<'_>) -> Result<(), ApplyError> {
        let mut newest: Option<Timestamp> = None;
        for recorded in batch.events {
            let AnyEvent::Session(SessionEvent::Ended { user_id, tokens_until, .. }) = &recorded.event else {
                continue;
            };
            let stream = &recorded.envelope.stream;
            let session: SessionId = stream
                .id()
                .parse()
                .map_err(|_| ApplyError::Refused(format!("stream '{stream}' does not name a session")))?;
            sqlx::query!(
                "insert into ended_session_v1 (session_id, user_id, until, position) values ($1, $2, $3, $4)
                 on conflict (session_id) do update set until = greatest(ended_session_v1.until, excluded.until)",
                session.uuid(),
                user_id.uuid(),
                tokens_until.micros(),
                checkpoint::to_stored(recorded.envelope.position)
            )
            .execute(&mut *conn)
            .await?;
            newest = Some(recorded.envelope.recorded_at);
        }
        // By the log's own time, so that a rebuild forgets exactly what the running projection forgot.
        if let Some(newest) = newest {
            sqlx::query!("delete from ended_session_v1 where until < $1", newest.minus(KEPT_BEYOND).micros())
                .execute(conn)
                .await?;
        }
        Ok(())
    }

    async fn clear(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query!("delete from ended_session_v1").execute(conn).await.map(drop)
    }
}
