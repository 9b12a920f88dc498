//! `GET /companies/{company}/invitations`: whom a company has invited, page by page.
//!
//! Which they are comes from the read model, what they say from their own states: addresses are sealed, and forgotten when
//! an invitation is over.

use super::{InvitationStanding, InvitationView};
use crate::{
    auth::{
        Auth,
        companies::{Carried, public::Manager},
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
use kisum_domains::Invitation;
use kisum_events::{CompanyId, InvitationId, StreamName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// Which invitations.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::auth) struct InvitationsQuery {
    /// Items of the page, 1 to 200.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u16>,
    /// Where the page before ended, as that page's `nextCursor` says.
    cursor: Option<String>,
    /// Only those that stand so; without it those that wait. One whose time was over a moment ago may be among these still.
    #[param(inline)]
    status: Option<InvitationStanding>,
}

/// A page of a company's invitations.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::auth) struct Invitations {
    #[serde(flatten)]
    page: Page<InvitationView>,
    /// What the list was made from.
    as_of: ListAsOf,
}

/// Lists a company's invitations, in the order in which they were sent first.
#[utoipa::path(get, path = "/companies/{company}/invitations", tag = "invitations",
    params(("company" = Uuid, Path), InvitationsQuery,
        ("x-org" = String, Header, description = "The same company."),
        ("X-Access-Position" = Option<String>, Header, description = "What the list must contain.")),
    security(("bearer" = [])),
    responses((status = 200, description = "A page of invitations.", body = SuccessBody<Invitations>)))]
pub(in crate::auth) async fn list_invitations(
    State(auth): State<Auth>,
    Manager(actor): Manager,
    carried: Carried,
    ApiQuery(query): ApiQuery<InvitationsQuery>,
) -> Result<Success<Invitations>, Problem> {
    let status = query.status.unwrap_or(InvitationStanding::Pending);
    let list = ListOf::new("invitations", actor.company, &status);
    let page: PageRequest<i64> = PageQuery::new(query.limit, query.cursor).request(list)?;
    lists::settle(&auth, &auth.invitation_list, carried).await?;
    let (as_of, rows) = select(&auth, actor.company, status, &page).await?;
    let states = states(&auth, &rows).await?;
    let (unread, now) = (Invitation::default(), auth.clock.now());
    let page = Page::of(
        rows,
        &page,
        |row| row.position,
        |row| {
            let stream = StreamName::invitation(row.id);
            InvitationView::new(&stream, states.get(&stream).unwrap_or(&unread), now)
        },
    );
    Ok(Success(Invitations { page, as_of }))
}

struct Row {
    id: InvitationId,
    position: i64,
}

/// One statement, one snapshot of the rows and of what they stand for.
async fn select(
    auth: &Auth,
    company: CompanyId,
    status: InvitationStanding,
    page: &PageRequest<i64>,
) -> Result<(ListAsOf, Vec<Row>), Problem> {
    let rows = sqlx::query!(
        r#"select log_epoch_check() as "current!", p.epoch as "epoch?", p.position as "checkpoint?",
                  i.invitation_id as "invitation_id?", i.position as "position?"
           from (values (1)) as one (row)
           left join projection_checkpoint p on p.name = 'invitation_list_v1'
           left join lateral (
               select * from invitation_list_v1
               where company_id = $1 and status = $2 and position > $3 order by position limit $4) i on true
           order by i.position"#,
        company.uuid(),
        status.stored(),
        page.after.unwrap_or(0),
        page.fetch()
    )
    .fetch_all(auth.log.pool())
    .await
    .map_err(|error| problem::of_load(error.into()))?;
    let first = rows.first().ok_or_else(Problem::internal)?;
    let as_of = ListAsOf::read(first.current, first.epoch, first.checkpoint)?;
    let rows = rows.into_iter();
    let rows = rows.filter_map(|row| Some(Row { id: InvitationId::new(row.invitation_id?), position: row.position? }));
    Ok((as_of, rows.collect()))
}

/// The invitations on a page, by their streams.
async fn states(auth: &Auth, rows: &[Row]) -> Result<BTreeMap<StreamName, Invitation>, Problem> {
    let streams = rows.iter().map(|row| StreamName::invitation(row.id));
    let loaded = auth.log.load_all::<Invitation>(streams).await.map_err(problem::of_load)?;
    Ok(loaded.into_iter().map(|it| (it.stream, it.state)).collect())
}
