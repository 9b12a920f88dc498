//! Commands under an idempotency key: each is carried out once for as long as its key counts (contract, *HTTP*).
//!
//! It owns the keys of a backend's database, and forgets those that count no more. Every function works in the caller's
//! transaction: a key is there if and only if what it made is. It refuses to know what commands make.

use crate::shared::{
    idempotency::Idempotency,
    problem::{self, Problem, conflict},
};
use kisum_events::{CompanyId, Timestamp, UserId};
use sqlx::PgConnection;
use std::time::Duration;
use uuid::Uuid;

/// How long a key counts (contract).
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Keys that a command takes away at most. Each adds one, so that they do not gather.
const FORGOTTEN_MAX: i64 = 32;

/// A command that was sent under a key. Another person, company, command or key is another one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keyed {
    company: CompanyId,
    actor: UserId,
    command: &'static str,
    key: Uuid,
    body_hash: [u8; 32],
    now: Timestamp,
}

impl Keyed {
    /// What was sent, where it was sent under a key.
    pub(super) fn of(
        idempotency: &Idempotency,
        (company, actor): (CompanyId, UserId),
        command: &'static str,
        now: Timestamp,
    ) -> Option<Self> {
        let body_hash = *idempotency.body_hash();
        idempotency.key().map(|key| Self { company, actor, command, key, body_hash, now })
    }

    /// Takes the key for what is about to be made; where it was taken before, answers what was made then. A command that
    /// is being carried out at this moment is waited for.
    ///
    /// # Errors
    /// 409 where the key was used with another body; 503 when the database cannot tell.
    pub(super) async fn take(&self, conn: &mut PgConnection, record: Uuid) -> Result<Option<Uuid>, Problem> {
        self.forget(&mut *conn).await.map_err(problem::of_query)?;
        if self.insert(&mut *conn, record).await.map_err(problem::of_query)? {
            return Ok(None);
        }
        let (body_hash, made) = self.earlier(conn).await.map_err(problem::of_query)?;
        if body_hash.is_some_and(|hash| hash != self.body_hash) {
            return Err(Problem::conflict(conflict::KEY_REUSED, "This idempotency key was used with another request."));
        }
        Ok(Some(made))
    }

    /// Whether the key was free, or counts no more. Otherwise its row is held until the transaction ends.
    async fn insert(&self, conn: &mut PgConnection, record: Uuid) -> Result<bool, sqlx::Error> {
        let done = sqlx::query!(
            "insert into business_command as earlier (company_id, actor, command, key, body_hash, record, sent_at)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict on constraint business_command_key do update
             set body_hash = excluded.body_hash, record = excluded.record, sent_at = excluded.sent_at
             where earlier.sent_at <= $8",
            self.company.uuid(),
            self.actor.uuid(),
            self.command,
            self.key,
            &self.body_hash,
            record,
            self.now.micros(),
            self.expired()
        )
        .execute(conn)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn earlier(&self, conn: &mut PgConnection) -> Result<(Option<Vec<u8>>, Uuid), sqlx::Error> {
        let row = sqlx::query!(
            "select body_hash, record from business_command
             where company_id = $1 and actor = $2 and command = $3 and key = $4",
            self.company.uuid(),
            self.actor.uuid(),
            self.command,
            self.key
        )
        .fetch_one(conn)
        .await?;
        Ok((row.body_hash, row.record))
    }

    /// Takes away some of the keys that count no more, of whomever they are. Those that somebody else holds are theirs to
    /// take away.
    async fn forget(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "delete from business_command where (company_id, actor, command, key) in (
                 select company_id, actor, command, key from business_command where sent_at <= $1
                 order by sent_at limit $2 for update skip locked)",
            self.expired(),
            FORGOTTEN_MAX
        )
        .execute(conn)
        .await
        .map(drop)
    }

    /// Keys of this instant and before count no more.
    fn expired(&self) -> i64 {
        self.now.minus(KEPT).micros()
    }
}
