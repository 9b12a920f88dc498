//! `GET|POST /api/bills`: what a company owes.

use super::permissions::{CreateBills, ReadBills};
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

/// Characters of a bill's number; the table's check says the same.
const NUMBER_CHARS_MAX: usize = 64;
/// Cents of a bill: a million millions; the table's check says the same.
const AMOUNT_CENTS_MAX: i64 = 100_000_000_000_000;

/// A bill to be entered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BillBody {
    /// The number that the issuer gave it, one line of 1 to 64 characters.
    #[schema(min_length = 1, max_length = 64)]
    number: String,
    /// The amount in the currency's hundredths.
    #[schema(minimum = 0, maximum = 100_000_000_000_000_i64)]
    amount_cents: i64,
    /// The currency, ISO 4217.
    #[schema(pattern = "^[A-Z]{3}$", example = "EUR")]
    currency: String,
}

impl BillBody {
    fn check(&self) -> Result<String, Problem> {
        if !(0..=AMOUNT_CENTS_MAX).contains(&self.amount_cents) {
            let message = format!("The field amountCents is not a number from 0 to {AMOUNT_CENTS_MAX}.");
            return Err(Problem::validation(message));
        }
        if self.currency.len() != 3 || !self.currency.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(Problem::validation("The field currency is not a code of ISO 4217 such as EUR."));
        }
        text::checked("number", &self.number, NUMBER_CHARS_MAX)
    }
}

/// A bill.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BillView {
    /// Its id.
    id: Uuid,
    /// The company that owes it.
    company_id: Uuid,
    /// The number that the issuer gave it.
    number: String,
    /// The amount in the currency's hundredths.
    amount_cents: i64,
    /// The currency, ISO 4217.
    currency: String,
    /// Who entered it.
    created_by: Uuid,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

struct Row {
    id: Uuid,
    company_id: Uuid,
    number: String,
    amount_cents: i64,
    currency: String,
    created_by: Uuid,
    created_at: i64,
}

impl From<Row> for BillView {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            company_id: row.company_id,
            number: row.number,
            amount_cents: row.amount_cents,
            currency: row.currency,
            created_by: row.created_by,
            created_at: Timestamp::from_micros(row.created_at),
        }
    }
}

/// Lists the company's bills, the newest first.
#[utoipa::path(get, path = "/api/bills", tag = "bills",
    params(PageQuery, ("x-org" = String, Header, description = "The company, by id or short name.")),
    security(("bearer" = [])),
    responses((status = 200, description = "A page of bills.", body = SuccessBody<Page<BillView>>)))]
pub(super) async fn list_bills(
    permit: Permit<ReadBills>,
    State(backend): State<Backend>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Success<Page<BillView>>, Problem> {
    note(&permit);
    let page: PageRequest<Uuid> = query.request()?;
    let mut conn = backend.pool.acquire().await.map_err(problem::of_query)?;
    let rows = select(&mut conn, permit.company_id(), &page).await.map_err(problem::of_query)?;
    Ok(Success(Page::of(rows, page.limit, |row| row.id, BillView::from)))
}

/// Enters a bill.
#[utoipa::path(post, path = "/api/bills", tag = "bills",
    params(("x-org" = String, Header, description = "The company, by id or short name."),
        ("Idempotency-Key" = Option<String>, Header, format = Uuid, description = "Names the command.")),
    security(("bearer" = [])), request_body = BillBody,
    responses((status = 201, description = "The bill.", body = SuccessBody<BillView>)))]
pub(super) async fn create_bill(
    permit: Permit<CreateBills>,
    State(backend): State<Backend>,
    ApiCommand { body, idempotency }: ApiCommand<BillBody>,
) -> Result<Created<BillView>, Problem> {
    note(&permit);
    let row = Row {
        id: ambient::new_id(),
        company_id: permit.company_id().uuid(),
        number: body.check()?,
        amount_cents: body.amount_cents,
        currency: body.currency,
        created_by: permit.user_id().uuid(),
        created_at: backend.clock.now().micros(),
    };
    let mut conn = backend.pool.acquire().await.map_err(problem::of_query)?;
    if insert(&mut conn, &row, idempotency.key()).await.map_err(problem::of_query)? {
        return Ok(Created(row.into()));
    }
    let earlier = select_keyed(&mut conn, permit.company_id(), permit.user_id(), idempotency.key());
    let earlier = earlier.await.map_err(problem::of_query)?;
    let asks_the_same =
        |it: &Row| (&it.number, it.amount_cents, &it.currency) == (&row.number, row.amount_cents, &row.currency);
    let row = keyed::same_command(earlier, asks_the_same)?;
    Ok(Created(row.into()))
}

async fn select(
    conn: &mut PgConnection,
    company: CompanyId,
    page: &PageRequest<Uuid>,
) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "select id, company_id, number, amount_cents, currency, created_by, created_at from finance_bill
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
        "insert into finance_bill (id, company_id, number, amount_cents, currency, created_by, created_at,
                                   idempotency_key)
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict on constraint finance_bill_command do nothing",
        row.id,
        row.company_id,
        row.number,
        row.amount_cents,
        row.currency,
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
        "select id, company_id, number, amount_cents, currency, created_by, created_at from finance_bill
         where company_id = $1 and created_by = $2 and idempotency_key = $3",
        company.uuid(),
        user.uuid(),
        key
    )
    .fetch_optional(conn)
    .await
}
