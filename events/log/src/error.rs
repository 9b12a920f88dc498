//! What can go wrong with the log, one small enum for each thing done.

use kisum_events::{DecodeError, StreamName};

/// An append that was not made. Nothing of it was written, except after [`AppendError::Unavailable`], where it may
/// have been: send the same request id again to learn which.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// A written stream has another version: somebody else was faster. Load and decide again.
    #[error("stream {stream} is at version {actual}, not {expected}")]
    Version {
        /// The stream.
        stream: StreamName,
        /// The version that the decision was made on.
        expected: u64,
        /// The version it has.
        actual: u64,
    },
    /// A stream that the decision was made on, without writing it, has changed.
    #[error("stream {stream}, which was read, is at version {actual}, not {expected}")]
    Guard {
        /// The stream.
        stream: StreamName,
        /// The version that the decision was made on.
        expected: u64,
        /// The version it has.
        actual: u64,
    },
    /// A unique value is taken.
    #[error("claim {key} is held by {holder}")]
    Claim {
        /// The claim's key.
        key: String,
        /// The stream that holds it; empty when a claim was to be released that nobody holds.
        holder: String,
    },
    /// The request id was used before with another body.
    #[error("the request id was used before with another body")]
    RequestReused,
    /// The append can never be made as it is: too large, a NUL character, malformed.
    #[error("the append is refused: {0}")]
    Refused(String),
    /// The database is not the one that the epoch was started on.
    #[error("{0}")]
    Epoch(String),
    /// The database did not answer in time; it may or may not have appended.
    #[error("the log cannot be reached: {0}")]
    Unavailable(String),
}

/// A read of the log that failed.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The database is not the one that the epoch was started on.
    #[error("{0}")]
    Epoch(String),
    /// The database failed or cannot be reached.
    #[error("the log cannot be read")]
    Database(#[source] sqlx::Error),
    /// The database did not answer, or not in time.
    #[error("the log cannot be read: {0}")]
    Unavailable(String),
    /// A stored event cannot be read by this program.
    #[error("an event cannot be read")]
    Decode(#[from] DecodeError),
    /// A stored row is not what the log writes.
    #[error("{what} is not readable: {why}")]
    Stored {
        /// Which row.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A sealed part does not open.
    #[error("a sealed part of {what} does not open")]
    Seal {
        /// Which row.
        what: String,
        /// Why.
        #[source]
        source: SealError,
    },
}

/// SQLSTATE raised by `log_epoch_check`.
pub(crate) const EPOCH_SQLSTATE: &str = "KLEPO";

impl From<sqlx::Error> for LoadError {
    fn from(error: sqlx::Error) -> Self {
        match epoch_message(&error) {
            Some(message) => Self::Epoch(message),
            None => Self::Database(error),
        }
    }
}

/// The message and hint of an epoch refusal, where the error is one.
pub(crate) fn epoch_message(error: &sqlx::Error) -> Option<String> {
    let database = error.as_database_error()?;
    if database.code().as_deref() != Some(EPOCH_SQLSTATE) {
        return None;
    }
    let hint = database
        .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
        .and_then(sqlx::postgres::PgDatabaseError::hint)
        .unwrap_or_default();
    Some(format!("{}. {hint}", database.message()))
}

/// A log that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The connection string is malformed.
    #[error("the log's connection string is malformed")]
    Url(#[source] sqlx::Error),
}

/// Sealing or unsealing that failed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// `DATA_ENCRYPTION_KEYS` is not `id:base64,…` with keys of 32 bytes.
    #[error("DATA_ENCRYPTION_KEYS: {0}")]
    Keys(String),
    /// A key is wrapped by a key that is not configured.
    #[error("wrapping key '{0}' is not among DATA_ENCRYPTION_KEYS")]
    UnknownWrappingKey(String),
    /// The cipher refused: a wrong key, or changed bytes.
    #[error("the cipher refused: wrong key, or changed bytes")]
    Cipher,
    /// The clear text is not a JSON object.
    #[error("the clear text is not a JSON object")]
    Shape(#[source] serde_json::Error),
    /// The person's key cannot be read.
    #[error("the person's key cannot be read")]
    Database(#[from] sqlx::Error),
}
