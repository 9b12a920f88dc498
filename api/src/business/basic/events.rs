//! `GET|POST /api/events`: what a company plans.

use super::permissions::{CreateEvents, ReadEvents};
use crate::{
    business::{
        Backend, note,
        records::{self, Names, Record},
        text,
    },
    shared::{
        ambient,
        extract::ApiQuery,
        idempotency::ApiCommand,
        paging::{Page, PageQuery, PageRequest},
        problem::Problem,
        respond::{Created, Success, SuccessBody},
    },
};
use axum::extract::State;
use kisum_events::{CompanyId, Timestamp};
use kisum_guard::Permit;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
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

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventsQuery {
    /// Items of the page, 1 to 200.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u16>,
    /// Where the page before ended, as that page's `nextCursor` says.
    cursor: Option<String>,
    /// Only those whose title holds this, in whatever case.
    #[param(min_length = 1, max_length = 200)]
    title: Option<String>,
    /// Only those that start at this instant or later.
    #[param(value_type = Option<String>, format = DateTime)]
    starts_from: Option<Timestamp>,
    /// Only those that start before this instant.
    #[param(value_type = Option<String>, format = DateTime)]
    starts_before: Option<Timestamp>,
}

/// What a list of events leaves out.
#[derive(Debug, Serialize)]
pub(super) struct Filter {
    title: Option<String>,
    starts: text::Span,
}

impl EventsQuery {
    fn read(self) -> Result<(PageQuery, Filter), Problem> {
        let title = self.title.map(|title| text::checked("title", &title, TITLE_CHARS_MAX)).transpose()?;
        let starts = text::span(self.starts_from, self.starts_before)?;
        Ok((PageQuery::new(self.limit, self.cursor), Filter { title, starts }))
    }
}

/// Lists the company's events, the newest first.
#[utoipa::path(get, path = "/api/events", tag = "events",
    params(EventsQuery, ("x-org" = String, Header, description = "The company, by id or short name.")),
    security(("bearer" = [])),
    responses((status = 200, description = "A page of events.", body = SuccessBody<Page<EventView>>)))]
pub(super) async fn list_events(
    permit: Permit<ReadEvents>,
    State(backend): State<Backend>,
    ApiQuery(query): ApiQuery<EventsQuery>,
) -> Result<Success<Page<EventView>>, Problem> {
    let (page, filter) = query.read()?;
    records::list::<Row, _>(&backend, &permit, page, &filter).await.map(Success)
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
    records::create(&backend, &permit, &idempotency, row).await.map(Created)
}

impl Record for Row {
    type Filter = Filter;
    type View = EventView;

    const NAMES: Names = Names { list: "events", create: "events.create" };

    fn id(&self) -> Uuid {
        self.id
    }

    async fn select(
        conn: &mut PgConnection,
        company: CompanyId,
        filter: &Filter,
        page: &PageRequest<Uuid>,
    ) -> Result<Vec<Self>, sqlx::Error> {
        sqlx::query_as!(
            Self,
            "select id, company_id, title, starts_at, created_by, created_at from basic_event
             where company_id = $1 and ($2::uuid is null or id < $2)
                 and ($3::text is null or strpos(lower(title), lower($3)) > 0)
                 and ($4::bigint is null or starts_at >= $4) and ($5::bigint is null or starts_at < $5)
             order by id desc limit $6",
            company.uuid(),
            page.after,
            filter.title,
            filter.starts.from.map(Timestamp::micros),
            filter.starts.before.map(Timestamp::micros),
            page.fetch()
        )
        .fetch_all(conn)
        .await
    }

    async fn find(conn: &mut PgConnection, company: CompanyId, id: Uuid) -> Result<Option<Self>, sqlx::Error> {
        sqlx::query_as!(
            Self,
            "select id, company_id, title, starts_at, created_by, created_at from basic_event
             where company_id = $1 and id = $2",
            company.uuid(),
            id
        )
        .fetch_optional(conn)
        .await
    }

    async fn insert(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into basic_event (id, company_id, title, starts_at, created_by, created_at)
             values ($1, $2, $3, $4, $5, $6)",
            self.id,
            self.company_id,
            self.title,
            self.starts_at,
            self.created_by,
            self.created_at
        )
        .execute(conn)
        .await
        .map(drop)
    }
}
