//! From what went wrong inside to what the client is told.
//!
//! It owns the mapping of the log's and the database's errors to problems, and logs each once, here at the boundary,
//! with its whole chain. It refuses to pass a driver's message on.

pub use kisum_guard::{Problem, reason};

use kisum_log::{AppendError, LoadError};
use std::{error::Error, fmt};

/// Reasons of a 409 (contract).
pub mod conflict {
    /// Somebody else changed the same thing meanwhile; read again and decide again.
    pub const VERSION: &str = "version";
    /// Every version of it was taken off sale.
    pub const NOT_ON_SALE: &str = "not_on_sale";
    /// The idempotency key was used with another body.
    pub const KEY_REUSED: &str = "idempotency_key_reused";
}

/// An append that was refused. A claim that means something of its own to the client, such as "this slug is taken", is
/// answered by the command before this is asked.
pub fn of_append(error: AppendError) -> Problem {
    match &error {
        AppendError::Version { .. } | AppendError::Guard { .. } | AppendError::Claim { .. } => {
            tracing::info!(error = %Chain(&error), "an append lost a race");
            let message = "Somebody else changed this at the same time; read it again and repeat what still applies.";
            Problem::conflict(conflict::VERSION, message)
        }
        AppendError::RequestReused => {
            Problem::conflict(conflict::KEY_REUSED, "This idempotency key was used with another request.")
        }
        AppendError::Refused(_) => {
            tracing::warn!(error = %Chain(&error), "an append was refused as malformed");
            Problem::validation("The request holds a value that cannot be stored.")
        }
        AppendError::Epoch(_) | AppendError::Unavailable(_) => {
            tracing::error!(error = %Chain(&error), "the log cannot be written");
            Problem::unavailable("Nothing can be stored at the moment.")
        }
    }
}

/// A stream that could not be loaded.
pub fn of_load(error: LoadError) -> Problem {
    tracing::error!(error = %Chain(&error), "the log cannot be read");
    Problem::unavailable("What is needed cannot be read at the moment.")
}

/// A query that failed. Constraints that mean something to a client are mapped by name before this is asked.
pub fn of_query(error: sqlx::Error) -> Problem {
    tracing::error!(error = %Chain(&error), "a query failed");
    if is_defect(&error) {
        Problem::internal()
    } else {
        Problem::unavailable("The database does not answer at the moment.")
    }
}

/// Whether the database did what it should and we asked for what it cannot do: bad data, a violated constraint, a
/// table or right that is missing (SQLSTATE classes 22, 23, 42). Everything else passes.
fn is_defect(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| ["22", "23", "42"].iter().any(|class| code.starts_with(class)))
        }
        error => matches!(
            error,
            sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::Decode(_)
                | sqlx::Error::Encode(_)
                | sqlx::Error::ColumnNotFound(_)
                | sqlx::Error::TypeNotFound { .. }
        ),
    }
}

/// Any other error that is ours alone to explain.
pub fn of_defect(error: &(dyn Error + 'static)) -> Problem {
    tracing::error!(error = %Chain(error), "a request failed for a reason of our own");
    Problem::internal()
}

/// An error with everything that caused it, on one line.
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
