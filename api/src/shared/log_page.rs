//! A page of a log over HTTP, as relays and Auth serve it to followers that saw a hole.
//!
//! Payloads are the public ones: sealed parts never leave Postgres.

use super::problem::{self, Problem};
use kisum_events::{Class, Envelope, Log, Position};
use kisum_log::{read, read_head};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use utoipa::{IntoParams, ToSchema};

/// Events on one page when nobody says, and at most.
const LIMIT: (u32, u32) = (500, 1000);

/// Which page.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// Events behind this position.
    #[serde(default)]
    after: Position,
    /// At most this many, 1 to 1000; 500 when absent.
    limit: Option<u32>,
    /// Only events of this class, `access` or `info`.
    #[param(value_type = Option<String>)]
    class: Option<Class>,
}

impl LogQuery {
    /// Events of a class behind a position, at most `limit`.
    pub fn behind(after: Position, limit: usize, class: Class) -> Self {
        Self { after, limit: u32::try_from(limit).ok(), class: Some(class) }
    }

    /// Whether only events of that class are asked for.
    pub fn is_of(&self, class: Class) -> bool {
        self.class == Some(class)
    }

    /// The page's size.
    ///
    /// # Errors
    /// A 400 when it is out of range.
    pub fn limit(&self) -> Result<u32, Problem> {
        let limit = self.limit.unwrap_or(LIMIT.0);
        let allowed = (1..=LIMIT.1).contains(&limit);
        allowed
            .then_some(limit)
            .ok_or_else(|| Problem::validation(format!("The parameter limit is not from 1 to {}.", LIMIT.1)))
    }

    /// The same question as parameters for another server.
    ///
    /// # Errors
    /// As [`LogQuery::limit`].
    pub fn parameters(&self) -> Result<Vec<(&'static str, String)>, Problem> {
        let mut parameters = vec![("after", self.after.to_string()), ("limit", self.limit()?.to_string())];
        parameters.extend(self.class.map(|class| ("class", class.name().to_owned())));
        Ok(parameters)
    }
}

/// A page of a log.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LogPage {
    /// The log's epoch now.
    pub epoch: u32,
    /// Where the log ended when the page was read: up to here nothing is missing but what `limit` cut off.
    pub position: Position,
    /// Events in order of position, as they are published.
    #[schema(value_type = Vec<Object>)]
    pub events: Vec<Envelope>,
}

impl LogPage {
    /// Reads a page from the log's own database.
    ///
    /// # Errors
    /// A problem: 400 for a limit out of range, 503 when the log cannot be read or its epoch is refused.
    pub async fn read(pool: &PgPool, log: Log, query: LogQuery) -> Result<Self, Problem> {
        let limit = i64::from(query.limit()?);
        let mut conn = pool.acquire().await.map_err(problem::of_query)?;
        // The head first: events of a newer epoch say so themselves, and what is read afterwards reaches at least as far.
        let head = read_head(&mut conn).await.map_err(problem::of_load)?;
        let events = read(&mut conn, log, query.after, limit, query.class).await.map_err(problem::of_load)?;
        Ok(Self { epoch: head.epoch, position: head.position, events })
    }
}
