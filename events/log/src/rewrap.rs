//! Wrapping persons' keys anew, so that an older key of `DATA_ENCRYPTION_KEYS` can be given up (security 13).
//!
//! What is sealed stays as it is: the person's key does not change, only what it is wrapped by. Each batch is a statement
//! of its own, so that a run that ends anywhere is completed by the next. The database's owner alone may do it.

use crate::{SealError, Sealer};
use kisum_events::UserId;
use sqlx::PgPool;
use uuid::Uuid;

/// Keys wrapped anew in one statement.
const BATCH: i64 = 500;

/// What one batch came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrapped {
    /// The last person that was looked at: where the next batch begins.
    pub through: UserId,
    /// How many keys were found.
    pub found: u64,
}

impl Sealer {
    /// The name of the key that wraps.
    pub fn wraps_by(&self) -> Option<&str> {
        self.first().map(|(name, _)| name)
    }

    /// How many persons' keys are wrapped by another key than the one that wraps now. Reads the whole table.
    ///
    /// # Errors
    /// [`SealError`]
    pub async fn wrapped_otherwise(&self, pool: &PgPool) -> Result<u64, SealError> {
        let name = self.wraps_by().ok_or(SealError::Cipher)?;
        let count = sqlx::query_scalar!(r#"select count(*) as "count!" from person_key where wrapped_by <> $1"#, name)
            .fetch_one(pool)
            .await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Wraps the next persons' keys behind `after` by the key that wraps now; nothing when there are none left.
    ///
    /// # Errors
    /// [`SealError::UnknownWrappingKey`] for a key that none of ours unwraps; what came before stays done.
    pub async fn rewrap(&self, pool: &PgPool, after: Option<UserId>) -> Result<Option<Rewrapped>, SealError> {
        let name = self.wraps_by().ok_or(SealError::Cipher)?;
        let rows = sqlx::query!(
            "select person, key_id, wrapped, wrapped_by from person_key
             where person > $1 and wrapped_by <> $2 order by person limit $3",
            after.map_or(Uuid::nil(), UserId::uuid),
            name,
            BATCH
        )
        .fetch_all(pool)
        .await?;
        let Some(last) = rows.last() else { return Ok(None) };
        let through = UserId::new(last.person);
        let found = u64::try_from(rows.len()).unwrap_or(0);
        let (mut persons, mut keys, mut wrapped) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            let anew = self.wrapped_anew(UserId::new(row.person), row.key_id, (&row.wrapped_by, &row.wrapped))?;
            persons.push(row.person);
            keys.push(row.key_id);
            wrapped.push(anew);
        }
        // A person who was erased meanwhile has no row, and gets none.
        sqlx::query!(
            "update person_key p set wrapped = n.wrapped, wrapped_by = $4
             from unnest($1::uuid[], $2::uuid[], $3::bytea[]) as n (person, key_id, wrapped)
             where p.person = n.person and p.key_id = n.key_id",
            &persons,
            &keys,
            &wrapped,
            name
        )
        .execute(pool)
        .await?;
        Ok(Some(Rewrapped { through, found }))
    }
}
