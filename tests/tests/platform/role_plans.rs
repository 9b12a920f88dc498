//! What named roles cost: a member's access and a page of a company's roles look at what they show, however many members
//! and roles the company has.

use kisum_tests::servers;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::{fs, path::Path};

const MEMBERS: u32 = 20_000;
/// Of each of two companies: this one, and one that is as large and beside it.
const ROLES: u32 = 2_000;
/// Pages of the database that are looked at beside those of a member's roles.
const BLOCKS_MAX: i64 = 60;
/// For each role: a way down an index, and its row.
const BLOCKS_PER_ROLE_MAX: i64 = 5;

/// The one query that contains this, as it was checked.
fn query(part: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.sqlx");
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())).flatten();
    let queries = files.filter_map(|file| {
        let described: Value = serde_json::from_str(&fs::read_to_string(file.path()).ok()?).ok()?;
        described["query"].as_str().filter(|query| query.contains(part)).map(str::to_owned)
    });
    let mut queries: Vec<_> = queries.collect();
    assert_eq!(queries.len(), 1, "{queries:?}");
    queries.remove(0)
}

async fn run(conn: &mut PgConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await.unwrap_or_else(|error| panic!("{error}"));
}

/// A company of so many members and roles; every member of an even number has three of the roles, all others none.
async fn fill(conn: &mut PgConnection, company: &str, members: u32, roles: u32) {
    let state = r#"'{"companyId":null,"modules":{},"permissions":{},"received":{},"role":"USER","roles":'"#;
    run(
        conn,
        format!(
            "create function pg_temp.id(text) returns text language sql as $$ select md5('{company}' || $1)::uuid::text $$;
             insert into stream (name, version, position, schema, state)
                 values ('company-{company}', 1, 1, 2, '{{}}') on conflict do nothing;
             insert into stream (name, version, position, schema, state)
             select 'role-' || pg_temp.id('r' || i), 1, i, 1,
                    '{{\"permissions\":{{' || repeat('\"finance.bills.read\":{{\"version\":1}},', 20) || '\"a\":0}}}}'
             from generate_series(1, {roles}) i;
             insert into claim (key, holder)
             select 'role:{company}:role ' || lpad(i::text, 6, '0'), 'role-' || pg_temp.id('r' || i)
             from generate_series(1, {roles}) i;
             insert into stream (name, version, position, schema, state)
             select 'membership-' || pg_temp.id('m' || i), 1, i, 2,
                    {state} || case when i % 2 = 1 then '{{}}' else
                        (select json_object_agg(pg_temp.id('r' || (i + k) % {roles} + 1), '{{\"version\":1}}'::json)::text
                         from generate_series(1, 3) k) end || ',\"status\":\"active\"}}'
             from generate_series(1, {members}) i;
             insert into claim (key, holder)
             select 'member:{company}:' || pg_temp.id('u' || i), 'membership-' || pg_temp.id('m' || i)
             from generate_series(1, {members}) i;
             insert into stream (name, version, position, schema, state)
             select 'user-' || pg_temp.id('u' || i), 1, i, 2, '{{}}' from generate_series(1, {members}) i;
             drop function pg_temp.id;"
        ),
    )
    .await;
}

async fn explain(conn: &mut PgConnection, execute: &str) -> Value {
    let sql = format!("explain (analyze, buffers, format json) execute {execute}");
    let plan = sqlx::query_scalar::<_, Value>(AssertSqlSafe(sql)).persistent(false).fetch_one(conn).await;
    plan.unwrap_or_else(|error| panic!("{execute}: {error}"))[0]["Plan"].take()
}

fn blocks(plan: &Value) -> i64 {
    let number = |name: &str| plan[name].as_f64().unwrap_or_default() as i64;
    number("Shared Hit Blocks") + number("Shared Read Blocks")
}

/// How often a function was asked for its rows.
fn calls(plan: &Value, function: &str) -> f64 {
    let here = if plan["Function Name"] == function { plan["Actual Loops"].as_f64() } else { None };
    let below = plan["Plans"].as_array().into_iter().flatten().map(|plan| calls(plan, function));
    here.unwrap_or_default() + below.sum::<f64>()
}

