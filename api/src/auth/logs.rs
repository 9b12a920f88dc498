//! Both logs as Auth reaches them: its own in its database, Core's by the relays that serve it.
//!
//! It owns whom to ask, and how long. Guards are answered from here over HTTP, and Auth's own memory directly. It
//! refuses to know what an event means.

use super::peers::Peer;
use crate::shared::{
    ambient::{Clock, Stopwatch},
    log_page::{LogPage, LogQuery},
    problem::{Chain, Problem},
};
use futures_util::future::BoxFuture;
use kisum_domains::Keyring;
use kisum_events::{Class, Head, Heads, Log, Position, SessionId, StreamName, Timestamp};
use kisum_guard::{AccessPage, PAGE_LEN, Revocations, Revoked, Source, SourceError};
use kisum_log::{EventLog, LoadError};
use std::time::Duration;
use uuid::Uuid;

/// Longest wait for one relay's head; the guard gives the whole answer 400 ms (`consistency.md`, *Proof*).
const HEAD_PATIENCE: Duration = Duration::from_millis(150);
/// Longest wait for one relay's page of the core log.
const PAGE_PATIENCE: Duration = Duration::from_secs(1);

/// Both logs.
#[derive(Clone)]
pub(super) struct Logs {
    /// The auth log.
    pub(super) own: EventLog,
    /// Relays of the auth log.
    pub(super) auth_relay: Peer,
    /// Relays of the core log.
    pub(super) core_relay: Peer,
    /// The time.
    pub(super) clock: Clock,
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logs").finish_non_exhaustive()
    }
}

impl Logs {
    /// Where both logs end. The relays know. When the auth log's relays do not answer, that head is read here, on the
    /// primary and behind the commit barrier, as they do.
    pub(super) async fn heads(&self, fresh: bool) -> Heads {
        let (auth, core) = tokio::join!(self.auth_head(fresh), relayed_head(&self.core_relay, Log::Core, fresh));
        Heads { auth, core }
    }

    /// A page of a log.
    ///
    /// # Errors
    /// A problem: 400 for a limit out of range, 503 when the log cannot be read.
    pub(super) async fn page(&self, log: Log, query: LogQuery) -> Result<LogPage, Problem> {
        match log {
            Log::Auth => LogPage::read(self.own.pool(), log, query).await,
            Log::Core => {
                let parameters = query.parameters()?;
                let answer = self.core_relay.get::<LogPage>("/internal/v1/log", &parameters, PAGE_PATIENCE).await;
                answer.map(|answer| answer.data).map_err(|error| {
                    tracing::warn!(error = %Chain(&error), "the core log cannot be read");
                    Problem::unavailable("The core log cannot be read at the moment.")
                })
            }
        }
    }

    /// The sessions that ended behind `after` and whose tokens may be alive, and every key that was removed, complete up to the auth log's head.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn revocations(&self, after: Position) -> Result<Revocations, LoadError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        // One statement, one snapshot. What the projection has not folded yet is read from the log itself, so the list
        // is complete up to the head however far behind the projection is. A checkpoint of another epoch counts as none.
        let rows = sqlx::query!(
            r#"with head as (
                   select log_epoch_check() as epoch,
                          coalesce((select last_position from log_batch order by last_position desc limit 1), 0) as position),
               folded as (
                   select coalesce(max(p.position), 0) as position from projection_checkpoint p, head
                   where p.name = 'ended_sessions_v1' and p.epoch = head.epoch),
               ended as (
                   select session_id, until from ended_session_v1 where until > $1 and position > $2
                   union
                   select substr(e.stream, 9)::uuid, (extract(epoch from (e.data::json ->> 'tokensUntil')::timestamptz) * 1000000)::bigint
                   from event e, folded
                   where e.position > greatest(folded.position, $2) and e.effect <> 'none' and e.type = 'session.ended')
               select head.epoch as "epoch!", head.position as "position!", ended.session_id as "session_id?: Uuid",
                      ended.until as "until?"
               from head left join ended on ended.until > $1"#,
            self.clock.now().micros(),
            after
        )
        .fetch_all(self.own.pool())
        .await?;
        // The head is there whether a session has ended or not.
        let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        let (epoch, position) = (u32::try_from(first.epoch).unwrap_or(0), u64::try_from(first.position).unwrap_or(0));
        let session = |(id, until)| Revoked { sid: SessionId::new(id), until: Timestamp::from_micros(until) };
        // Read behind the list, and never shorter later: whatever was removed up to the list's place is in it.
        let keyring = self.own.load::<Keyring>(&StreamName::keyring()).await?;
        let removed_keys = keyring.state.removed.into_keys().collect();
        let sessions = rows.into_iter().filter_map(|row| row.session_id.zip(row.until)).map(session).collect();
        Ok(Revocations { epoch, position, sessions, removed_keys })
    }

    async fn auth_head(&self, fresh: bool) -> Option<Head> {
        if let Some(head) = relayed_head(&self.auth_relay, Log::Auth, fresh).await {
            return Some(head);
        }
        // The clock is read before the head: age may only be overstated.
        let watch = Stopwatch::start();
        match self.own_head().await {
            Ok(head) => Some(Head { age_ms: millis_up(watch.elapsed()), ..head }),
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the head of the auth log cannot be read");
                None
            }
        }
    }

    async fn own_head(&self) -> Result<Head, LoadError> {
        let mut conn = self.own.pool().acquire().await?;
        let head = kisum_log::read_head_with_barrier(&mut conn).await?;
        Ok(Head { epoch: head.epoch, position: head.position, access_position: head.access_position, age_ms: 0 })
    }
}

impl Source for Logs {
    fn heads(&self) -> BoxFuture<'_, Result<Heads, SourceError>> {
        Box::pin(async { Ok(Self::heads(self, false).await) })
    }

    fn page(&self, log: Log, after: Position) -> BoxFuture<'_, Result<AccessPage, SourceError>> {
        let query = LogQuery::behind(after, PAGE_LEN, Class::Access);
        Box::pin(async move {
            match Self::page(self, log, query).await {
                Ok(LogPage { epoch, events, .. }) => Ok(AccessPage { epoch, events }),
                Err(problem) => Err(SourceError(problem.message.into())),
            }
        })
    }

    fn revocations(&self) -> BoxFuture<'_, Result<Revocations, SourceError>> {
        Box::pin(async { Self::revocations(self, 0).await.map_err(|error| SourceError(Box::new(error))) })
    }
}

/// A relay's answer. The whole way there and back is added to its age: which part of it came after the reading is
/// not known.
async fn relayed_head(relay: &Peer, log: Log, fresh: bool) -> Option<Head> {
    let query: &[(&str, String)] = if fresh { &[("fresh", "true".to_owned())] } else { &[] };
    match relay.get::<Heads>("/internal/v1/heads", query, HEAD_PATIENCE).await {
        Ok(answer) => {
            let head = match log {
                Log::Auth => answer.data.auth,
                Log::Core => answer.data.core,
            }?;
            Some(Head { age_ms: head.age_ms.saturating_add(millis_up(answer.took)), ..head })
        }
        Err(error) => {
            tracing::debug!(error = %Chain(&error), "a relay did not say where its log ends");
            None
        }
    }
}

/// Whole milliseconds, rounded up.
fn millis_up(span: Duration) -> u64 {
    u64::try_from(span.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::millis_up;
    use std::time::Duration;

    #[test]
    fn an_age_is_rounded_up() {
        for (micros, millis) in [(0, 0), (1, 1), (1000, 1), (1001, 2)] {
            assert_eq!(millis_up(Duration::from_micros(micros)), millis);
        }
    }
}
