//! Which invitations a company has sent, for lists: the auth log's invitations, in Auth's database.
//!
//! It owns where each stands. It refuses to hold addresses, which are sealed, and what is promised: whoever shows a list
//! reads both from the invitations' states.

use crate::{ApplyError, Batch, Projection, Recorded, checkpoint};
use kisum_events::{AnyEvent, CompanyId, InvitationEvent, InvitationId, Log, Timestamp};
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// `invitation_list_v1`: one row per invitation, past ones included.
#[derive(Clone, Copy, Debug)]
pub struct InvitationList;

/// A row, but for its key.
struct Row {
    company: CompanyId,
    status: String,
    expires_at: i64,
    position: i64,
}

/// What an event says about a row.
enum Change {
    Sent(Row),
    Resent { expires_at: Timestamp },
    Over(&'static str),
}

impl Projection for InvitationList {
    const NAME: &'static str = "invitation_list_v1";
    const LOG: Log = Log::Auth;
    const TABLES: &'static [&'static str] = &["invitation_list_v1"];

    async fn apply(conn: &mut PgConnection, batch: &Batch<'_>) -> Result<(), ApplyError> {
        let mut changes = Vec::new();
        for recorded in batch.events {
            if let Some(change) = change_of(recorded) {
                let stream = &recorded.envelope.stream;
                let id: InvitationId = stream
                    .id()
                    .parse()
                    .map_err(|_| ApplyError::Refused(format!("stream '{stream}' does not name an invitation")))?;
                changes.push((id, change));
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        let mut rows = stored(&mut *conn, &changes).await?;
        for (id, change) in changes {
            let unknown = || ApplyError::Refused(format!("invitation {id} changes before it was sent"));
            match change {
                Change::Sent(row) => drop(rows.insert(id, row)),
                Change::Resent { expires_at } => {
                    rows.get_mut(&id).ok_or_else(unknown)?.expires_at = expires_at.micros();
                }
                Change::Over(status) => status.clone_into(&mut rows.get_mut(&id).ok_or_else(unknown)?.status),
            }
        }
        Ok(write(conn, &rows).await?)
    }

    async fn clear(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query!("delete from invitation_list_v1").execute(conn).await.map(drop)
    }
}

fn change_of(recorded: &Recorded<'_>) -> Option<Change> {
    let AnyEvent::Invitation(event) = &recorded.event else { return None };
    Some(match event {
        InvitationEvent::Sent { company_id, expires_at, .. } => Change::Sent(Row {
            company: *company_id,
            status: "pending".to_owned(),
            expires_at: expires_at.micros(),
            position: checkpoint::to_stored(recorded.envelope.position),
        }),
        InvitationEvent::Resent { expires_at, .. } => Change::Resent { expires_at: *expires_at },
        InvitationEvent::Withdrawn => Change::Over("withdrawn"),
        InvitationEvent::Accepted { .. } => Change::Over("accepted"),
        InvitationEvent::Expired => Change::Over("expired"),
    })
}

/// The rows that are there of those that change.
async fn stored(
    conn: &mut PgConnection,
    changes: &[(InvitationId, Change)],
) -> Result<BTreeMap<InvitationId, Row>, sqlx::Error> {
    let ids: Vec<_> = changes.iter().map(|(id, _)| id.uuid()).collect();
    let rows = sqlx::query!(
        "select invitation_id, company_id, status, expires_at, position
         from invitation_list_v1 where invitation_id = any($1)",
        &ids
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter().map(|row| {
        let (id, company) = (InvitationId::new(row.invitation_id), CompanyId::new(row.company_id));
        (id, Row { company, status: row.status, expires_at: row.expires_at, position: row.position })
    });
    Ok(rows.collect())
}

/// Writes rows, in one statement. What an invitation is of never changes.
async fn write(conn: &mut PgConnection, rows: &BTreeMap<InvitationId, Row>) -> Result<(), sqlx::Error> {
    let ids: Vec<_> = rows.keys().map(|id| id.uuid()).collect();
    let companies: Vec<_> = rows.values().map(|row| row.company.uuid()).collect();
    let statuses: Vec<_> = rows.values().map(|row| row.status.clone()).collect();
    let ends: Vec<_> = rows.values().map(|row| row.expires_at).collect();
    let positions: Vec<_> = rows.values().map(|row| row.position).collect();
    sqlx::query!(
        "insert into invitation_list_v1 (invitation_id, company_id, status, expires_at, position)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[])
         on conflict (invitation_id) do update set status = excluded.status, expires_at = excluded.expires_at",
        &ids,
        &companies,
        &statuses,
        &ends,
        &positions
    )
    .execute(conn)
    .await
    .map(drop)
}
