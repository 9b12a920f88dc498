//! The databases: who owns them, who may connect, and which migrations make them.
//!
//! The migrations are embedded in the binary; `kisum migrate` and `kisum up` apply them through the same function. A
//! migration that was published never changes: its checksum is stored beside it and compared at every run.

use super::{Failure, secrets::Secrets};
use sqlx::{
    Connection as _, PgConnection,
    migrate::{MigrateError, Migration, Migrator},
    postgres::PgConnectOptions,
};
use std::{fmt, str::FromStr};

/// The roles that log in, which therefore need a password. `roles.sql` creates them.
pub const LOGIN_ROLES: [&str; 11] = [
    super::postgres::SUPERUSER,
    "auth_owner",
    "core_owner",
    "basic_owner",
    "finance_owner",
    "kisum_auth",
    "kisum_core",
    "kisum_basic",
    "kisum_finance",
    "kisum_relay_auth",
    "kisum_relay_core",
];

/// How many positions every run of the migrations makes room for.
const PARTITIONS_AHEAD: i64 = 100_000_000;

const ROLES: &str = include_str!("roles.sql");

static LOG: Migrator = sqlx::migrate!("../migrations/log");
static AUTH: Migrator = sqlx::migrate!("../migrations/auth");
static CORE: Migrator = sqlx::migrate!("../migrations/core");
static BASIC: Migrator = sqlx::migrate!("../migrations/basic");
static FINANCE: Migrator = sqlx::migrate!("../migrations/finance");

/// One database of the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Database {
    /// The auth log and its projections.
    Auth,
    /// The core log and its projections.
    Core,
    /// Basic's own data.
    Basic,
    /// Finance's own data.
    Finance,
}

impl Database {
    /// Every database.
    pub const ALL: [Self; 4] = [Self::Auth, Self::Core, Self::Basic, Self::Finance];

    /// Its name in PostgreSQL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth_db",
            Self::Core => "platform_core_db",
            Self::Basic => "basic_db",
            Self::Finance => "finance_db",
        }
    }

    /// The role that owns it and runs its migrations.
    pub const fn owner(self) -> &'static str {
        match self {
            Self::Auth => "auth_owner",
            Self::Core => "core_owner",
            Self::Basic => "basic_owner",
            Self::Finance => "finance_owner",
        }
    }

    /// The role that its service runs under.
    pub const fn runtime_role(self) -> &'static str {
        match self {
            Self::Auth => "kisum_auth",
            Self::Core => "kisum_core",
            Self::Basic => "kisum_basic",
            Self::Finance => "kisum_finance",
        }
    }

    /// Who else may connect: the relay of a log.
    pub const fn relay_role(self) -> Option<&'static str> {
        match self {
            Self::Auth => Some("kisum_relay_auth"),
            Self::Core => Some("kisum_relay_core"),
            Self::Basic | Self::Finance => None,
        }
    }

    /// The variable with the run-time role's URL.
    pub const fn url_variable(self) -> &'static str {
        match self {
            Self::Auth => "AUTH_DB_URL",
            Self::Core => "CORE_DB_URL",
            Self::Basic => "BASIC_DB_URL",
            Self::Finance => "FINANCE_DB_URL",
        }
    }

    /// The variable with the owner's URL.
    pub const fn owner_url_variable(self) -> &'static str {
        match self {
            Self::Auth => "AUTH_DB_OWNER_URL",
            Self::Core => "CORE_DB_OWNER_URL",
            Self::Basic => "BASIC_DB_OWNER_URL",
            Self::Finance => "FINANCE_DB_OWNER_URL",
        }
    }

    /// Its migrations in order: a log's database holds the log's tables first, then its own.
    pub fn migrator(self) -> Migrator {
        let folders: &[&Migrator] = match self {
            Self::Auth => &[&LOG, &AUTH],
            Self::Core => &[&LOG, &CORE],
            Self::Basic => &[&BASIC],
            Self::Finance => &[&FINANCE],
        };
        let migrations: Vec<Migration> = folders.iter().flat_map(|folder| folder.iter().cloned()).collect();
        Migrator::with_migrations(migrations)
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Database {
    type Err = UnknownDatabase;

    /// Takes the short name (`auth`) and PostgreSQL's (`auth_db`).
    fn from_str(text: &str) -> Result<Self, UnknownDatabase> {
        match text {
            "auth" | "auth_db" => Ok(Self::Auth),
            "core" | "platform_core_db" => Ok(Self::Core),
            "basic" | "basic_db" => Ok(Self::Basic),
            "finance" | "finance_db" => Ok(Self::Finance),
            _ => Err(UnknownDatabase(text.to_owned())),
        }
    }
}

/// A name that no database has.
#[derive(Debug, thiserror::Error)]
#[error("there is no database {0}: say auth, core, basic or finance")]
pub struct UnknownDatabase(String);

/// Why a database could not be brought to the newest migration.
#[derive(Debug, thiserror::Error)]
pub enum MigrationFailure {
    /// The server cannot be reached, or refuses the owner.
    #[error("cannot connect to {database}")]
    Connect {
        /// Which database.
        database: Database,
        /// The driver's reason.
        #[source]
        source: sqlx::Error,
    },
    /// An applied migration differs from the one in this binary.
    #[error(
        "migration {version} of {database} was changed after it had been applied; restore it and add a new one \
         (on a developer's machine, `./dev reset` drops the data)"
    )]
    Changed {
        /// Which database.
        database: Database,
        /// Which migration.
        version: i64,
    },
    /// The database is ahead of this binary.
    #[error("{database} has migration {version}, which this binary does not know: run the newer binary")]
    Newer {
        /// Which database.
        database: Database,
        /// Which migration.
        version: i64,
    },
    /// A migration's SQL failed.
    #[error("{database} cannot be migrated")]
    Run {
        /// Which database.
        database: Database,
        /// What failed.
        #[source]
        source: MigrateError,
    },
}

