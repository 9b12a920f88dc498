//! Read models: folds of the two logs into tables that answers are made from.
//!
//! It owns the runtime (one transaction for rows and checkpoint, redelivery, epochs, poison events, retries), the
//! two ways of following a log, and one module per read model. It refuses to know HTTP, tokens and who reads the
//! tables; a log that lives in another database is reached through a [`LogSource`] that the caller supplies.
//!
//! # What always holds
//! - Rows and checkpoint of a projection change together, under a lock on the checkpoint's row.
//! - A projection has applied every event up to its checkpoint and none after it, however often events are delivered
//!   and however many processes run it.
//! - An event that cannot be applied stops its projection, visibly; nothing is ever skipped.

pub mod auth;
mod backoff;
mod catalog;
mod checkpoint;
mod commit;
pub mod core;
mod ended_sessions;
mod entitlements;
mod event_index;
mod inbox;
mod local;
mod progress;
mod projection;
mod remote;
mod runner;
mod source;

pub use catalog::Catalog;
pub use checkpoint::{Checkpoint, Poison, read_checkpoint};
pub use commit::{CommitError, Committed, commit};
pub use ended_sessions::EndedSessions;
pub use entitlements::Entitlements;
pub use event_index::{AuthEventIndex, CoreEventIndex, EventKey, EventSearch};
pub use local::run_local;
pub use progress::{Progress, Standing, Stopped};
pub use projection::{ApplyError, Batch, Projection, Recorded};
pub use remote::run_remote;
pub use runner::Runner;
pub use source::{LogPage, LogSource, SourceError};
