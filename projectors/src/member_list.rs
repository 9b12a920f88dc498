//! Who is a member of which company, for lists: the auth log's memberships, in Auth's database.
//!
//! It owns role and standing of each. It refuses to hold names and addresses, which are sealed: whoever shows a list
//! reads them from the persons' states.

use crate::{ApplyError, Batch, Projection, Recorded, checkpoint};
use kisum_events::{AnyEvent, CompanyId, Log, MembershipEvent, MembershipId, TenantRole, UserId};
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// `member_list_v1`: one row per membership, past ones included.
#[derive(Clone, Copy, Debug)]
pub struct MemberList;

/// A row, but for its key.
struct Member {
    company: CompanyId,
    user: UserId,
    role: String,
    status: String,
    joined_at: i64,
    position: i64,
}

/// What an event says about a row.
enum Change {
    Joined(Member),
    Role(&'static str),
    Status(&'static str),
}

impl Projection for MemberList {
    const NAME: &'static str = "member_list_v1";
    const LOG: Log = Log::Auth;
    const TABLES: &'static [&'static str] = &["member_list_v1"];

    async fn apply(conn: &mut PgConnection, batch: &Batch<'_>) -> Result<(), ApplyError> {
        let mut changes = Vec::new();
        for recorded in batch.events {
            if let Some(change) = change_of(recorded) {
                let stream = &recorded.envelope.stream;
                let id: MembershipId = stream
                    .id()
                    .parse()
                    .map_err(|_| ApplyError::Refused(format!("stream '{stream}' does not name a membership")))?;
                changes.push((id, change));
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        let mut members = stored(&mut *conn, &changes).await?;
        for (id, change) in changes {
            let unknown = || ApplyError::Refused(format!("membership {id} changes before it was created"));
            match change {
                Change::Joined(member) => drop(members.insert(id, member)),
                Change::Role(role) => role.clone_into(&mut members.get_mut(&id).ok_or_else(unknown)?.role),
                Change::Status(status) => status.clone_into(&mut members.get_mut(&id).ok_or_else(unknown)?.status),
            }
        }
        Ok(write(conn, &members).await?)
    }

    async fn clear(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query!("delete from member_list_v1").execute(conn).await.map(drop)
    }
}

fn change_of(recorded: &Recorded<'_>) -> Option<Change> {
    let AnyEvent::Membership(event) = &recorded.event else { return None };
    match event {
        MembershipEvent::Created { company_id, user_id, tenant_role, via: _ } => Some(Change::Joined(Member {
            company: *company_id,
            user: *user_id,
            role: role_text(*tenant_role).to_owned(),
            status: "active".to_owned(),
            joined_at: recorded.envelope.recorded_at.micros(),
            position: checkpoint::to_stored(recorded.envelope.position),
        })),
        MembershipEvent::TenantRoleChanged { from: _, to } => Some(Change::Role(role_text(*to))),
        MembershipEvent::Suspended => Some(Change::Status("suspended")),
        MembershipEvent::Reactivated => Some(Change::Status("active")),
        MembershipEvent::Revoked => Some(Change::Status("revoked")),
        MembershipEvent::ModuleGranted { .. }
        | MembershipEvent::ModuleRevoked { .. }
        | MembershipEvent::PermissionGranted { .. }
        | MembershipEvent::PermissionRevoked { .. }
        | MembershipEvent::RoleAssigned { .. }
        | MembershipEvent::RoleUnassigned { .. }
        | MembershipEvent::DelegationReceived { .. }
        | MembershipEvent::DelegationGiven { .. }
        | MembershipEvent::DelegationEnded { .. } => None,
    }
}

/// A role as stored, and as the wire names it.
const fn role_text(role: TenantRole) -> &'static str {
    match role {
        TenantRole::User => "USER",
        TenantRole::Manager => "MANAGER",
        TenantRole::Admin => "ADMIN",
        TenantRole::TenantSuperadmin => "TENANT_SUPERADMIN",
    }
}

/// The rows that are there of those that change.
async fn stored(
    conn: &mut PgConnection,
    changes: &[(MembershipId, Change)],
) -> Result<BTreeMap<MembershipId, Member>, sqlx::Error> {
    let ids: Vec<_> = changes.iter().map(|(id, _)| id.uuid()).collect();
    let rows = sqlx::query!(
        "select membership_id, company_id, user_id, tenant_role, status, joined_at, position
         from member_list_v1 where membership_id = any($1)",
        &ids
    )
    .fetch_all(conn)
    .await?;
    let members = rows.into_iter().map(|row| {
        let member = Member {
            company: CompanyId::new(row.company_id),
            user: UserId::new(row.user_id),
            role: row.tenant_role,
            status: row.status,
            joined_at: row.joined_at,
            position: row.position,
        };
        (MembershipId::new(row.membership_id), member)
    });
    Ok(members.collect())
}

/// Writes rows, in one statement. What a membership is of never changes.
async fn write(conn: &mut PgConnection, members: &BTreeMap<MembershipId, Member>) -> Result<(), sqlx::Error> {
    let ids: Vec<_> = members.keys().map(|id| id.uuid()).collect();
    let companies: Vec<_> = members.values().map(|member| member.company.uuid()).collect();
    let users: Vec<_> = members.values().map(|member| member.user.uuid()).collect();
    let roles: Vec<_> = members.values().map(|member| member.role.clone()).collect();
    let statuses: Vec<_> = members.values().map(|member| member.status.clone()).collect();
    let joined: Vec<_> = members.values().map(|member| member.joined_at).collect();
    let positions: Vec<_> = members.values().map(|member| member.position).collect();
    sqlx::query!(
        "insert into member_list_v1 (membership_id, company_id, user_id, tenant_role, status, joined_at, position)
         select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::bigint[])
         on conflict (membership_id) do update set tenant_role = excluded.tenant_role, status = excluded.status",
        &ids,
        &companies,
        &users,
        &roles,
        &statuses,
        &joined,
        &positions
    )
    .execute(conn)
    .await
    .map(drop)
}
