//! `GET /auth/sessions`: where the caller is signed in, page by page.

use super::{
    Auth,
    companies::Carried,
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
use kisum_events::{AuthMethod, SessionId, Timestamp, UserId};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A page of where the caller is signed in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sessions {
    #[serde(flatten)]
    page: Page<SessionView>,
    /// What the list was made from.
    as_of: ListAsOf,
}

/// A live session.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SessionView {
    /// Its id.
    id: Uuid,
    /// Whether the request came by it.
    current: bool,
    /// How the person proved who they are (RFC 8176).
    #[schema(value_type = Vec<String>)]
    amr: Vec<AuthMethod>,
    /// When they did.
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// When the session was last refreshed; null while it never was.
    #[schema(value_type = Option<String>, format = DateTime)]
    refreshed_at: Option<Timestamp>,
    /// Without a refresh it ends here.
    #[schema(value_type = String, format = DateTime)]
    idle_until: Timestamp,
    /// It ends here whatever happens.
    #[schema(value_type = String, format = DateTime)]
    absolute_until: Timestamp,
}

/// Lists the caller's live sessions, the newest first.
#[utoipa::path(get, path = "/auth/sessions", tag = "sessions", security(("bearer" = [])),
    params(PageQuery, ("X-Access-Position" = Option<String>, Header, description = "What the list must contain.")),
    responses((status = 200, description = "A page of live sessions; there are at most 100.",
        body = SuccessBody<Sessions>)))]
pub(super) async fn list_own(
    State(auth): State<Auth>,
    person: Person,
    carried: Carried,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Success<Sessions>, Problem> {
    list(&auth, (person.user, Some(person.session)), carried, query).await
}

/// A page of a person's live sessions; `current` is the one by which they ask, where they ask themselves.
///
/// # Errors
/// 400 for a page that is none; 503 where the list is not there.
pub(super) async fn list(
    auth: &Auth,
    (user, current): (UserId, Option<SessionId>),
    carried: Carried,
    query: PageQuery,
) -> Result<Success<Sessions>, Problem> {
    let page: PageRequest<(i64, Uuid)> = query.request(ListOf::new("sessions", user, &()))?;
    lists::settle(auth, &auth.session_list, carried).await?;
    let (as_of, rows) = select(auth, user, &page).await?;
    let view = |row: Row| row.view(current.map(SessionId::uuid));
    Ok(Success(Sessions { page: Page::of(rows, &page, |row| (row.started_at, row.id), view), as_of }))
}

struct Row {
    id: Uuid,
    amr: String,
    started_at: i64,
    refreshed_at: Option<i64>,
    idle_until: i64,
    absolute_until: i64,
}

impl Row {
    fn view(self, current: Option<Uuid>) -> SessionView {
        SessionView {
            id: self.id,
            current: Some(self.id) == current,
            amr: serde_json::from_str(&self.amr).unwrap_or_default(),
            started_at: Timestamp::from_micros(self.started_at),
            refreshed_at: self.refreshed_at.map(Timestamp::from_micros),
            idle_until: Timestamp::from_micros(self.idle_until),
            absolute_until: Timestamp::from_micros(self.absolute_until),
        }
    }
}

/// One statement, one snapshot of the rows and of what they stand for.
async fn select(auth: &Auth, user: UserId, page: &PageRequest<(i64, Uuid)>) -> Result<(ListAsOf, Vec<Row>), Problem> {
    let (before, before_id) = page.after.unwrap_or((i64::MAX, Uuid::max()));
    let rows = sqlx::query!(
        r#"select log_epoch_check() as "current!", p.epoch as "epoch?", p.position as "position?",
                  s.session_id as "session_id?", s.amr as "amr?", s.started_at as "started_at?", s.refreshed_at,
                  s.idle_until as "idle_until?", s.absolute_until as "absolute_until?"
           from (values (1)) as one (row)
           left join projection_checkpoint p on p.name = 'session_list_v1'
           left join session_list_v1 s
               on s.user_id = $1 and s.ended_at is null and not s.is_over and least(s.idle_until, s.absolute_until) > $2
               and (s.started_at, s.session_id) < ($3, $4)
           order by s.started_at desc, s.session_id desc limit $5"#,
        user.uuid(),
        auth.clock.now().micros(),
        before,
        before_id,
        page.fetch()
    )
    .fetch_all(auth.log.pool())
    .await
    .map_err(|error| problem::of_load(error.into()))?;
    let first = rows.first().ok_or_else(Problem::internal)?;
    let as_of = ListAsOf::read(first.current, first.epoch, first.position)?;
    let rows = rows.into_iter().filter_map(|row| {
        Some(Row {
            id: row.session_id?,
            amr: row.amr?,
            started_at: row.started_at?,
            refreshed_at: row.refreshed_at,
            idle_until: row.idle_until?,
            absolute_until: row.absolute_until?,
        })
    });
    Ok((as_of, rows.collect()))
}