const LARGE: &str = "018f3a5c-0000-7000-8000-000000000001";
const BESIDE: &str = "018f3a5c-0000-7000-8000-000000000002";
const SMALL: &str = "018f3a5c-0000-7000-8000-000000000003";

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_roles_costs_a_look_at_each_and_who_has_none_costs_nothing_in_a_company_of_any_size() {
    let database = servers::fresh_log(servers::shared().await).await;
    let mut conn = PgConnection::connect(&database.superuser_url).await.unwrap_or_else(|error| panic!("{error}"));
    for (company, members, roles) in [(LARGE, MEMBERS, ROLES), (BESIDE, 10, ROLES), (SMALL, 10, 10)] {
        fill(&mut conn, company, members, roles).await;
    }
    run(&mut conn, "analyze stream; analyze claim;".to_owned()).await;
    let mut conn = PgConnection::connect(&database.run_url).await.unwrap_or_else(|error| panic!("{error}"));

    // As the connections that read by group plan.
    let settings = "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set enable_hashjoin = off;
                    set enable_mergejoin = off; set jit = off;";
    run(&mut conn, settings.to_owned()).await;
    run(&mut conn, format!("prepare access as {}", query("as listed (name)"))).await;
    let mut looked_at = Vec::new();
    for company in [LARGE, SMALL] {
        for (member, roles) in [(7, 0), (8, 3_u32)] {
            let id = format!("select md5('{company}' || 'u{member}')::uuid::text");
            let user: String = sqlx::query_scalar(AssertSqlSafe(id)).fetch_one(&mut conn).await.unwrap_or_default();
            let asked = format!(
                "access(array['user-{user}'], array['session-none'], array['company-{company}'], array[null]::text[], 1, 1,
                        2::smallint)"
            );
            // The first time, what the connection learns of the tables is looked at, too.
            let rows: Vec<Option<Vec<String>>> = found(&mut conn, &asked).await;
            assert_eq!(rows.len(), 1);
            assert_eq!(u32::try_from(rows[0].as_ref().map_or(0, Vec::len)).ok(), Some(roles), "{rows:?}");
            let plan = explain(&mut conn, &asked).await;
            assert_eq!(calls(&plan, "json_object_keys"), if roles == 0 { 0.0 } else { 1.0 }, "{plan:#}");
            let most = BLOCKS_MAX + i64::from(roles) * BLOCKS_PER_ROLE_MAX;
            assert!(blocks(&plan) <= most, "{company}, {roles} roles: {} blocks: {plan:#}", blocks(&plan));
            looked_at.push(blocks(&plan));
        }
    }
    // One level of an index more, here and there, and no more than that.
    let [none, some, none_small, some_small] = looked_at[..] else { panic!("{looked_at:?}") };
    assert!(none <= none_small * 2 && some <= some_small * 2, "{looked_at:?}");

    let mut conn = PgConnection::connect(&database.run_url).await.unwrap_or_else(|error| panic!("{error}"));
    run(
        &mut conn,
        format!("prepare list as {}", query("from claim where key > $1 and key < $2 order by key limit $3) r")),
    )
    .await;
    for mode in ["force_generic_plan", "force_custom_plan"] {
        run(&mut conn, format!("set plan_cache_mode = {mode}")).await;
        for (company, after, rows) in
            [(LARGE, "", 51), (LARGE, "role 001000", 51), (LARGE, "role 001999", 1), (SMALL, "", 10), (LARGE, "s", 1)]
        {
            let asked = format!("list('role:{company}:{after}', 'role:{company};', 51)");
            run(&mut conn, format!("execute {asked}")).await;
            let plan = explain(&mut conn, &asked).await;
            assert_eq!(plan["Actual Rows"].as_f64(), Some(f64::from(rows)), "{company} {after}: {plan:#}");
            let most = BLOCKS_MAX + i64::from(rows) * BLOCKS_PER_ROLE_MAX;
            assert!(blocks(&plan) <= most, "{company} {after}: {} blocks by {mode}: {plan:#}", blocks(&plan));
        }
    }
}

/// The names of the roles in each row of the answer.
async fn found(conn: &mut PgConnection, asked: &str) -> Vec<Option<Vec<String>>> {
    use sqlx::Row as _;
    let rows = sqlx::raw_sql(AssertSqlSafe(format!("execute {asked}"))).fetch_all(conn).await;
    let rows = rows.unwrap_or_else(|error| panic!("{error}"));
    rows.iter().map(|row| row.try_get_unchecked("related_names?").unwrap_or_else(|error| panic!("{error}"))).collect()
}
