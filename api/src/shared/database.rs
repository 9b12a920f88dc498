//! A service's pool of connections.
//!
//! It owns sizes and time-outs. It refuses to know any table, and to migrate: run-time roles own nothing.

use super::{config::Secret, server::ServeError};
use sqlx::{PgPool, postgres::PgPoolOptions};
use std::time::Duration;

/// How long a request waits for a connection before it is told 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// Opens a pool and proves that the database answers.
///
/// # Errors
/// [`ServeError::Dependency`], naming the variable and never its value.
pub async fn connect(variable: &'static str, url: &Secret, connections_max: u32) -> Result<PgPool, ServeError> {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(IDLE_TIMEOUT)
        .connect(url.expose())
        .await
        .map_err(|source| ServeError::Dependency { name: variable, source: Box::new(source) })
}

/// Whether the database answers, for `/ready`.
///
/// # Errors
/// A sentence for operators that holds nothing of the driver's message.
pub async fn ping(pool: PgPool) -> Result<(), String> {
    sqlx::query("select 1").execute(&pool).await.map(|_| ()).map_err(|_| "the database does not answer".to_owned())
}
