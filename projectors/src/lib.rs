//! Read models: folds of the two logs into tables that answers are made from.
//!
//! It owns the runtime (one transaction for rows and checkpoint, redelivery, epochs, poison events, retries) and one
//! module per read model. It refuses to know how a log is followed (`kisum_log::Follow` does), HTTP, tokens and who
//! reads the tables; a log that lives in another database is reached through a [`LogSource`] that the caller supplies.
//!
//! # What always holds
//! - Rows and checkpoint of a projection change together, under a lock on the checkpoint's row.
//! - A projection has applied every event up to its checkpoint and none after it, however often events are delivered
//!   and however many processes run it.
//! - An event that cannot be applied stops its projection, visibly; nothing is ever skipped.

mod audit;
pub mod auth;
mod catalog;
mod checkpoint;
mod commit;
pub mod core;
mod ended_sessions;
mod entitlements;
mod event_index;
mod fail_points;
mod follow;
mod invitation_list;
mod member_list;
mod metric_names;
mod progress;
mod projection;
mod rebuild;
pub mod registry;
mod runner;
mod session_list;

pub use audit::Audit;
pub use catalog::Catalog;
pub use checkpoint::{Checkpoint, Poison, read_checkpoint};
pub use commit::{CommitError, Committed, commit};
pub use ended_sessions::EndedSessions;
pub use entitlements::Entitlements;
pub use event_index::{AuthEventIndex, CoreEventIndex, EventKey, EventSearch};
pub use follow::{run_local, run_remote};
pub use invitation_list::InvitationList;
pub use kisum_log::{LogPage, LogSource, SourceError};
pub use member_list::MemberList;
pub use metric_names::describe_metrics;
pub use progress::{Progress, Standing, Stopped};
pub use projection::{ApplyError, Batch, Projection, Recorded};
pub use rebuild::{Compared, Difference, RebuildError, Stage, TableDifferences, rebuild_local, rebuild_remote};
pub use registry::Registered;
pub use runner::Runner;
pub use session_list::SessionList;
