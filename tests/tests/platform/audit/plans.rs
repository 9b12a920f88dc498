//! An audit is asked for by key whatever it is filtered by: a page of a company with very many events looks at few.

use super::connect;
use kisum_tests::servers;
use serde_json::Value;
use sqlx::AssertSqlSafe;
use std::{fs, path::Path};

/// Events of the company. One person did all but a few of them, as one administrator does in a company.
const EVENTS: u32 = 120_000;
/// Pages of the database that may be looked at for one of the list: a few steps down an index, and its rows.
const BLOCKS_MAX: i64 = 600;

/// The one query that reads the audit, as it was checked.
fn query() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.sqlx");
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())).flatten();
    let queries = files.filter_map(|file| {
        let described: Value = serde_json::from_str(&fs::read_to_string(file.path()).ok()?).ok()?;
        described["query"].as_str().filter(|query| query.contains("from audit_v1")).map(str::to_owned)
    });
    let mut queries: Vec<_> = queries.filter(|query| query.starts_with("select")).collect();
    assert_eq!(queries.len(), 1, "{queries:?}");
    queries.remove(0)
}

/// Rows and blocks of the topmost node.
fn looked_at(plan: &Value) -> (i64, i64) {
    let top = &plan[0]["Plan"];
    let number = |name: &str| top[name].as_f64().unwrap_or_default() as i64;
    (number("Actual Rows"), number("Shared Hit Blocks") + number("Shared Read Blocks"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_large_audit_looks_at_little_whatever_it_is_filtered_by() {
    let database = servers::fresh_log(servers::shared().await).await;
    let mut conn = connect(&database.superuser_url).await;
    let company = "018f3a5c-0000-7000-8000-000000000001";
    let fill = format!(
        "insert into projection_checkpoint (name, epoch, position, updated_at) values ('audit_v1', 1, {EVENTS}, 0);
         insert into audit_v1 (company_id, recorded_at, position, type, actor, target)
         select '{company}', i, i,
                case when i = 9 then 'company.suspended' when i % 3 = 0 then 'membership.module_revoked'
                     else 'membership.module_granted' end,
                case when i = 11 then 'service:admin' else 'user:one' end, 'membership-' || i % 1000
         from generate_series(1, {EVENTS}) i;
         analyze audit_v1;"
    );
    sqlx::raw_sql(AssertSqlSafe(fill)).execute(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    // As who asks, whose settings count.
    let mut conn = connect(&database.run_url).await;
    let prepare = format!("prepare q as {}", query());
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
    let (all, none) = ((i64::MAX, i64::MIN), "null");
    for mode in ["force_generic_plan", "force_custom_plan"] {
        for (what, (before, from), [event_type, actor, target], found) in [
            ("everything", all, [none, none, none], 51),
            ("a page far behind", (60_000, i64::MIN), [none, none, none], 51),
            ("a span of time", (520, 500), [none, none, none], 20),
            ("a frequent type", all, ["'membership.module_revoked'", none, none], 51),
            ("a rare type", all, ["'company.suspended'", none, none], 1),
            ("a rare actor", all, [none, "'service:admin'", none], 1),
            ("what a busy actor rarely does", all, ["'company.suspended'", "'user:one'", none], 1),
            ("what nobody did", all, ["'company.approved'", "'user:one'", none], 1),
            ("a target", all, [none, none, "'membership-7'"], 51),
            ("a target and a type in a span", (5_000, 1), ["'membership.module_revoked'", none, "'membership-6'"], 2),
        ] {
            let sql = format!(
                "set plan_cache_mode = {mode};
                 explain (analyze, buffers, format json)
                 execute q('{company}', {before}, {before}, {from}, {event_type}, {actor}, {target}, 51)"
            );
            let (set, explain) = sql.split_once(';').unwrap_or_default();
            sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut conn).await.unwrap_or_else(|error| panic!("{error}"));
            let plan = sqlx::query_scalar::<_, Value>(AssertSqlSafe(explain)).persistent(false);
            let plan = plan.fetch_one(&mut conn).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            let (rows, blocks) = looked_at(&plan);
            assert_eq!(rows, found, "{what} by {mode}");
            assert!(blocks <= BLOCKS_MAX, "{what} by {mode} looks at {blocks} blocks: {plan:#}");
        }
    }
}
