//! One table beside its shadow: which rows differ, and making them equal.
//!
//! It owns the SQL, which is made from the columns and the primary key that the database says the table has.

use super::{Difference, RebuildError};
use sqlx::{AssertSqlSafe, PgConnection};

/// A table of a running projection; names are quoted where they need it.
pub(super) struct Table {
    name: &'static str,
    key: Vec<String>,
    columns: Vec<String>,
}

impl Table {
    /// Reads its columns.
    pub(super) async fn read(conn: &mut PgConnection, name: &'static str) -> Result<Self, RebuildError> {
        let rows = sqlx::query!(
            r#"select quote_ident(a.attname) as "column!", coalesce(a.attnum = any(i.indkey), false) as "is_key!"
               from pg_attribute a left join pg_index i on i.indrelid = a.attrelid and i.indisprimary
               where a.attrelid = to_regclass('public.' || $1) and a.attnum > 0 and not a.attisdropped
               order by a.attnum"#,
            name
        )
        .fetch_all(conn)
        .await?;
        let key: Vec<String> = rows.iter().filter(|row| row.is_key).map(|row| row.column.clone()).collect();
        if key.is_empty() {
            return Err(RebuildError::NoKey { table: name });
        }
        Ok(Self { name, key, columns: rows.into_iter().map(|row| row.column).collect() })
    }

    /// Its name.
    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// The keys of rows that are not the same in the shadow, as JSON; at most so many.
    pub(super) async fn differing(&self, conn: &mut PgConnection, max: usize) -> Result<Vec<String>, sqlx::Error> {
        let pairs: Vec<String> = self.key.iter().map(|key| format!("'{}', {key}", key.trim_matches('"'))).collect();
        let sql = format!(
            "select jsonb_build_object({pairs})::text
             from public.{name} l full join rebuild.{name} s using ({key})
             where row({live}) is distinct from row({shadow}) limit {max}",
            pairs = pairs.join(", "),
            name = self.name,
            key = self.key.join(", "),
            live = of("l", &self.columns),
            shadow = of("s", &self.columns),
        );
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(conn).await
    }

    /// Looks at the rows of these keys again: which of them differ, and how. The caller holds the projection's lock, and
    /// the shadow stands where the projection stands.
    pub(super) async fn judge(
        &self,
        conn: &mut PgConnection,
        keys: &[String],
    ) -> Result<Vec<(String, Difference)>, sqlx::Error> {
        let name = self.name;
        // A primary key is never null, so that a row whose key is null is none.
        let first = self.key.first().map_or("", String::as_str);
        let rows: Vec<(String, bool, bool)> = sqlx::query_as(AssertSqlSafe(format!(
            "select e.key::text, l.{first} is null, s.{first} is null
             from jsonb_array_elements($1::text::jsonb) e (key)
             cross join lateral jsonb_populate_record(null::public.{name}, e.key) n
             left join public.{name} l on {is_live} left join rebuild.{name} s on {is_shadow}
             where row({live}) is distinct from row({shadow}) order by e.key",
            is_live = self.is_named("l"),
            is_shadow = self.is_named("s"),
            live = of("l", &self.columns),
            shadow = of("s", &self.columns),
        )))
        .bind(array(keys))
        .fetch_all(conn)
        .await?;
        let how = |is_missing, is_surplus| match (is_missing, is_surplus) {
            (true, _) => Difference::Missing,
            (false, true) => Difference::Surplus,
            (false, false) => Difference::Wrong,
        };
        Ok(rows.into_iter().map(|(key, missing, surplus)| (key, how(missing, surplus))).collect())
    }

    /// Makes the rows of these keys what the shadow says, as [`Table::judge`] found them.
    pub(super) async fn repair(&self, conn: &mut PgConnection, keys: &[String]) -> Result<(), sqlx::Error> {
        let name = self.name;
        let named = format!("jsonb_populate_recordset(null::public.{name}, $1::text::jsonb) n");
        let (live, shadow) = (of("l", &self.columns), of("s", &self.columns));
        let (is_live, is_shadow) = (self.is_named("l"), self.is_named("s"));
        for sql in [
            format!(
                "delete from public.{name} l using {named} where {is_live} and not exists
                     (select from rebuild.{name} s where {is_shadow} and row({shadow}) is not distinct from row({live}))"
            ),
            format!(
                "insert into public.{name} ({columns}) select {shadow} from rebuild.{name} s join {named} on {is_shadow}
                 where not exists (select from public.{name} l where {is_live})",
                columns = self.columns.join(", ")
            ),
        ] {
            sqlx::query(AssertSqlSafe(sql)).bind(array(keys)).execute(&mut *conn).await?;
        }
        Ok(())
    }

    /// Whether a row has the key `n`.
    fn is_named(&self, row: &str) -> String {
        format!("row({}) = row({})", of(row, &self.key), of("n", &self.key))
    }
}

/// Keys as one JSON array.
fn array(keys: &[String]) -> String {
    format!("[{}]", keys.join(","))
}

/// Columns of one row, for a list.
fn of(row: &str, columns: &[String]) -> String {
    columns.iter().map(|column| format!("{row}.{column}")).collect::<Vec<_>>().join(", ")
}
