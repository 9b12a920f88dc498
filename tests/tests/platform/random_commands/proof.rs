//! What has to hold of a log and everything derived from it, whatever was done.

use super::{Story, World};
use kisum_domains::{Addon, Company, Membership, Module, Package, Role, Session, Subscription, User};
use kisum_events::{Aggregate, Log, StreamName};
use kisum_log::{EventLog, Pages};
use kisum_projectors::{RebuildError, Registered, Stage};
use proptest::test_runner::TestCaseError;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};
use std::collections::BTreeMap;
use tokio::sync::watch;

/// Runs a statement; answers how many rows it touched.
pub(super) async fn run(conn: &mut PgConnection, sql: &str) -> u64 {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}")).rows_affected()
}

/// Empties a log and all that is derived from it; its epoch stays.
pub(super) async fn empty(superuser: &mut PgConnection) {
    let sql = "do $$ begin
        execute (select 'truncate ' || string_agg(format('%I.%I', n.nspname, c.relname), ', ')
                 from pg_class c join pg_namespace n on n.oid = c.relnamespace
                 where n.nspname in ('public', 'rebuild') and c.relkind in ('r', 'p') and not c.relispartition
                   and c.relname not in ('log_epoch', '_sqlx_migrations'));
        end $$";
    run(superuser, sql).await;
}

/// A read model equals a fold of its whole log, row for row.
pub(super) async fn is_the_fold(world: &World, one: &Registered) -> Result<(), TestCaseError> {
    let (database, log) = (world.log(one.database).pool().connect_options(), world.log(one.log).pool().clone());
    let compared = one.diff(&database, &Pages::from(log), &watch::Sender::new(Stage::default())).await;
    let compared = match compared {
        // Nothing was ever brought to it.
        Err(RebuildError::NotBegun) => return Ok(()),
        compared => compared.unwrap_or_else(|error| panic!("{}: {error:?}", one.name)),
    };
    if compared.rows() == 0 {
        return Ok(());
    }
    Err(TestCaseError::fail(format!("{} is not the fold of its log: {:?}", one.name, compared.tables)))
}

/// Every stream's state, public and sealed, equals the fold of its events.
pub(super) async fn states_are_folds(story: &mut Story) -> Result<(), TestCaseError> {
    for (log, superuser) in [Log::Auth, Log::Core].into_iter().zip(&mut story.superusers) {
        let log = story.world.log(log);
        let stored: Vec<(String, String)> = sqlx::query_as("select name, state from stream order by name")
            .fetch_all(log.pool())
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        let before = states(log, &stored).await?;
        // A state of a schema that no program has is folded anew by whoever loads it.
        run(superuser, "update stream set schema = schema + 10000").await;
        let after = states(log, &stored).await;
        run(superuser, "update stream set schema = schema - 10000").await;
        let after = after?;
        for (name, state) in &before {
            if after.get(name) != Some(state) {
                let folded = after.get(name);
                return Err(TestCaseError::fail(format!(
                    "{name} is {state}, and the fold of its events is {folded:?}"
                )));
            }
        }
    }
    Ok(())
}

/// The states of streams as whoever decides loads them, sealed parts included.
async fn states(log: &EventLog, stored: &[(String, String)]) -> Result<BTreeMap<String, Value>, TestCaseError> {
    let mut states = BTreeMap::new();
    for (name, public) in stored {
        let stream = StreamName::from_stored(name.clone());
        let state = match stream.kind() {
            "user" => state::<User>(log, &stream, public).await,
            "session" => state::<Session>(log, &stream, public).await,
            "company" => state::<Company>(log, &stream, public).await,
            "membership" => state::<Membership>(log, &stream, public).await,
            "role" => state::<Role>(log, &stream, public).await,
            "module" => state::<Module>(log, &stream, public).await,
            "package" => state::<Package>(log, &stream, public).await,
            "addon" => state::<Addon>(log, &stream, public).await,
            "subscription" => state::<Subscription>(log, &stream, public).await,
            kind => panic!("nobody has said what a {kind} is"),
        };
        states.insert(name.clone(), state?);
    }
    Ok(states)
}

async fn state<A: Aggregate>(log: &EventLog, stream: &StreamName, public: &str) -> Result<Value, TestCaseError> {
    let fields: Value = serde_json::from_str(public).unwrap_or_else(|error| panic!("{stream}: {error}"));
    if let Some(open) = A::SEALED.iter().find(|field| !fields[**field].is_null()) {
        return Err(TestCaseError::fail(format!("{open} of {stream} stands in the open")));
    }
    let loaded = log.load::<A>(stream).await.map_err(|error| TestCaseError::fail(format!("{stream}: {error}")))?;
    Ok(serde_json::to_value(&loaded.state).unwrap_or_else(|error| panic!("{stream}: {error}")))
}
