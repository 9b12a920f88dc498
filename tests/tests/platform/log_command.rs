//! `kisum log` as an operator runs it: what it finds, what it prints, and its exit codes.

use kisum::local::stack::binary_beside_this;
use kisum_log::Loaded;
use kisum_tests::{
    counted::{new_stream, widen},
    servers::{self, LogDatabase},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::collections::BTreeMap;
use tokio::process::Command;

/// Exit code and everything printed.
pub(crate) async fn kisum(arguments: &[&str]) -> (i32, String) {
    kisum_with(arguments, &BTreeMap::new()).await
}

/// The same with these variables, as after `source .kisum/env`.
pub(crate) async fn kisum_with(arguments: &[&str], variables: &BTreeMap<String, String>) -> (i32, String) {
    let binary = binary_beside_this().unwrap_or_else(|failure| panic!("{failure}"));
    let output =
        Command::new(binary).args(arguments).envs(variables).output().await.unwrap_or_else(|error| panic!("{error}"));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap_or(-1), text)
}

async fn log_of(events: usize) -> LogDatabase {
    let database = servers::fresh_log(servers::shared().await).await;
    let log = servers::open(&database).await;
    let stream = new_stream();
    for _ in 0..events {
        let loaded: Loaded<_> = log.load(&stream).await.unwrap_or_else(|error| panic!("{error}"));
        log.append(widen(&loaded, "x")).await.unwrap_or_else(|error| panic!("{error}"));
    }
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_to_any_column_of_an_event_is_found_with_its_position() {
    let database = log_of(12).await;
    let verify = ["log", "verify", "--url", &database.run_url];
    let (code, text) = kisum(&verify).await;
    assert_eq!((code, text.contains("12 events in 12 batches")), (0, true), "{text}");

    let mut conn = PgConnection::connect(&database.superuser_url).await.unwrap_or_else(|error| panic!("{error}"));
    let run = async |conn: &mut PgConnection, sql: &str| {
        let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    };
    run(&mut conn, "create table kept as select * from event where position = 7").await;
    for change in [
        "epoch = 2",
        "previous_access_position = 5",
        "previous_in_stream = 5",
        "id = gen_random_uuid()",
        "stream = 'counted-other'",
        "version = 8",
        "type = 'counted.widenee'",
        "schema = 2",
        "company_id = gen_random_uuid()",
        "effect = 'narrows'",
        "recorded_at = recorded_at + 1",
        "data = replace(data, 'x', 'y')",
        "sealed = '\\x00', person = gen_random_uuid()",
        "person = gen_random_uuid()",
        "meta = replace(meta, 'system', 'sYstem')",
        "hash = set_byte(hash, 31, get_byte(hash, 31) # 1)",
    ] {
        run(&mut conn, &format!("update event set {change} where position = 7")).await;
        let (code, text) = kisum(&verify).await;
        assert_eq!((code, text.contains("position 7:")), (1, true), "{change}: {text}");
        run(&mut conn, "delete from event where position = 7; insert into event select * from kept").await;
    }
    run(&mut conn, "delete from event where position = 7").await;
    let (code, text) = kisum(&verify).await;
    assert_eq!((code, text.contains("position 8: the event before it is missing")), (1, true), "{text}");
    run(&mut conn, "insert into event select * from kept").await;

    for (change, position) in [
        ("update log_batch set hash = set_byte(hash, 0, get_byte(hash, 0) # 1) where last_position = 5", "position 5:"),
        ("update log_batch set access_position = 1 where last_position = 9", "position 9:"),
        ("update stream set version = version - 1", "position 12:"),
        ("delete from log_batch where last_position = 12", "position 12:"),
    ] {
        run(&mut conn, "begin; create temporary table b as select * from log_batch; create temporary table s as select * from stream; commit").await;
        run(&mut conn, change).await;
        let (code, text) = kisum(&verify).await;
        assert_eq!((code, text.contains(position)), (1, true), "{change}: {text}");
        run(&mut conn, "delete from log_batch; insert into log_batch select * from b; delete from stream; insert into stream select * from s; drop table b; drop table s").await;
    }
    assert_eq!(kisum(&verify).await.0, 0, "everything was put back");
}

#[tokio::test(flavor = "multi_thread")]
async fn show_prints_what_is_asked_for_as_lines_or_as_json() {
    let database = log_of(5).await;
    let url = database.run_url.as_str();
    let (code, text) = kisum(&["log", "show", "2", "--limit", "2", "--url", url, "--json"]).await;
    let positions: Vec<_> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()?.get("position")?.as_u64())
        .collect();
    assert_eq!((code, positions), (0, vec![2, 3]), "{text}");
    let (code, text) = kisum(&["log", "show", "--type", "counted.noted", "--url", url]).await;
    assert_eq!((code, text.as_str()), (0, ""));
    let (code, text) = kisum(&["log", "show", "--stream", "counted", "--url", url]).await;
    assert_eq!((code, text.lines().count()), (0, 5), "{text}");
    let (code, text) = kisum(&["log", "head", "--url", url]).await;
    assert_eq!((code, text.trim()), (0, "auth log, epoch 1: position 5, last access event 5"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_a_clear_line_and_the_contract_s_exit_code() {
    let database = log_of(3).await;
    let url = database.run_url.as_str();
    let unreachable = "postgres://nobody@127.0.0.1:1/none";
    for (arguments, code, says) in [
        (vec!["log", "show", "4", "--url", url], 1, "position 4 is beyond the head of the auth log, 3"),
        (vec!["log", "tail", "--after", "9", "--url", url], 1, "position 9 is beyond the head of the log, 3"),
        (vec!["log", "show", "--company", "not-a-uuid", "--url", url], 2, "--company"),
        (vec!["log", "show", "--person", "user:7", "--url", url], 2, "--person"),
        (vec!["log", "show", "--actor", "somebody", "--url", url], 2, "it is user:{uuid}, service:{name} or system"),
        (vec!["log", "show", "--actor", "user:7", "--url", url], 2, "--actor"),
        (vec!["log", "show", "-5", "--url", url], 2, "-5"),
        (vec!["log", "show", "--limit", "0", "--url", url], 2, "--limit"),
        (vec!["log", "head", "--log", "other", "--url", url], 2, "auth, core"),
        (vec!["log", "head", "--url", unreachable], 3, "the database of the auth log cannot be reached"),
        (vec!["log", "head", "--url", "nonsense"], 2, "no URL"),
        (vec!["migrate", "auth", "--url", "nonsense"], 2, "no URL"),
        (vec!["migrate", "auth", "--url", unreachable], 3, "cannot connect"),
        (vec!["log", "nonsense"], 2, "nonsense"),
    ] {
        let (found, text) = kisum(&arguments).await;
        assert!(found == code && text.contains(says), "{arguments:?}: {found} {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}
