//! `GET|POST /api/bills`: what a company owes.

use super::permissions::{CreateBills, ReadBills};
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
        check_currency(&self.currency)?;
        text::checked("number", &self.number, NUMBER_CHARS_MAX)
    }
}

fn check_currency(text: &str) -> Result<(), Problem> {
    let is_code = text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase());
    let refused = || Problem::validation("The field currency is not a code of ISO 4217 such as EUR.");
    is_code.then_some(()).ok_or_else(refused)
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

/// Which bills.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub(super) struct BillsQuery {
    /// Items of the page, 1 to 200.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u16>,
    /// Where the page before ended, as that page's `nextCursor` says.
    cursor: Option<String>,
    /// Only those whose number holds this, in whatever case.
    #[param(min_length = 1, max_length = 64)]
    number: Option<String>,
    /// Only those in this currency, ISO 4217.
    #[param(pattern = "^[A-Z]{3}$")]
    currency: Option<String>,
    /// Only those that were entered at this instant or later.
    #[param(value_type = Option<String>, format = DateTime)]
    created_from: Option<Timestamp>,
    /// Only those that were entered before this instant.
    #[param(value_type = Option<String>, format = DateTime)]
    created_before: Option<Timestamp>,
}

/// What a list of bills leaves out.
#[derive(Debug, Serialize)]
pub(super) struct Filter {
    number: Option<String>,
    currency: Option<String>,
    created: text::Span,
}

impl BillsQuery {
    fn read(self) -> Result<(PageQuery, Filter), Problem> {
        let number = self.number.map(|number| text::checked("number", &number, NUMBER_CHARS_MAX)).transpose()?;
        self.currency.as_deref().map_or(Ok(()), check_currency)?;
        let created = text::span(self.created_from, self.created_before)?;
        let filter = Filter { number, currency: self.currency, created };
        Ok((PageQuery::new(self.limit, self.cursor), filter))
    }
}

/// Lists the company's bills, the newest first.
#[utoipa::path(get, path = "/api/bills", tag = "bills",
    params(BillsQuery, ("x-org" = String, Header, description = "The company, by id or short name.")),
    security(("bearer" = [])),
    responses((status = 200, description = "A page of bills.", body = SuccessBody<Page<BillView>>)))]
pub(super) async fn list_bills(
    permit: Permit<ReadBills>,
    State(backend): State<Backend>,
    ApiQuery(query): ApiQuery<BillsQuery>,
) -> Result<Success<Page<BillView>>, Problem> {
    let (page, filter) = query.read()?;
    records::list::<Row, _>(&backend, &permit, page, &filter).await.map(Success)
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
    records::create(&backend, &permit, &idempotency, row).await.map(Created)
}

impl Record for Row {
    type Filter = Filter;
    type View = BillView;

    const NAMES: Names = Names { list: "bills", create: "bills.create" };

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
            "select id, company_id, number, amount_cents, currency, created_by, created_at from finance_bill
             where company_id = $1 and ($2::uuid is null or id < $2)
                 and ($3::text is null or strpos(lower(number), lower($3)) > 0)
                 and ($4::text is null or currency = $4)
                 and ($5::bigint is null or created_at >= $5) and ($6::bigint is null or created_at < $6)
             order by id desc limit $7",
            company.uuid(),
            page.after,
            filter.number,
            filter.currency,
            filter.created.from.map(Timestamp::micros),
            filter.created.before.map(Timestamp::micros),
            page.fetch()
        )
        .fetch_all(conn)
        .await
    }

    async fn find(conn: &mut PgConnection, company: CompanyId, id: Uuid) -> Result<Option<Self>, sqlx::Error> {
        sqlx::query_as!(
            Self,
            "select id, company_id, number, amount_cents, currency, created_by, created_at from finance_bill
             where company_id = $1 and id = $2",
            company.uuid(),
            id
        )
        .fetch_optional(conn)
        .await
    }

    async fn insert(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into finance_bill (id, company_id, number, amount_cents, currency, created_by, created_at)
             values ($1, $2, $3, $4, $5, $6, $7)",
            self.id,
            self.company_id,
            self.number,
            self.amount_cents,
            self.currency,
            self.created_by,
            self.created_at
        )
        .execute(conn)
        .await
        .map(drop)
    }
}
