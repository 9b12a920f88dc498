//! `kisum projections` as an operator runs it: what it finds, what it repairs, what it prints, and its exit codes.

use kisum::local::{Stack, stack::binary_beside_this};
use kisum_events::{Effect, Log, StreamName};
use kisum_projectors::{Catalog, EndedSessions, commit, registry};
use kisum_tests::{demo::Demo, kept::Kept, owner::envelope, servers, streams};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::{collections::BTreeMap, sync::Arc};
use tokio::{
    process::Command,
    sync::{Mutex, MutexGuard},
};
use uuid::Uuid;

static DEMO: Kept<Demo> = Kept::new();
/// Two comparisons of one projection end each other, so the tests of this file take turns.
static TURN: Mutex<()> = Mutex::const_new(());

/// A platform at work, which each test leaves as it found it.
async fn demo() -> (MutexGuard<'static, ()>, Arc<Demo>) {
    (TURN.lock().await, DEMO.get(Demo::start).await)
}

/// Exit code, results and everything else that is printed, in an environment of nothing but these variables.
async fn projections(arguments: &str, variables: &BTreeMap<String, String>) -> (i32, String, String) {
    let binary = binary_beside_this().unwrap_or_else(|failure| panic!("{failure}"));
    let words = ["projections"].into_iter().chain(arguments.split(' '));
    let output = Command::new(binary).args(words).env_clear().envs(variables).output().await;
    let output = output.unwrap_or_else(|error| panic!("{error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// One JSON object a line.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

fn databases(stack: &Stack) -> BTreeMap<String, String> {
    let url = |log| streams::database(stack, log).run_url;
    [("AUTH_DB_URL", url(Log::Auth)), ("CORE_DB_URL", url(Log::Core))].map(|(k, v)| (k.to_owned(), v)).into()
}

async fn run(conn: &mut PgConnection, sql: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await;
    let done = done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert_eq!(done.rows_affected(), 1, "{sql}");
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_platform_at_work_every_projection_is_live_and_what_its_log_says() {
    let (_turn, demo) = demo().await;
    let variables = demo.stack.variables().unwrap_or_else(|failure| panic!("{failure}"));
    let (code, said, error) = projections("list --json", &variables).await;
    assert_eq!(code, 0, "{said}{error}");
    let listed = lines(&said);
    let key = |one: &Value| ["projection", "log", "database"].map(|name| one[name].as_str().unwrap_or("").to_owned());
    let registered = registry::ALL.map(|one| [one.name, one.log.name(), one.database.name()].map(str::to_owned));
    assert_eq!(listed.iter().map(key).collect::<Vec<_>>(), registered);
    for one in &listed {
        assert_eq!((&one["state"], &one["epoch"], &one["poison"]), (&json!("live"), &json!(1), &Value::Null), "{one}");
        assert!(one["position"].as_u64() > Some(20) && one["lagEvents"].is_u64(), "{one}");
    }
    let (code, said, error) = projections("diff --all --json", &variables).await;
    assert_eq!(code, 0, "{said}{error}");
    assert_eq!(lines(&said).iter().map(key).collect::<Vec<_>>(), registered);
    assert!(lines(&said).iter().all(|one| one["ok"] == json!(true)), "{said}");
    // Every checkpoint that anybody ever moved belongs to a projection that is listed.
    for log in [Log::Auth, Log::Core] {
        let mut conn = connect(&streams::database(&demo.stack, log).run_url).await;
        let stored: Vec<String> = sqlx::query_scalar("select name from projection_checkpoint order by name")
            .fetch_all(&mut conn)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        let mut known: Vec<_> = registry::ALL.iter().filter(|one| one.database == log).map(|one| one.name).collect();
        known.sort_unstable();
        assert_eq!(stored, known, "the {log} database");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn differing_rows_are_named_repaired_and_then_no_more() {
    let (_turn, demo) = demo().await;
    let variables = databases(&demo.stack);
    let mut conn = connect(&variables["AUTH_DB_URL"]).await;
    let nobody = Uuid::from_u128(999);
    run(&mut conn, &format!("insert into company_entitlement_v1 values ('{nobody}', '[]', 1, 1)")).await;
    run(
        &mut conn,
        "update member_list_v1 set status = 'revoked' where membership_id = (select membership_id from member_list_v1 limit 1)",
    )
    .await;
    run(&mut conn, "delete from catalog_permission_v1 where key = 'finance.bills.read'").await;

    let (code, said, error) = projections("diff entitlements_v1", &variables).await;
    assert_eq!(code, 1, "{said}{error}");
    assert!(said.contains("company_entitlement_v1: 1 rows differ: 0 missing, 0 wrong, 1 surplus"), "{said}");
    assert!(said.contains(&format!(r#"surplus {{"company_id": "{nobody}"}}"#)), "{said}");
    let (code, said, _) = projections("diff member_list_v1 --json", &variables).await;
    let found = lines(&said);
    assert_eq!((code, &found[0]["tables"][0]["wrong"]), (1, &json!(1)), "{said}");
    assert_eq!(found[0]["tables"][0]["first"][0]["row"], json!("wrong"), "{said}");

    let (code, said, error) = projections("rebuild --all", &variables).await;
    assert_eq!(code, 0, "{said}{error}");
    for repaired in [
        "company_entitlement_v1: 1 rows repaired: 0 inserted, 0 changed, 1 deleted",
        "member_list_v1: 1 rows repaired: 0 inserted, 1 changed, 0 deleted",
        "catalog_permission_v1: 1 rows repaired: 1 inserted, 0 changed, 0 deleted",
        r#"inserted {"key": "finance.bills.read"}"#,
        "session_list_v1: is what the log says",
    ] {
        assert!(said.contains(repaired), "{repaired}: {said}");
    }
    let (code, said, _) = projections("diff --all --json", &variables).await;
    assert_eq!(code, 0, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_auth_s_own_environment_holds_is_enough_for_what_lives_in_its_database() {
    let (_turn, demo) = demo().await;
    let mut variables = demo.stack.environment(kisum::local::Part::Auth).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(!variables.contains_key("CORE_DB_URL"), "this proves nothing");
    let (code, said, error) = projections("diff --all --database auth --json", &variables).await;
    assert_eq!(code, 0, "{said}{error}");
    let here = registry::ALL.iter().filter(|one| one.database == Log::Auth).count();
    assert_eq!(lines(&said).len(), here);
    let (code, said, error) = projections("list --database auth --log core", &variables).await;
    assert_eq!((code, said.matches("live").count()), (0, 2), "{said}{error}");
    let (code, _, error) = projections("list", &variables).await;
    assert_eq!((code, error.contains("CORE_DB_URL is not set")), (2, true), "{error}");
    // A service that the relay does not know reads nothing.
    variables.insert("SERVICE_NAME".to_owned(), "finance".to_owned());
    let (code, said, error) = projections("list catalog_v1", &variables).await;
    assert_eq!(code, 3, "{said}{error}");
}

/// What a projection that an event has stopped is, and one that has not begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_projection_is_shown_with_its_event_and_one_that_never_ran_is_no_failure() {
    let stack = servers::start(&[]).await;
    let variables = databases(&stack);
    let (code, said, error) = projections("list", &variables).await;
    assert_eq!((code, said.matches("not begun").count()), (0, registry::ALL.len()), "{said}{error}");
    let (code, said, _) = projections("diff ended_sessions_v1", &variables).await;
    assert_eq!((code, said.contains("has not begun yet")), (1, true), "{said}");

    let mut conn = connect(&variables["AUTH_DB_URL"]).await;
    let events = |kind: &str| {
        let stream = StreamName::from_stored("session-x".to_owned());
        vec![envelope(Log::Auth, (1, 0), &stream, (kind, Effect::None, json!({})))]
    };
    let committed = commit::<EndedSessions>(&mut conn, 1, &events("session.invented_later")).await;
    let poison = committed.unwrap_or_else(|error| panic!("{error}")).poison;
    let poison = poison.unwrap_or_else(|| panic!("nothing stopped it"));
    let sql = "update projection_checkpoint set epoch = 1, poison_position = 1, poison_error = $1 where name = $2";
    let stored = sqlx::query(sql).bind(&poison.error).bind("ended_sessions_v1").execute(&mut conn).await;
    assert_eq!(stored.map(|done| done.rows_affected()).ok(), Some(1));
    let (code, said, _) = projections("list ended_sessions_v1", &variables).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("poisoned") && said.contains("event 1 cannot be applied"), "{said}");
    assert!(said.contains("session.invented_later"), "{said}");
    let (code, said, _) = projections("list ended_sessions_v1 --json", &variables).await;
    assert_eq!((code, &lines(&said)[0]["poison"]["position"]), (1, &json!(1)), "{said}");
    let (code, said, _) = projections("list catalog_v1", &variables).await;
    assert_eq!(code, 0, "another is not: {said}");
    drop(commit::<Catalog>(&mut conn, 1, &[]).await);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_wrongly_is_2_and_what_cannot_be_reached_is_3() {
    let nowhere = "postgres://kisum_auth:x@127.0.0.1:1/auth_db".to_owned();
    let dead = BTreeMap::from([("AUTH_DB_URL".to_owned(), nowhere)]);
    let none = BTreeMap::new();
    for (arguments, variables, expected, word) in [
        ("list", &none, 2, "AUTH_DB_URL is not set"),
        ("list members", &none, 2, "there is no projection members"),
        ("rebuild", &none, 2, "--all"),
        ("rebuild member_list_v1 --all", &none, 2, "--all"),
        ("diff catalog_v1", &dead, 3, "cannot be reached"),
        ("list --log auth --database auth", &dead, 3, "cannot be reached"),
    ] {
        let (code, said, error) = projections(arguments, variables).await;
        assert_eq!((code, error.contains(word)), (expected, true), "{arguments}: {said}{error}");
    }
}
