//! A company's named roles, page by page, in the order of their names.
//!
//! They are found by the claims on their names, and shown as their states say: there is no read model that could lag. It
//! refuses to know who has which.

use super::roles::RoleView;
use crate::{
    auth::{Auth, lists::ListAsOf},
    shared::{
        paging::{ListOf, Page, PageQuery, PageRequest},
        problem::{self, Problem},
    },
};
use kisum_domains::Role;
use kisum_events::{Aggregate, CompanyId, RoleId, StreamName};
use kisum_log::{ClaimKey, LoadError};
use serde::Serialize;
use utoipa::ToSchema;

/// A page of a company's named roles.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::auth) struct Roles {
    #[serde(flatten)]
    page: Page<RoleView>,
    /// What the list was made from.
    as_of: ListAsOf,
}

/// The page of them that is asked for.
///
/// # Errors
/// 400 for one that there is not.
pub(in crate::auth) fn roles_page(company: CompanyId, query: PageQuery) -> Result<PageRequest<String>, Problem> {
    query.request(ListOf::new("roles", company, &()))
}

/// Lists them.
///
/// # Errors
/// 503 when they cannot be read.
pub(in crate::auth) async fn list_roles(
    auth: &Auth,
    company: CompanyId,
    page: &PageRequest<String>,
) -> Result<Roles, Problem> {
    let (as_of, rows) = select(auth, company, page).await?;
    let page = Page::of(rows, page, |row| row.name.clone(), |row| RoleView::new(row.id, &row.state));
    Ok(Roles { page, as_of })
}

struct Row {
    /// As it is claimed.
    name: String,
    id: RoleId,
    state: Role,
}

/// One statement, one snapshot of names, states and head, which is looked for once and not for every row. Names are a
/// span of the claims' key.
async fn select(auth: &Auth, company: CompanyId, page: &PageRequest<String>) -> Result<(ListAsOf, Vec<Row>), Problem> {
    let (least, end) = ClaimKey::roles_of(company);
    let after = page.after.as_ref().map_or_else(|| least.clone(), |name| format!("{least}{name}"));
    let found = sqlx::query!(
        r#"with place as materialized (
               select log_epoch_check() as epoch,
                      coalesce((select last_position from log_batch order by last_position desc limit 1), 0) as head)
           select p.epoch as "epoch!", p.head as "head!",
                  r.key as "key?", s.name as "stream?", s.schema as "schema?", s.state as "state?"
           from place p
           left join lateral (
               select key, holder from claim where key > $1 and key < $2 order by key limit $3) r on true
           left join lateral (select name, schema, state from stream where name = r.holder offset 0) s on true
           order by r.key"#,
        after,
        end,
        page.fetch()
    )
    .fetch_all(auth.log.pool())
    .await
    .map_err(|error| problem::of_load(error.into()))?;
    let first = found.first().ok_or_else(Problem::internal)?;
    let as_of = ListAsOf::read(first.epoch, Some(first.epoch), Some(first.head))?;
    let mut rows = Vec::with_capacity(found.len());
    for row in found {
        let (Some(key), Some(stream)) = (row.key, row.stream) else { continue };
        let stream = StreamName::from_stored(stream);
        let Ok(id) = stream.id().parse() else { continue };
        let state = state(auth, &stream, (row.schema, row.state)).await?;
        rows.push(Row { name: key.strip_prefix(&least).unwrap_or(&key).to_owned(), id, state });
    }
    Ok((as_of, rows))
}

/// A state of another schema is folded anew.
async fn state(auth: &Auth, stream: &StreamName, row: (Option<i16>, Option<String>)) -> Result<Role, Problem> {
    match row {
        (Some(schema), Some(text)) if u16::try_from(schema) == Ok(Role::STATE_SCHEMA) => serde_json::from_str(&text)
            .map_err(|error| {
                let (what, why) = (format!("the state of {stream}"), error.to_string());
                problem::of_load(LoadError::Stored { what, why })
            }),
        _ => auth.log.load(stream).await.map(|loaded| loaded.state).map_err(problem::of_load),
    }
}
