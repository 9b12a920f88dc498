//! Where a memory learns what the bus did not bring: heads, pages of the logs, and which sessions are over.
//!
//! It owns the shape of that. A backend asks Auth over HTTP; Auth asks its own database and the relays. It refuses to
//! interpret: none of its errors ever means "no".

use futures_util::future::BoxFuture;
use kisum_events::{Envelope, Heads, KeyId, Log, Position, SessionId, Timestamp};
use serde::{Deserialize, Serialize};
use std::error::Error;

/// Events in one page of a log at most.
pub const PAGE_LEN: usize = 500;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("the source does not answer")]
pub struct SourceError(#[source] pub Box<dyn Error + Send + Sync>);

/// A page of a log's access events.
#[derive(Debug, Deserialize)]
pub struct AccessPage {
    /// The log's epoch when it was read; events may be older.
    pub epoch: u32,
    /// In order of position, at most [`PAGE_LEN`].
    pub events: Vec<Envelope>,
}

/// The sessions that ended while tokens of theirs may still be in circulation, and the keys that were removed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revocations {
    /// The auth log's epoch.
    pub epoch: u32,
    /// Both lists are complete up to here.
    pub position: Position,
    /// The sessions.
    pub sessions: Vec<Revoked>,
    /// Keys that no token is good by any more.
    #[serde(default)]
    pub removed_keys: Vec<KeyId>,
}

/// A session that is over.
#[derive(Debug, Serialize, Deserialize)]
pub struct Revoked {
    /// Which.
    pub sid: SessionId,
    /// Its last access token has expired by then.
    pub until: Timestamp,
}

/// Whom a memory asks.
pub trait Source: std::fmt::Debug + Send + Sync + 'static {
    /// The heads of both logs, as far as somebody who knows them answered; ages count from this call.
    fn heads(&self) -> BoxFuture<'_, Result<Heads, SourceError>>;

    /// Access events of a log behind `after`, oldest first; fewer than [`PAGE_LEN`] only at the log's end.
    fn page(&self, log: Log, after: Position) -> BoxFuture<'_, Result<AccessPage, SourceError>>;

    /// The sessions that are over, and the keys that are gone.
    fn revocations(&self) -> BoxFuture<'_, Result<Revocations, SourceError>>;
}
