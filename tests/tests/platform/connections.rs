//! Connections to PostgreSQL: a service refuses to start when it cannot have its own, a stack when not all fit, what a
//! service says that it makes is what it makes, and a pool that is used up answers.

use kisum::{
    local::{Part, Stack, connections, databases::Database, stack::binary_beside_this},
    platform::{Ask, Callee},
};
use kisum_tests::{demo::Visitor, servers};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::{collections::BTreeMap, time::Duration};
use tokio::process::Command;

const PATIENCE: Duration = Duration::from_secs(30);
const COMPANY: &str = "00000000-0000-7000-8000-000000000001";

async fn superuser(stack: &Stack, database: Database) -> PgConnection {
    let url =
        stack.addresses_with(|at| at.database(database, "postgres")).unwrap_or_else(|failure| panic!("{failure}"));
    PgConnection::connect(&url).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn run(conn: &mut PgConnection, sql: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Asks until the answer is as wanted; the last one when it never is.
async fn until(conn: &mut PgConnection, sql: &str, holds: impl Fn(i64) -> bool) -> i64 {
    let mut found = -1;
    let _ = tokio::time::timeout(PATIENCE, async {
        while !holds(found) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let asked = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut *conn).await;
            found = asked.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
    })
    .await;
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_cannot_have_its_connections_says_so_and_exits_with_78() {
    let stack = servers::start(&[]).await;
    let mut conn = superuser(&stack, Database::Auth).await;
    run(&mut conn, "alter role kisum_auth connection limit 12").await;
    let serve = async |part: Part, pool: &str| {
        let mut environment = stack.environment(part).unwrap_or_else(|failure| panic!("{failure}"));
        environment.insert("DB_POOL_MAX".to_owned(), pool.to_owned());
        let binary = binary_beside_this().unwrap_or_else(|failure| panic!("{failure}"));
        let mut command = Command::new(binary);
        command.args(part.serve_arguments()).env_clear().envs(environment).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = output.unwrap_or_else(|_| panic!("{part} runs")).unwrap_or_else(|error| panic!("{error}"));
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = serve(Part::Auth, "32").await;
    assert_eq!(code, Some(78), "{said}");
    let wanted = format!(
        "AUTH_DB_URL: this process makes up to {} connections (DB_POOL_MAX 32, ",
        connections::of(Part::Auth, 32).total()
    );
    assert!(said.contains(&wanted) && said.contains("limit of the role 12"), "{said}");
    let (code, said) = serve(Part::Basic, "500").await;
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("lower DB_POOL_MAX to 197") && said.contains("max_connections 200, reserved 3"), "{said}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_whose_services_do_not_fit_together_does_not_start_them() {
    let mut options = servers::options();
    for part in [Part::Basic, Part::Finance] {
        options.overrides.insert(part, BTreeMap::from([("DB_POOL_MAX".to_owned(), "120".to_owned())]));
    }
    let failure = match Stack::start(options.with_services(&[Part::Basic, Part::Finance])).await {
        Ok(_) => panic!("240 connections fit into 200"),
        Err(failure) => failure.to_string(),
    };
    assert!(
        failure.starts_with("all services together make up to 240 connections (basic 120, finance 120)"),
        "{failure}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_makes_the_connections_that_it_says_beside_its_pool() {
    let stack = servers::start(&[Part::RelayAuth, Part::RelayCore, Part::Core, Part::Auth]).await;
    for (part, database, role) in
        [(Part::Auth, Database::Auth, "kisum_auth"), (Part::Core, Database::Core, "kisum_core")]
    {
        let mut conn = superuser(&stack, database).await;
        let need = connections::of(part, 0);
        // Mail follows the log by one connection, and sends by the others.
        let said = i64::from(need.projections + need.mail.min(1));
        let projections = format!(
            "select count(*) from pg_stat_activity where usename = '{role}' and application_name ~ '^kisum-(projection|follow)-'"
        );
        // More than it says is what would not fit one day; fewer is a count that nobody has corrected.
        let found = until(&mut conn, &projections, |count| count >= said).await;
        assert_eq!(found, said, "projections of {part}: correct CONNECTIONS in kisum-projectors");
        let others = format!(
            "select count(*) from pg_stat_activity where usename = '{role}' and application_name ~ '^kisum-' \
             and application_name !~ '^kisum-(projection-|follow-|append-|read-|mail)'"
        );
        assert_eq!(
            until(&mut conn, &others, |count| count >= 0).await,
            0,
            "{part} makes connections that nobody counts"
        );
        let mail = format!(
            "select count(*) from pg_stat_activity where usename = '{role}' and application_name = 'kisum-mail'"
        );
        let wanted = i64::from(need.mail.saturating_sub(1));
        assert_eq!(until(&mut conn, &mail, |count| count >= wanted).await, wanted, "senders of {part}");
        for (kind, most) in [("append", need.appends), ("read", need.reads)] {
            let made = format!(
                "select count(*) from pg_stat_activity where usename = '{role}' and application_name ~ '^kisum-{kind}-'"
            );
            let found = until(&mut conn, &made, |count| count >= 0).await;
            assert!(found <= i64::from(most), "{part} has {found} connections to {kind}");
        }
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_used_up_answers_503_while_others_hold_its_connections() {
    let mut options = servers::options();
    options.overrides.insert(Part::Core, BTreeMap::from([("DB_POOL_MAX".to_owned(), "1".to_owned())]));
    let stack = Stack::start(options.with_services(&[])).await.unwrap_or_else(|failure| panic!("{failure}"));
    let mut stack = stack;
    let mut conn = superuser(&stack, Database::Core).await;
    // Otherwise the database itself would let go of the one connection before anybody waits for it in vain.
    run(&mut conn, "alter role kisum_core set lock_timeout = 0; alter role kisum_core set statement_timeout = 0").await;
    stack.start_part(Part::Core).await.unwrap_or_else(|failure| panic!("{failure}"));
    let visitor = Visitor::of(&stack);
    let path = format!("/internal/v1/companies/{COMPANY}/entitlements");
    let asked = || visitor.platform.internal(Callee::Core, Ask::get(&path));
    let before = asked().await.unwrap_or_else(|error| panic!("{error:#}"));

    run(&mut conn, "begin; lock table stream in access exclusive mode").await;
    let holding = asked();
    tokio::pin!(holding);
    let mut watching = superuser(&stack, Database::Core).await;
    let waiting = "select count(*) from pg_locks where not granted and relation = 'stream'::regclass";
    let held = tokio::select! {
        held = until(&mut watching, waiting, |count| count > 0) => held,
        answer = &mut holding => panic!("it did not wait: {answer:?}"),
    };
    assert_eq!(held, 1);
    let token = visitor.platform.service_token(Callee::Core, "GET", &path);
    let url = format!("{}{path}", visitor.platform.addresses().core_internal);
    let request = reqwest::Client::new().get(url).bearer_auth(token).send();
    let answer = tokio::select! {
        answer = request => answer.unwrap_or_else(|error| panic!("{error}")),
        // The service gives a request 10 s. Whoever waits for a connection hears of it long before.
        answer = &mut holding => panic!("the connection was let go of first: {answer:?}"),
    };
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers().get("retry-after").and_then(|value| value.to_str().ok()), Some("1"));

    run(&mut conn, "rollback").await;
    let answer = holding.await.unwrap_or_else(|error| panic!("{error:#}"));
    let after = asked().await.unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!((before.status, answer.status, after.status), (200, 200, 200), "{answer} {after}");
    stack.stop().await;
}
