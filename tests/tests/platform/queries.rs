//! Every checked query is prepared, with the rights of the role that runs it, on the database that it really runs on.

use kisum::local::databases::Database;
use kisum_tests::servers;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| panic!("the crate has a parent")).to_owned()
}

/// Database and role by the source file that holds a query.
fn runs_on(path: &str) -> Vec<(Database, &'static str)> {
    let relayed = [(Database::Auth, "kisum_relay_auth"), (Database::Core, "kisum_relay_core")];
    let owned = [(Database::Auth, "kisum_auth"), (Database::Core, "kisum_core")];
    match path {
        "events/log/src/read.rs" | "events/log/src/head.rs" => [owned, relayed].concat(),
        // Epochs are begun, and keys wrapped anew, by the owner alone.
        path if path.starts_with("events/log/src/epoch") || path == "events/log/src/rewrap.rs" => {
            vec![(Database::Auth, "auth_owner"), (Database::Core, "core_owner")]
        }
        path if path.starts_with("events/log/") || path == "api/src/shared/idempotency.rs" => owned.to_vec(),
        path if path.starts_with("projectors/src/event_index") || path == "projectors/src/checkpoint.rs" => {
            owned.to_vec()
        }
        path if path.starts_with("projectors/") || path.starts_with("api/src/auth/") => {
            vec![(Database::Auth, "kisum_auth")]
        }
        path if path.starts_with("api/src/core/") => vec![(Database::Core, "kisum_core")],
        "api/src/business/commands.rs" => vec![(Database::Basic, "kisum_basic"), (Database::Finance, "kisum_finance")],
        path if path.contains("business") && path.contains("basic") => vec![(Database::Basic, "kisum_basic")],
        path if path.contains("business") && path.contains("finance") => vec![(Database::Finance, "kisum_finance")],
        other => panic!("nobody has said which database the queries of {other} run on"),
    }
}

fn sources(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && let (Ok(text), Ok(name)) = (fs::read_to_string(&path), path.strip_prefix(root()))
        {
            found.insert(name.display().to_string(), text);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_can_be_run_on_its_own_database_by_its_own_role() {
    let stack = servers::shared().await;
    let mut files = BTreeMap::new();
    for folder in ["events", "projectors", "api"] {
        sources(&root().join(folder), &mut files);
    }
    let mut connections: BTreeMap<(Database, &str), PgConnection> = BTreeMap::new();
    let mut checked = BTreeSet::new();
    for entry in fs::read_dir(root().join(".sqlx")).unwrap_or_else(|error| panic!(".sqlx: {error}")).flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_else(|error| panic!("{error}"));
        let described: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
        let query = described["query"].as_str().unwrap_or_default();
        let parameters = described["describe"]["parameters"]["Left"].as_array().map_or(0, Vec::len);
        let holders: Vec<_> = files.iter().filter(|(_, source)| source.contains(query)).map(|(path, _)| path).collect();
        assert!(!holders.is_empty(), "no source file holds this query any more: {query}");
        for (database, role) in holders.iter().flat_map(|path| runs_on(path)).collect::<BTreeSet<_>>() {
            let conn = match connections.entry((database, role)) {
                Entry::Occupied(open) => open.into_mut(),
                Entry::Vacant(missing) => {
                    let url = stack.addresses_with(|at| at.database(database, role)).unwrap_or_else(|f| panic!("{f}"));
                    missing.insert(PgConnection::connect(&url).await.unwrap_or_else(|error| panic!("{error}")))
                }
            };
            // EXPLAIN runs nothing and checks rights.
            let nulls = vec!["null"; parameters].join(", ");
            let call = if parameters == 0 { "q".to_owned() } else { format!("q({nulls})") };
            let sql = format!("prepare q as {query}; explain execute {call}; deallocate q;");
            let outcome = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *conn).await;
            assert!(outcome.is_ok(), "{database} as {role}: {query}\n{outcome:?}");
            checked.insert(query.to_owned());
        }
    }
    assert!(checked.len() > 20, "only {} queries were found", checked.len());
}

/// Name, type and whether it may be null of each column, by table.
async fn tables(database: Database) -> BTreeMap<String, Vec<(String, String, String)>> {
    let stack = servers::shared().await;
    let url = stack.addresses_with(|at| at.database(database, database.owner()));
    let url = url.unwrap_or_else(|failure| panic!("{failure}"));
    let mut conn = PgConnection::connect(&url).await.unwrap_or_else(|error| panic!("{error}"));
    let rows: Vec<(String, String, String, String)> = sqlx::query_as(
        "select table_name::text, column_name::text, data_type::text, is_nullable::text from information_schema.columns
         where table_schema = 'public' order by table_name, column_name",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap_or_else(|error| panic!("{error}"));
    let mut tables = BTreeMap::<_, Vec<_>>::new();
    for (table, column, kind, nullable) in rows {
        tables.entry(table).or_default().push((column, kind, nullable));
    }
    tables
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_name_means_one_thing_in_whatever_database() {
    let mut known = BTreeMap::new();
    let mut shared = BTreeSet::new();
    for database in Database::ALL {
        for (table, columns) in tables(database).await {
            if let Some(other) = known.insert(table.clone(), columns.clone()) {
                assert_eq!(other, columns, "{table} in {database:?} and in a database before it");
                shared.insert(table);
            }
        }
    }
    assert!(shared.contains("business_command") && shared.contains("projection_checkpoint"), "{shared:?}");
}
