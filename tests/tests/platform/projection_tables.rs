//! Every table of a read model has a shadow to be folded into, and belongs to one projection that somebody can name.

use kisum_events::Log;
use kisum_projectors::registry;
use kisum_tests::{servers, streams};
use sqlx::{Connection as _, PgConnection};

/// What a table is made of: name, type and nullability of each column, and its keys and checks.
async fn shape(conn: &mut PgConnection, table: &str) -> Vec<String> {
    let columns = "select format('%s %s %s', attname, format_type(atttypid, atttypmod), attnotnull) from pg_attribute
                   where attrelid = to_regclass($1) and attnum > 0 and not attisdropped order by attnum";
    let constraints = "select format('%s %s', contype, pg_get_constraintdef(oid)) from pg_constraint
                       where conrelid = to_regclass($1) order by 1";
    let mut shape = Vec::new();
    for sql in [columns, constraints] {
        let found = sqlx::query_scalar(sql).bind(table).fetch_all(&mut *conn).await;
        let found: Vec<String> = found.unwrap_or_else(|error| panic!("{table}: {error}"));
        shape.extend(found);
    }
    shape
}

/// Tables of a schema that bear a version, as those of projections do.
async fn versioned(conn: &mut PgConnection, schema: &str) -> Vec<String> {
    let sql = r"select relname::text from pg_class where relnamespace = to_regnamespace($1) and relkind in ('r', 'p')
                and relname ~ '_v[0-9]+$' order by relname";
    let found = sqlx::query_scalar(sql).bind(schema).fetch_all(conn).await;
    found.unwrap_or_else(|error| panic!("{schema}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_of_a_projection_has_a_shadow_that_is_made_alike() {
    let stack = servers::shared().await;
    for one in registry::ALL {
        let mut conn = PgConnection::connect(&streams::database(stack, one.database).run_url)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(!one.tables.is_empty(), "{} has no table", one.name);
        for table in one.tables.iter().copied().chain(["projection_checkpoint"]) {
            let live = shape(&mut conn, &format!("public.{table}")).await;
            let shadow = shape(&mut conn, &format!("rebuild.{table}")).await;
            assert!(live.iter().any(|line| line.starts_with("p ")), "{table} has no primary key: {live:?}");
            assert_eq!(live, shadow, "{}: {table} and its shadow", one.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_versioned_table_belongs_to_exactly_one_projection() {
    let stack = servers::shared().await;
    for log in [Log::Auth, Log::Core] {
        let mut conn = PgConnection::connect(&streams::database(stack, log).run_url)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        let here = registry::ALL.iter().filter(|one| one.database == log);
        let mut owned: Vec<_> = here.clone().flat_map(|one| one.tables.iter().copied()).collect();
        owned.sort_unstable();
        assert_eq!(versioned(&mut conn, "public").await, owned, "tables of the {log} database");
        assert_eq!(versioned(&mut conn, "rebuild").await, owned, "shadows in the {log} database");
        let mut names: Vec<_> = here.map(|one| one.name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "two projections of the {log} database have one name");
        // A checkpoint is found by name, and a version is part of it.
        assert!(names.iter().all(|name| name.rsplit_once("_v").is_some_and(|(_, v)| v.parse::<u16>().is_ok())));
    }
}
