//! `GET|POST /api/events`: what a company plans.

use super::permissions::{CreateEvents, ReadEvents};
use crate::{
    business::{Backend, keyed, note, text},
    shared::{
        ambient,
        extract::ApiQuery,
        idempotency::ApiCommand,
        paging::{Page, PageQuery, PageRequest},
        problem::{self, Problem},
        respond::{Created, Success, SuccessBody},
    },
};
use axum::extract::State;
use kisum_events::{CompanyId, Timestamp, UserId};
use kisum_guard::Permit;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

/// Characters of a title; the table's check says the same.
const TITLE_CHARS_MAX: usize = 200;

/// An event to be planned.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct EventBody {
    /// What it is called, one line of 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    title: String,
    /// When it starts; absent while undecided.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    starts_at: Option<Timestamp>,
}

/// An event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventView {
    /// Its id.
    id: Uuid,
    /// The company that plans it.
    company_id: Uuid,
    /// What it is called.
    title: String,
    /// When it starts; null while undecided.
    #[schema(value_type = Option<String>, format = DateTime)]
    starts_at: Option<Timestamp>,
    /// Who planned it.
    created_by: Uuid,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

struct Row {
    id: Uuid,
    company_id: Uuid,
    title: String,
    starts_at: Option<i64>,
    created_by: Uuid,
    created_at: i64,
}

impl From<Row> for EventView {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            company_id: row.company_id,
            title: row.title,
            starts_at: row.starts_at.map(Timestamp::from_micros),
            created_by: row.created_by,
            created_at: Timestamp::from_micros(row.created_at),
        }
    }
}

/// Lists the company's events, the newest first.
#[utoipa::path(get, path = "/api/events", tag = "events",
    params(PageQuery, ("x-org" = String, Header, description = "The company, by id or short name.")),
    security(("bearer" = [])),
    responses((status = 200, description = "A page of events.", body = SuccessBody<Page<EventView>>)))]
pub(super) async fn list_events(
    permit: Permit<ReadEvents>,
    State(backend): State<Backend>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Success<Page<EventView>>, Problem> {
    note(&permit);
    let page: PageRequest<Uuid> = query.request()?;
    let mut conn = backend.pool.acquire().await.map_err(problem::of_query)?;
    let rows = select(&mut conn, permit.company_id(), &page).await.map_err(problem::of_query)?;
    Ok(Success(Page::of(rows, page.limit, |row| row.id, EventView::from)))
}

/// Plans an event.
#[utoipa::path(post, path = "/api/events", tag = "events",
    params(("x-org" = String, Header, description = "The company, by id or short name."),
        ("Idempotency-Key" = Option<String>, Header, format = Uuid, description = "Names the command.")),
    security(("bearer" = [])), request_body = EventBody,
    responses((status = 201, description = "The event.", body = SuccessBody<EventView>)))]
pub(super) async fn create_event(
    permit: Permit<CreateEvents>,
    State(backend): State<Backend>,
    ApiCommand { body, idempotency }: ApiCommand<EventBody>,
) -> Result<Created<EventView>, Problem> {
    note(&permit);
    let row = Row {
        id: ambient::new_id(),
        company_id: permit.company_id().uuid(),
        title: text::checked("title", &body.title, TITLE_CHARS_MAX)?,
        starts_at: body.starts_at.map(Timestamp::micros),
        created_by: permit.user_id().uuid(),
        created_at: backend.clock.now().micros(),
    };
    let mut conn = backend.pool.acquire().await.map_err(problem::of_query)?;
    if insert(&mut conn, &row, idempotency.key()).await.map_err(problem::of_query)? {
        return Ok(Created(row.into()));
    }
    let earlier = select_keyed(&mut conn, permit.company_id(), permit.user_id(), idempotency.key());
    let earlier = earlier.await.map_err(problem::of_query)?;
    let row = keyed::same_command(earlier, |it| it.title == row.title && it.starts_at == row.starts_at)?;
    Ok(Created(row.into()))
}

async fn select(
    conn: &mut PgConnection,
    company: CompanyId,
    page: &PageRequest<Uuid>,
) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "select id, company_id, title, starts_at, created_by, created_at from basic_event
         where company_id = $1 and ($2::uuid is null or id < $2) order by id desc limit $3",
        company.uuid(),
        page.after,
        page.fetch()
    )
    .fetch_all(conn)
    .await
}

/// Whether the row was inserted; not when the same person used the key before in the same company.
async fn insert(conn: &mut PgConnection, row: &Row, key: Option<Uuid>) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into basic_event (id, company_id, title, starts_at, created_by, created_at, idempotency_key)
         values ($1, $2, $3, $4, $5, $6, $7) on conflict on constraint basic_event_command do nothing",
        row.id,
        row.company_id,
        row.title,
        row.starts_at,
        row.created_by,
        row.created_at,
        key
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn select_keyed(
    conn: &mut PgConnection,
    company: CompanyId,
    user: UserId,
    key: Option<Uuid>,
) -> Result<Option<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "select id, company_id, title, starts_at, created_by, created_at from basic_event
         where company_id = $1 and created_by = $2 and idempotency_key = $3",
        company.uuid(),
        user.uuid(),
        key
    )
    .fetch_optional(conn)
    .await
}
