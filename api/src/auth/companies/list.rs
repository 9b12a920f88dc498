//! `GET /companies/{company}/members`: who belongs to a company, page by page.
//!
//! Who they are comes from the read model, what they are called from their own states, since names and addresses are
//! sealed and in no table of lists; and which roles they have from the memberships' states.

use super::{
    Carried,
    public::Manager,
    views::{MemberStatus, Role},
};
use crate::{
    auth::{
        Auth,
        lists::{self, ListAsOf},
    },
    shared::{
        extract::ApiQuery,
        paging::{ListOf, Page, PageQuery, PageRequest},
        problem::{self, Problem},
        respond::{Success, SuccessBody},
    },
};
use axum::extract::State;
use kisum_domains::{Membership, User};
use kisum_events::{CompanyId, MembershipId, StreamName, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Which members.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub(super) struct MembersQuery {
    /// Items of the page, 1 to 200.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u16>,
    /// Where the page before ended, as that page's `nextCursor` says.
    cursor: Option<String>,
    /// Only those of this standing; without it those who are members, suspended or not.
    #[param(inline)]
    status: Option<MemberStatus>,
    /// Only those with this role.
    #[param(inline)]
    tenant_role: Option<Role>,
}

/// A page of a company's members.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Members {
    #[serde(flatten)]
    page: Page<MemberView>,
    /// What the list was made from.
    as_of: ListAsOf,
}

/// A member as a list shows them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MemberView {
    /// The membership.
    membership_id: Uuid,
    /// The person.
    user_id: Uuid,
    /// Their address; empty where it was erased.
    email: String,
    /// Their display name; empty where it was erased.
    name: String,
    /// With which standing.
    tenant_role: Role,
    /// Whether they may act for the company.
    status: MemberStatus,
    /// Ids of their named roles, deleted ones included, which give nothing.
    roles: Vec<Uuid>,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    joined_at: Timestamp,
}

/// Lists a company's members, in the order in which they joined.
#[utoipa::path(get, path = "/companies/{company}/members", tag = "members",
    params(("company" = Uuid, Path), MembersQuery,
        ("x-org" = String, Header, description = "The same company."),
        ("X-Access-Position" = Option<String>, Header, description = "What the list must contain.")),
    security(("bearer" = [])),
    responses((status = 200, description = "A page of members.", body = SuccessBody<Members>)))]
pub(super) async fn list_members(
    State(auth): State<Auth>,
    Manager(actor): Manager,
    carried: Carried,
    ApiQuery(query): ApiQuery<MembersQuery>,
) -> Result<Success<Members>, Problem> {
    let filter = Filter { statuses: statuses(query.status), role: query.tenant_role };
    let list = ListOf::new("members", actor.company, &(query.status, query.tenant_role));
    let page: PageRequest<i64> = PageQuery::new(query.limit, query.cursor).request(list)?;
    lists::settle(&auth, &auth.member_list, carried).await?;
    let (as_of, rows) = select(&auth, actor.company, &filter, &page).await?;
    let (people, memberships) = tokio::try_join!(people(&auth, &rows), memberships(&auth, &rows))?;
    let page = Page::of(rows, &page, |row| row.position, |row| row.view(&people, &memberships));
    Ok(Success(Members { page, as_of }))
}

/// What to leave out.
struct Filter {
    statuses: Vec<String>,
    role: Option<Role>,
}

fn statuses(wanted: Option<MemberStatus>) -> Vec<String> {
    let members = [MemberStatus::Active, MemberStatus::Suspended];
    let wanted = wanted.map_or(members.to_vec(), |one| vec![one]);
    wanted.into_iter().map(|status| status.stored().to_owned()).collect()
}

struct Row {
    membership_id: Uuid,
    user: UserId,
    role: Role,
    status: MemberStatus,
    joined_at: i64,
    position: i64,
}

impl Row {
    fn stream(&self) -> StreamName {
        StreamName::membership(MembershipId::new(self.membership_id))
    }

    fn view(self, people: &BTreeMap<StreamName, User>, memberships: &BTreeMap<StreamName, Membership>) -> MemberView {
        let (user, membership) = (people.get(&StreamName::user(self.user)), memberships.get(&self.stream()));
        let roles = membership.into_iter().flat_map(|membership| membership.roles.keys());
        MemberView {
            membership_id: self.membership_id,
            user_id: self.user.uuid(),
            email: user.and_then(|user| user.email.get().cloned()).unwrap_or_default(),
            name: user.and_then(|user| user.name.get().cloned()).unwrap_or_default(),
            tenant_role: self.role,
            status: self.status,
            roles: roles.map(|id| id.uuid()).collect(),
            joined_at: Timestamp::from_micros(self.joined_at),
        }
    }
}

/// One statement, one snapshot of the rows and of what they stand for.
async fn select(
    auth: &Auth,
    company: CompanyId,
    filter: &Filter,
    page: &PageRequest<i64>,
) -> Result<(ListAsOf, Vec<Row>), Problem> {
    let rows = sqlx::query!(
        r#"select log_epoch_check() as "current!", p.epoch as "epoch?", p.position as "checkpoint?",
                  m.membership_id as "membership_id?", m.user_id as "user_id?", m.tenant_role as "tenant_role?",
                  m.status as "status?", m.joined_at as "joined_at?", m.position as "position?"
           from (values (1)) as one (row)
           left join projection_checkpoint p on p.name = 'member_list_v1'
           left join lateral (
               select * from member_list_v1
               where company_id = $1 and position > $2 and status = any($3) and ($4::text is null or tenant_role = $4)
               order by position limit $5) m on true
           order by m.position"#,
        company.uuid(),
        page.after.unwrap_or(0),
        &filter.statuses,
        filter.role.map(Role::stored),
        page.fetch()
    )
    .fetch_all(auth.log.pool())
    .await
    .map_err(|error| problem::of_load(error.into()))?;
    let first = rows.first().ok_or_else(Problem::internal)?;
    let as_of = ListAsOf::read(first.current, first.epoch, first.checkpoint)?;
    let rows = rows.into_iter().filter_map(|row| {
        Some(Row {
            membership_id: row.membership_id?,
            user: UserId::new(row.user_id?),
            role: Role::read(&row.tenant_role?)?,
            status: MemberStatus::read(&row.status?)?,
            joined_at: row.joined_at?,
            position: row.position?,
        })
    });
    Ok((as_of, rows.collect()))
}

/// The persons on a page, by their streams.
async fn people(auth: &Auth, rows: &[Row]) -> Result<BTreeMap<StreamName, User>, Problem> {
    let streams = rows.iter().map(|row| StreamName::user(row.user));
    let loaded = auth.log.load_all::<User>(streams).await.map_err(problem::of_load)?;
    Ok(loaded.into_iter().map(|user| (user.stream, user.state)).collect())
}

/// The memberships on a page, by their streams.
async fn memberships(auth: &Auth, rows: &[Row]) -> Result<BTreeMap<StreamName, Membership>, Problem> {
    let loaded = auth.log.load_all::<Membership>(rows.iter().map(Row::stream)).await.map_err(problem::of_load)?;
    Ok(loaded.into_iter().map(|membership| (membership.stream, membership.state)).collect())
}
