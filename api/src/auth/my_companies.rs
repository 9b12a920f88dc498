//! `GET /auth/me/companies`: the companies that the caller belongs to, for choosing one.
//!
//! Which they are comes from the read model of members, what they are called and where they stand from their own
//! states. It refuses to say what the caller may do there: `/auth/me/access` does.

use super::{
    Auth,
    companies::{Carried, MemberStatus, Role, company_status},
    lists::{self, ListAsOf},
    person::Person,
};
use crate::shared::{
    extract::ApiQuery,
    paging::{ListOf, Page, PageQuery, PageRequest},
    problem::{self, Problem},
    respond::{Success, SuccessBody},
};
use axum::extract::State;
use kisum_domains::Company;
use kisum_events::{CompanyId, StreamName, Timestamp, UserId};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use uuid::Uuid;

/// A page of the caller's companies.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MyCompanies {
    #[serde(flatten)]
    page: Page<MyCompanyView>,
    /// What the list was made from.
    as_of: ListAsOf,
}

/// A company that the caller belongs to.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MyCompanyView {
    /// The company.
    company_id: Uuid,
    /// Its name in `x-org`.
    slug: String,
    /// Its display name.
    name: String,
    /// `pending`, `active`, `suspended` or `rejected`.
    status: &'static str,
    /// The caller's membership of it.
    membership_id: Uuid,
    /// With which standing.
    tenant_role: Role,
    /// Whether the caller may act for it.
    membership_status: MemberStatus,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    joined_at: Timestamp,
}

/// Lists the companies that the caller belongs to, in the order in which they joined.
#[utoipa::path(get, path = "/auth/me/companies", tag = "me", security(("bearer" = [])),
    params(PageQuery, ("X-Access-Position" = Option<String>, Header, description = "What the list must contain.")),
    responses((status = 200, description = "A page of companies.", body = SuccessBody<MyCompanies>)))]
pub(super) async fn my_companies(
    State(auth): State<Auth>,
    person: Person,
    carried: Carried,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Success<MyCompanies>, Problem> {
    let page: PageRequest<i64> = query.request(ListOf::new("my companies", person.user, &()))?;
    lists::settle(&auth, &auth.member_list, carried).await?;
    let (as_of, rows) = select(&auth, person.user, &page).await?;
    let streams = rows.iter().map(|row| StreamName::company(row.company));
    let loaded = auth.log.load_all::<Company>(streams).await.map_err(problem::of_load)?;
    let companies = loaded.into_iter().map(|company| (company.stream, company.state)).collect();
    let page = Page::of(rows, &page, |row| row.position, |row| row.view(&companies));
    Ok(Success(MyCompanies { page, as_of }))
}

struct Row {
    membership_id: Uuid,
    company: CompanyId,
    role: Role,
    status: MemberStatus,
    joined_at: i64,
    position: i64,
}

impl Row {
    fn view(self, companies: &BTreeMap<StreamName, Company>) -> MyCompanyView {
        let unknown = Company::default();
        let company = companies.get(&StreamName::company(self.company)).unwrap_or(&unknown);
        MyCompanyView {
            company_id: self.company.uuid(),
            slug: company.slug.as_ref().map(ToString::to_string).unwrap_or_default(),
            name: company.name.clone(),
            status: company_status(&company.status),
            membership_id: self.membership_id,
            tenant_role: self.role,
            membership_status: self.status,
            joined_at: Timestamp::from_micros(self.joined_at),
        }
    }
}

/// One statement, one snapshot of the rows and of what they stand for.
async fn select(auth: &Auth, user: UserId, page: &PageRequest<i64>) -> Result<(ListAsOf, Vec<Row>), Problem> {
    let rows = sqlx::query!(
        r#"select log_epoch_check() as "current!", p.epoch as "epoch?", p.position as "checkpoint?",
                  m.membership_id as "membership_id?", m.company_id as "company_id?", m.tenant_role as "tenant_role?",
                  m.status as "status?", m.joined_at as "joined_at?", m.position as "position?"
           from (values (1)) as one (row)
           left join projection_checkpoint p on p.name = 'member_list_v1'
           left join lateral (
               select * from member_list_v1
               where user_id = $1 and position > $2 and status <> 'revoked'
               order by position limit $3) m on true
           order by m.position"#,
        user.uuid(),
        page.after.unwrap_or(0),
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
            company: CompanyId::new(row.company_id?),
            role: Role::read(&row.tenant_role?)?,
            status: MemberStatus::read(&row.status?)?,
            joined_at: row.joined_at?,
            position: row.position?,
        })
    });
    Ok((as_of, rows.collect()))
}