/// Brings a database to the newest migration as its owner. Running it again changes nothing.
///
/// # Errors
/// See [`MigrationFailure`].
pub async fn migrate(database: Database, owner_url: &str) -> Result<(), MigrationFailure> {
    let mut connection =
        PgConnection::connect(owner_url).await.map_err(|source| MigrationFailure::Connect { database, source })?;
    database.migrator().run(&mut connection).await.map_err(|source| match source {
        MigrateError::VersionMismatch(version) => MigrationFailure::Changed { database, version },
        MigrateError::VersionMissing(version) => MigrationFailure::Newer { database, version },
        source => MigrationFailure::Run { database, source },
    })?;
    if matches!(database, Database::Auth | Database::Core) {
        // A log grows into partitions that are made ahead, since run-time roles may not make any.
        sqlx::query("select log_partitions_ensure($1)")
            .bind(PARTITIONS_AHEAD)
            .execute(&mut connection)
            .await
            .map_err(|source| MigrationFailure::Run { database, source: MigrateError::Execute(source) })?;
    }
    let _ = connection.close().await;
    Ok(())
}

/// Creates roles and databases, sets passwords and rights. Running it again changes nothing but passwords.
///
/// # Errors
/// When PostgreSQL refuses a statement.
pub async fn provision(superuser: &PgConnectOptions, secrets: &Secrets) -> Result<(), Failure> {
    let mut connection = connect(superuser).await?;
    execute(&mut connection, ROLES).await?;
    for role in LOGIN_ROLES {
        let password = secrets.database_password(role)?;
        execute(&mut connection, &format!("ALTER ROLE {role} LOGIN PASSWORD '{password}'")).await?;
    }
    execute(&mut connection, "REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC").await?;
    for database in Database::ALL {
        create(&mut connection, database).await?;
    }
    let _ = connection.close().await;
    for database in Database::ALL {
        // Before PostgreSQL 15 everybody may create tables in the schema `public`.
        let mut inside = connect(&superuser.clone().database(database.name())).await?;
        let owner = database.owner();
        execute(&mut inside, "REVOKE CREATE ON SCHEMA public FROM PUBLIC").await?;
        execute(&mut inside, &format!("GRANT USAGE, CREATE ON SCHEMA public TO {owner}")).await?;
        execute(&mut inside, &ADVISORY_LOCKS.replace("{owner}", owner)).await?;
        let _ = inside.close().await;
    }
    Ok(())
}

/// The log's appends are in order by an advisory lock. A role that could take it, even one that may only read, could
/// stop every append for as long as it likes.
const ADVISORY_LOCKS: &str = "
DO $$
DECLARE
  lock_function regprocedure;
BEGIN
  FOR lock_function IN SELECT oid::regprocedure FROM pg_proc
    WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ '^pg_(try_)?advisory_' LOOP
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', lock_function);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO {owner}', lock_function);
  END LOOP;
END
$$";

async fn create(connection: &mut PgConnection, database: Database) -> Result<(), Failure> {
    let (name, owner) = (database.name(), database.owner());
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(name)
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| refused("looking for a database", &error))?;
    if !exists {
        execute(connection, &format!("CREATE DATABASE {name} OWNER {owner}")).await?;
    }
    execute(connection, &format!("REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC")).await?;
    let roles = [Some(database.runtime_role()), database.relay_role()];
    for role in roles.into_iter().flatten() {
        execute(connection, &format!("GRANT CONNECT ON DATABASE {name} TO {role}")).await?;
    }
    Ok(())
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, Failure> {
    PgConnection::connect_with(options).await.map_err(|error| refused("connecting", &error))
}

/// Every statement here is made of names in this file and of generated passwords, which are letters and digits.
async fn execute(connection: &mut PgConnection, sql: &str) -> Result<(), Failure> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(|error| refused("preparing the databases", &error))
}

fn refused(doing: &str, error: &sqlx::Error) -> Failure {
    Failure::new(format!("PostgreSQL, {doing}: {error}"), "see .kisum/log/postgres.log; `./dev reset` starts afresh")
}

#[cfg(test)]
mod tests {
    use super::Database;
    use std::collections::BTreeSet;

    #[test]
    fn a_log_database_holds_the_log_migrations_first() {
        for database in [Database::Auth, Database::Core] {
            let versions: Vec<i64> = database.migrator().iter().map(|migration| migration.version).collect();
            assert!(versions.is_sorted());
            assert!(versions.first().is_some_and(|first| *first < 100), "{database}: {versions:?}");
        }
    }

    #[test]
    fn no_two_migrations_of_a_database_share_a_number() {
        for database in Database::ALL {
            let migrator = database.migrator();
            let versions: BTreeSet<i64> = migrator.iter().map(|migration| migration.version).collect();
            assert_eq!(versions.len(), migrator.iter().count(), "{database}");
        }
    }
}
