//! The projections that live in Core's database, started together.

use crate::{CoreEventIndex, Progress, auth::local};
use kisum_log::EventLog;
use tokio::{sync::watch, task::JoinSet};

/// Connections to Core's database that they make: each its own, and one to follow the core log by.
pub const CONNECTIONS: u32 = 2;

/// Core's projections, running.
#[derive(Debug)]
pub struct Running {
    /// How far `event_index_v1` is in the core log.
    pub event_index: Progress,
    /// The tasks; each ends after shutdown and not before. Dropping the set ends them at once, which loses nothing.
    pub tasks: JoinSet<()>,
}

/// Starts `event_index_v1`. It retries by itself whatever may pass, so that starting never fails.
pub fn spawn(log: &EventLog, shutdown: &watch::Receiver<bool>) -> Running {
    let mut tasks = JoinSet::new();
    Running { event_index: local::<CoreEventIndex>(log, shutdown, &mut tasks), tasks }
}
