//! A service's connections to its database: how many it needs, whether the server has them, and its pool.
//!
//! It owns sizes and time-outs. It refuses to know any table, and to migrate: run-time roles own nothing.

use super::{config::Secret, server::ServeError};
use sqlx::{
    Connection as _, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::{fmt, time::Duration};

/// How long a request waits for a connection before it is told 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a process that starts waits for its database, which may be starting, too, on a machine that starts everything.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection that was in use is taken to be there still. After a restart of the server everybody in between
/// hears 503, as they did while it was down.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// The connections that one process makes at most, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// `DB_POOL_MAX`.
    pub pool: u32,
    /// Of its own, for appends.
    pub appends: u32,
    /// Of its own, for group reads.
    pub reads: u32,
    /// Of its own, for projections.
    pub projections: u32,
    /// Of its own, for mails.
    pub mail: u32,
}

impl Connections {
    /// A pool and nothing else.
    pub const fn pool(pool: u32) -> Self {
        Self { pool, appends: 0, reads: 0, projections: 0, mail: 0 }
    }

    /// All of them.
    pub const fn total(self) -> u32 {
        self.pool.saturating_add(self.beside_pool())
    }

    /// Those that `DB_POOL_MAX` does not count.
    pub const fn beside_pool(self) -> u32 {
        self.appends.saturating_add(self.reads).saturating_add(self.projections).saturating_add(self.mail)
    }
}

impl fmt::Display for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections (DB_POOL_MAX {}", self.total(), self.pool)?;
        for (count, what) in
            [(self.appends, "appends"), (self.reads, "reads"), (self.projections, "projections"), (self.mail, "mail")]
        {
            if count > 0 {
                write!(f, ", {what} {count}")?;
            }
        }
        f.write_str(")")
    }
}

/// What the server grants a role in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Granted {
    role: String,
    /// `max_connections`.
    server: i64,
    /// Of those, kept for superusers and, from PostgreSQL 16 on, for other roles.
    reserved: i64,
    /// `CONNECTION LIMIT` of the role, -1 when it has none.
    role_limit: i64,
    /// `CONNECTION LIMIT` of the database, -1 when it has none.
    database_limit: i64,
}

impl Granted {
    /// The most connections that the role can have at once, when nobody else has any.
    fn most(&self) -> i64 {
        let limits = [self.role_limit, self.database_limit].into_iter().filter(|limit| *limit >= 0);
        limits.chain([self.server.saturating_sub(self.reserved)]).min().unwrap_or(0)
    }
}

/// A process that cannot get the connections it is configured for: exit code 78, and nobody waits for the first busy
/// hour to learn it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TooManyConnections(String);

impl TooManyConnections {
    fn of(variable: &str, need: Connections, granted: &Granted) -> Option<Self> {
        let (total, most) = (i64::from(need.total()), granted.most());
        if total <= most {
            return None;
        }
        let limit = |limit: i64| if limit < 0 { "none".to_owned() } else { limit.to_string() };
        let Granted { role, server, reserved, role_limit, database_limit } = granted;
        let pool = most.saturating_sub(i64::from(need.beside_pool()));
        let remedy = if pool > 0 { format!("lower DB_POOL_MAX to {pool}, or raise") } else { "raise".to_owned() };
        Some(Self(format!(
            "{variable}: this process makes up to {need}, and the server lets {role} have {most} \
             (max_connections {server}, reserved {reserved}, limit of the role {}, limit of the database {}): \
             {remedy} what the server grants",
            limit(*role_limit),
            limit(*database_limit),
        )))
    }
}

/// Opens a pool, proves that the database answers, and that it has what the process needs.
///
/// # Errors
/// [`ServeError::Dependency`], naming the variable and never its value; [`ServeError::Connections`].
pub async fn connect(variable: &'static str, url: &Secret, need: Connections) -> Result<PgPool, ServeError> {
    let failed = |source| ServeError::Dependency { name: variable, source: Box::new(source) };
    let options: PgConnectOptions = url.expose().parse().map_err(failed)?;
    let pool = PgPoolOptions::new().max_connections(need.pool);
    let pool = pool.acquire_timeout(ACQUIRE_TIMEOUT).idle_timeout(IDLE_TIMEOUT);
    // To ask a connection whether it is there costs as much as most statements. One that was in use a moment ago is.
    let pool = pool.test_before_acquire(false).before_acquire(|conn, meta| {
        Box::pin(async move {
            if meta.idle_for > TRUSTED_FOR {
                conn.ping().await?;
            }
            Ok(true)
        })
    });
    let connecting = async {
        loop {
            match pool.clone().connect_with(options.clone()).await {
                Err(sqlx::Error::PoolTimedOut) => {}
                outcome => return outcome,
            }
        }
    };
    let connected = tokio::time::timeout(START_TIMEOUT, connecting).await;
    let pool = connected.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(failed)?;
    let granted = granted(&pool).await.map_err(failed)?;
    TooManyConnections::of(variable, need, &granted).map_or(Ok(pool), |error| Err(error.into()))
}

async fn granted(pool: &PgPool) -> Result<Granted, sqlx::Error> {
    // `reserved_connections` came with PostgreSQL 16; a setting that is unknown is null.
    let (role, server, reserved, role_limit, database_limit) = sqlx::query_as(
        "select current_user::text, current_setting('max_connections')::bigint,
                current_setting('superuser_reserved_connections')::bigint
                  + coalesce(current_setting('reserved_connections', true)::bigint, 0),
                (select rolconnlimit::bigint from pg_roles where rolname = current_user),
                (select datconnlimit::bigint from pg_database where datname = current_database())",
    )
    .fetch_one(pool)
    .await?;
    Ok(Granted { role, server, reserved, role_limit, database_limit })
}

/// Whether the database answers, for `/ready`.
///
/// # Errors
/// A sentence for operators that holds nothing of the driver's message.
pub async fn ping(pool: PgPool) -> Result<(), String> {
    sqlx::query("select 1").execute(&pool).await.map(|_| ()).map_err(|_| "the database does not answer".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Connections, Granted, TooManyConnections};

    const NEED: Connections = Connections { pool: 32, appends: 2, reads: 0, projections: 10, mail: 0 };

    fn granted(server: i64, role_limit: i64, database_limit: i64) -> Granted {
        Granted { role: "kisum_auth".to_owned(), server, reserved: 3, role_limit, database_limit }
    }

    fn said(granted: &Granted) -> Option<String> {
        TooManyConnections::of("AUTH_DB_URL", NEED, granted).map(|error| error.to_string())
    }

    #[test]
    fn what_fits_exactly_fits() {
        assert_eq!(said(&granted(47, -1, -1)), None);
        assert_eq!(said(&granted(100, 44, 44)), None);
    }

    #[test]
    fn what_does_not_fit_is_said_with_every_number() {
        assert_eq!(
            said(&granted(46, -1, 200)).as_deref(),
            Some(
                "AUTH_DB_URL: this process makes up to 44 connections (DB_POOL_MAX 32, appends 2, projections 10), and \
                 the server lets kisum_auth have 43 (max_connections 46, reserved 3, limit of the role none, limit of \
                 the database 200): lower DB_POOL_MAX to 31, or raise what the server grants"
            )
        );
    }

    #[test]
    fn the_tightest_limit_counts_and_no_pool_is_named_where_none_would_do() {
        for granted in [granted(200, 12, -1), granted(200, -1, 12), granted(15, 40, 40)] {
            let said = said(&granted).unwrap_or_else(|| panic!("it does not fit"));
            assert!(said.contains("have 12 (") && said.ends_with("): raise what the server grants"), "{said}");
        }
    }
}
