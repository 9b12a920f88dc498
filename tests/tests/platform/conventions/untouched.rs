//! What was written, as far as nobody of these suites writes it on purpose: requests that are refused leave it as it is.

use super::Everywhere;
use kisum::local::databases::Database;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// Companies in which `commands` writes while other tests run.
const BUSY: &str = "'echo-venues', 'bright-books'";

/// Everything that can be counted, in words.
pub(super) async fn written(everywhere: &Everywhere) -> Vec<String> {
    let busy = one(
        everywhere,
        Database::Auth,
        format!(
            "select string_agg(quote_literal(company_id), ',') from event
             where type = 'company.registered' and data::jsonb ->> 'slug' in ({BUSY})"
        ),
    )
    .await;
    // People sign in and out all the time.
    let of_others = format!("(company_id is null or company_id not in ({busy}))");
    let events = format!("type not like 'session.%' and type not like 'signin.%' and {of_others}");
    let mut written = Vec::new();
    for (database, table, which) in [
        (Database::Auth, "event", events.as_str()),
        (Database::Core, "event", "true"),
        (Database::Basic, "basic_event", &of_others),
        (Database::Basic, "business_command", &of_others),
        (Database::Finance, "finance_bill", &of_others),
        (Database::Finance, "business_command", &of_others),
    ] {
        let count = one(everywhere, database, format!("select count(*)::text from {table} where {which}")).await;
        written.push(format!("{count} in {table} of {database}"));
    }
    written
}

async fn one(everywhere: &Everywhere, database: Database, sql: String) -> String {
    let url = everywhere.shared.stack.addresses_with(|at| at.database(database, database.runtime_role()));
    let mut conn = PgConnection::connect(&url.unwrap_or_else(|failure| panic!("{failure}")))
        .await
        .unwrap_or_else(|error| panic!("{database}: {error}"));
    let value = sqlx::query_scalar::<_, String>(AssertSqlSafe(sql)).fetch_one(&mut conn).await;
    value.unwrap_or_else(|error| panic!("{database}: {error}"))
}
